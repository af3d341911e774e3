#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds pyexec for arm64 on another machine: tools/arm64.sh BUILD [TARGET…]. It writes only below BUILD/arm64:
# It exits with 3 if something that it needs is missing.
#   tree/   Debian's packages for arm64, unpacked: libraries, headers, Python and a kernel. The machine's own list of architectures stays as it is.
#   build/  the build folder. Its filters are made by a program of arm64, because they need the numbers of that architecture; qemu-aarch64 runs it.
set -eu
cd "$(dirname "$0")/.."
folder=$(mkdir -p "${1:?usage: tools/arm64.sh BUILD [TARGET…]}/arm64" && cd "$1/arm64" && pwd)
shift
release=bookworm
packages=libc6-dev,python3,python3-dev,python3-pytest,libjansson-dev,libseccomp-dev,libedit-dev,libcmocka-dev,libmicrohttpd-dev
packages=$packages,libarchive-dev,libcurl4-openssl-dev,libssl-dev,libsystemd-dev,libevent-dev,libc-ares-dev
packages=$packages,busybox-static,util-linux,linux-image-cloud-arm64

for tool in mmdebstrap aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$tool" >/dev/null ||
        { echo "pyexec: $tool is missing (Debian: mmdebstrap gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)" >&2; exit 3; }
done
# A tree of other packages is made again.
if [ "$(cat "$folder/packages" 2>/dev/null)" != "$release $packages" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -n 1)
    [ -n "$mirror" ] || { echo "pyexec: apt has no lists (apt-get update)" >&2; exit 3; }
    rm -rf "$folder/tree" "$folder/new"
    # "extract" runs none of the packages' scripts. The mirror can be a copy of an old day.
    TMPDIR=$folder mmdebstrap --quiet --variant=extract --architectures=arm64 --components=main \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/lib/modules/*' --include="$packages" "$release" "$folder/new" "$mirror"
    mv "$folder/new" "$folder/tree"
    echo "$release $packages" > "$folder/packages"
fi
cat > "$folder/cross.ini" <<END
[constants]
tree = '$folder/tree'
[binaries]
c = ['aarch64-linux-gnu-gcc', '--sysroot=' + tree]
ar = 'aarch64-linux-gnu-gcc-ar'
strip = 'aarch64-linux-gnu-strip'
pkgconfig = 'pkg-config'
exe_wrapper = ['qemu-aarch64', '-L', tree]
[properties]
needs_exe_wrapper = true
sys_root = tree
pkg_config_libdir = tree + '/usr/lib/aarch64-linux-gnu/pkgconfig:' + tree + '/usr/share/pkgconfig'
python_includes = ['-I$(echo "$folder"/tree/usr/include/python3.*)']
[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
END
[ -f "$folder/build/build.ninja" ] || meson setup "$folder/build" --cross-file "$folder/cross.ini" -Dplayground=disabled >/dev/null
exec ninja -C "$folder/build" "$@"
