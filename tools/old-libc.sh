#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds pyexec with its server for glibc 2.31 and later: tools/old-libc.sh FOLDER PROGRAM LICENCES puts the stripped files into
# PROGRAM, and what the libraries beside them are, with their licences, into LICENCES. FOLDER is kept, and holds the libraries.
#
# This machine's compiler links with the C library of Debian 11, which is unpacked into FOLDER/root and never run. The headers are
# those of Debian 12, as in every other build, and src/base/old_libc.c has what the older library lacks. The libraries of the server
# (tools/server-libraries.sh), and OpenSSL, which Debian 11 has only in a version without updates, are built here from Debian 12's sources.
#
# The packages come from the mirror that apt uses here, or from PYEXEC_DEBIAN_MIRROR and PYEXEC_DEBIAN_SECURITY_MIRROR.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
usage="usage: tools/old-libc.sh FOLDER PROGRAM LICENCES"
mkdir -p "${1:?$usage}" "${2:?$usage}" "${3:?$usage}"
folder=$(cd "$1" && pwd)
program=$(cd "$2" && pwd)
licences=$(cd "$3" && pwd)
root=$folder/root
machine=$(uname -m)
old=bullseye
new=bookworm
old_packages="libc6 libc6-dev libcrypt1 libcrypt-dev libjansson4 libjansson-dev libedit2 libedit-dev libbsd0 libbsd-dev libmd0 libmd-dev
libtinfo6 libncurses6 libncurses-dev"
# Of these the program needs the libraries while it runs.
beside="libjansson4 libedit2 libbsd0 libmd0 libtinfo6"
# Needed only while building, so they may be newer: the kernel's headers, and the names of its system calls.
new_packages="linux-libc-dev libseccomp2 libseccomp-dev"
sources="openssl curl libarchive libmicrohttpd"
umask 022

for tool in gcc make meson ninja patchelf pkg-config dpkg-source perl apt-get; do
    command -v "$tool" >/dev/null || { echo "pyexec: tools/old-libc.sh needs $tool (Debian: apt-get install build-essential perl)" >&2; exit 1; }
done

. "$source/tools/debian-sources.sh"
. "$source/tools/server-libraries.sh"

unpack_root() {
    mkdir -p "$root"
    cd "$folder/packages"
    for package in $old_packages; do
        apt-get download -q "$package/$old-security" >"$folder/log" 2>&1 || quietly apt-get download -q "$package/$old"
    done
    for package in ./*.deb; do
        dpkg -x "$package" "$root"
    done
    for package in $beside; do
        echo "$package $(dpkg-deb -f "$package"_*.deb Version) (Debian's package)" >>"$folder/libraries.txt"
    done
    mkdir new && cd new
    for package in $new_packages libc6-dev; do
        quietly apt-get download -q "$package/$new"
    done
    for package in $new_packages; do
        dpkg -x "$package"_*.deb "$root"
    done
    dpkg -x libc6-dev_*.deb "$folder/headers"
    # Links that begin at the root of the file system would lead out of the folder.
    find "$root" -type l -lname '/*' | while read -r link; do
        ln -sfnr "$root$(readlink "$link")" "$link"
    done
}

# The compiler's name is short, because OpenSSL puts it into its library.
make_compiler() {
    mkdir -p "$folder/bin"
    libraries=$root/usr/lib/$machine-linux-gnu
    # gcc would look into its own machine's folder of libraries first.
    printf '#!/bin/sh\nexec %s --sysroot="%s" -B"%s/" -L"%s" -L"%s" -ffile-prefix-map="%s"=. "$@"\n' "${CC:-gcc}" "$root" "$libraries" \
        "$libraries" "$root/lib/$machine-linux-gnu" "$folder" >"$folder/bin/old-gcc"
    chmod +x "$folder/bin/old-gcc"
}

build_libraries() {
    export CFLAGS="$hardening"
    export LDFLAGS="-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack"
    export CC=old-gcc
    cd "$folder/sources/openssl"
    # shellcheck disable=SC2086
    quietly ./Configure "linux-$machine" --prefix=/usr/local --libdir=lib --openssldir=/etc/ssl shared no-tests no-legacy no-engine no-dso \
        no-afalgeng no-comp no-ssl3 no-srp no-idea no-camellia no-seed no-rc2 no-rc4 no-md4 no-mdc2 no-rmd160 no-bf no-cast no-dtls \
        no-sctp no-aria no-whirlpool no-gost $CFLAGS $LDFLAGS
    quietly make -s -j"$(nproc)" build_generated libcrypto.so libssl.so libcrypto.pc libssl.pc openssl.pc
    mkdir -p "$root/usr/local/lib/pkgconfig" "$root/usr/local/include"
    cp -a libcrypto.so* libssl.so* "$root/usr/local/lib"
    cp ./*.pc "$root/usr/local/lib/pkgconfig"
    cp -r include/openssl "$root/usr/local/include"

    destination=$root
    build_microhttpd --prefix=/usr/local --disable-static
    build_archive --prefix=/usr/local --disable-static
    build_curl --prefix=/usr/local --disable-static
    unset CFLAGS LDFLAGS
}

# The libraries that may be put beside the program: all but the C library, which would stop this machine's own programs.
collect_libraries() {
    mkdir -p "$folder/beside"
    for package in $beside; do
        dpkg -x "$folder/packages/${package}"_*.deb "$folder/unpacked"
    done
    find "$folder/unpacked" "$root/usr/local/lib" -name '*.so.*' -exec cp -a {} "$folder/beside" \;
    rm -rf "$folder/unpacked"
}

collect_licences() {
    mkdir -p "$folder/licences"
    for name in $sources; do
        cp "$folder/sources/$name/debian/copyright" "$folder/licences/$name"
    done
    sed -n "s/ .*Debian's package)//p" "$folder/libraries.txt" | while read -r package; do
        cp "$root/usr/share/doc/$package/copyright" "$folder/licences/$package"
    done
    sort "$folder/libraries.txt" >"$folder/licences/libraries.txt"
}

stamp=$(cat "$0" "$source/tools/debian-sources.sh" "$source/tools/server-libraries.sh" | sha256sum)
export PKG_CONFIG_SYSROOT_DIR="$root"
export PKG_CONFIG_LIBDIR="$root/usr/local/lib/pkgconfig:$root/usr/lib/$machine-linux-gnu/pkgconfig"
make_compiler
PATH=$folder/bin:$PATH
if [ "$(cat "$folder/made" 2>/dev/null)" != "$stamp" ]; then
    find "$folder" -mindepth 1 -maxdepth 1 ! -name bin -exec rm -rf {} +
    prepare_apt $new $old
    unpack_root
    cd "$folder/sources"
    for name in $sources; do
        fetch_source "$name"
    done
    build_libraries
    cp -a "$folder/headers/usr/include/." "$root/usr/include/"
    ln -s "/usr/include/$machine-linux-gnu"/python3.* "$root/usr/include/$machine-linux-gnu/"
    collect_libraries
    collect_licences
    unset APT_CONFIG
    echo "$stamp" >"$folder/made"
fi

build=$folder/build
[ -f "$build/build.ninja" ] || CC=old-gcc quietly meson setup "$build" "$source" --prefix=/usr --buildtype=release -Dold_libc=true -Dserve=enabled \
    -Dhttp=enabled -Degress=disabled -Dworker=disabled -Dtests=false -Dplayground=enabled
quietly ninja -C "$build" pyexec libpyexec.so.0.1.0 pyexec-launch pyexec_guest.abi3.so pyexec_serve.so pyexec-mcp-http pyexec-otlp
for file in pyexec pyexec-launch pyexec_guest.abi3.so pyexec_serve.so pyexec-mcp-http pyexec-otlp; do
    strip -o "$program/$file" "$build/$file"
done
strip -o "$program/libpyexec.so.0" "$build/libpyexec.so.0.1.0"
for file in pyexec pyexec_serve.so; do
    patchelf --set-rpath '$ORIGIN' "$program/$file"
done
cp "$folder/licences/"* "$licences"
