#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the native program for a jar, as files that need nothing but a Linux and a Python for glibc 2.31 (Debian 11) or for musl 1.2, or later:
# tools/bundle.sh [--server] FOLDER puts them into FOLDER/linux-ARCHITECTURE. --server adds `pyexec serve`, MCP servers over HTTP and the exporter of
# traces, whose libraries it builds first (tools/static-libraries.sh), in a folder of its own: that takes minutes, and apt. The program, its launcher and the proxy of allowed_hosts are static, so they run
# with any C library. An interpreter loads the guest extension, of which there is one for each C library. Each is checked for what it needs
# of that. LICENSES.txt has the licenses of what is linked in. PYEXEC_MACHINE=aarch64 cross-builds for arm64 (tools/arm64-tree.sh).
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
server=false
[ "${1:-}" != --server ] || { server=true; shift; }
here=$(uname -m)
machine=${PYEXEC_MACHINE:-$here}
folder=${1:?usage: tools/bundle.sh [--server] FOLDER}/linux-$machine
build=${PYEXEC_BUNDLE_BUILD:-$source/build-bundle}
! $server || build=$build-server
cross='' strip=strip packages=$(pkg-config --variable pc_path pkg-config)
newest=2.31
programs="pyexec pyexec-launch pyexec-egress"
! $server || programs="$programs pyexec-mcp-http pyexec-otlp"
made="$programs pyexec_guest.abi3.so"
files="$made pyexec_guest_musl.abi3.so"

for tool in gcc musl-gcc meson ninja readelf; do
    command -v "$tool" >/dev/null || {
        echo "pyexec: the native program for the jar can't be built: there is no $tool." \
            "Run \`make\` in $source once, or leave it out with -Dpyexec.bundle.skip=true." >&2
        exit 1
    }
done
if [ "$machine" != "$here" ]; then
    build=$build-$machine
    arm64=${PYEXEC_ARM64:-$source/build/arm64}
    "$source/tools/arm64-tree.sh" "$arm64"
    cross="--cross-file $arm64/cross.ini"
    strip=$machine-linux-gnu-strip
    packages=$arm64/tree/usr/lib/$machine-linux-gnu/pkgconfig:$arm64/tree/usr/share/pkgconfig
fi
options='-Dserve=disabled -Dhttp=disabled'
if $server; then
    libraries=$("$source/tools/static-libraries.sh" "${PYEXEC_STATIC_LIBRARIES:-$source/build-static}")
    options="-Dserve=enabled -Dhttp=enabled -Dplayground=enabled -Dpkg_config_path=$libraries"
fi
# shellcheck disable=SC2086
[ -f "$build/build.ninja" ] || meson setup "$build" "$source" $cross -Dbundle=true $options -Degress=enabled -Db_pie=false --buildtype=release >"$build.log" 2>&1 ||
    { cat "$build.log" >&2; exit 1; }
rm -f "$build.log"
# shellcheck disable=SC2086
ninja -C "$build" seccomp_filters.c $made >"$build/make.log" 2>&1 || { cat "$build/make.log" >&2; exit 1; }
# Nothing but the guest is built with musl, so the libraries that meson finds are not used.
musl=$build/musl
before=$(cat "$musl/bin/musl-cc" 2>/dev/null || :)
"$source/tools/musl-compiler.sh" "$musl" "$build/seccomp_filters.c"
[ "$(cat "$musl/bin/musl-cc")" = "$before" ] || rm -rf "$musl/build"       # ninja does not see that the compiler changed
[ -f "$musl/build/build.ninja" ] || meson setup "$musl/build" "$source" --cross-file "$musl/musl.ini" -Dpkg_config_path="$packages" \
    -Dbundle=true -Dserve=disabled -Dhttp=disabled -Degress=disabled --buildtype=release >"$build/make.log" 2>&1 || { cat "$build/make.log" >&2; exit 1; }
ninja -C "$musl/build" pyexec_guest_musl.abi3.so >"$build/make.log" 2>&1 || { cat "$build/make.log" >&2; exit 1; }

mkdir -p "$folder"
for file in $made; do
    "$strip" -o "$folder/$file" "$build/$file"
done
"$strip" -o "$folder/pyexec_guest_musl.abi3.so" "$musl/build/pyexec_guest_musl.abi3.so"
cp "$musl/build/pyexec_guest_musl.abi3.so.map" "$build"
cd "$folder"
for file in $programs; do
    if readelf -dW "$file" | grep NEEDED; then
        echo "pyexec: $file is not static" >&2
        exit 1
    fi
done
needs=$(readelf -VW pyexec_guest.abi3.so | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -1)
if [ "$(printf '%s\n%s\n' "$needs" "$newest" | sort -V | tail -1)" != "$newest" ]; then
    echo "pyexec: pyexec_guest.abi3.so needs glibc $needs, newer than $newest:" >&2
    readelf -W --dyn-syms pyexec_guest.abi3.so | grep "GLIBC_$needs" >&2
    exit 1
fi
if readelf -dW pyexec_guest_musl.abi3.so | grep NEEDED | grep -v '\[libc.so\]' || readelf -VW pyexec_guest_musl.abi3.so | grep GLIBC; then
    echo "pyexec: pyexec_guest_musl.abi3.so needs more than musl" >&2
    exit 1
fi
# shellcheck disable=SC2086
sha256sum $files >SHA256SUMS

# The licenses of the libraries that are linked in, from Debian's packages (tools/sbom.py).
rm -f LICENSES.txt
if command -v dpkg-query >/dev/null; then
    texts=$(mktemp -d)
    trap 'rm -rf "$texts"' EXIT
    "$source/tools/sbom.py" . --licenses "$texts" >/dev/null
    for text in "$texts"/*; do
        printf '==== %s\n\n' "$(basename "$text")"
        cat "$text"
    done >LICENSES.txt
fi
