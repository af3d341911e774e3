#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the native program for a jar, as files that need nothing but a Linux with glibc 2.31
# (Debian 11) or later and a Python: tools/bundle.sh FOLDER puts them into FOLDER/linux-ARCHITECTURE. The program, its launcher and the proxy of
# allowed_hosts are static; the guest extension, which an interpreter loads, is checked for what it needs of the C library. LICENSES.txt has the
# licenses of what is linked in.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:?usage: tools/bundle.sh FOLDER}/linux-$(uname -m)
build=${PYEXEC_BUNDLE_BUILD:-$source/build-bundle}
newest=2.31
programs="pyexec pyexec-launch pyexec-egress"
files="$programs pyexec_guest.abi3.so"

for tool in gcc meson ninja readelf; do
    command -v "$tool" >/dev/null || {
        echo "pyexec: the native program for the jar can't be built: there is no $tool." \
            "Run \`make\` in $source once, or leave it out with -Dpyexec.bundle.skip=true." >&2
        exit 1
    }
done
[ -f "$build/build.ninja" ] || meson setup "$build" "$source" -Dbundle=true -Dserve=disabled -Degress=enabled -Db_pie=false --buildtype=release >"$build.log" 2>&1 ||
    { cat "$build.log" >&2; exit 1; }
rm -f "$build.log"
# shellcheck disable=SC2086
ninja -C "$build" $files >"$build/make.log" 2>&1 || { cat "$build/make.log" >&2; exit 1; }

mkdir -p "$folder"
for file in $files; do
    strip -o "$folder/$file" "$build/$file"
done
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
# shellcheck disable=SC2086
sha256sum $files >SHA256SUMS

# The licenses of the libraries that are linked in, from Debian's packages (tools/sbom.py).
rm -f LICENSES.txt
if command -v dpkg-query >/dev/null; then
    texts=$(mktemp -d)
    trap 'rm -rf "$texts"' EXIT
    "$source/tools/sbom.py" . --bundle "$build" --licenses "$texts" >/dev/null
    for text in "$texts"/*; do
        printf '==== %s\n\n' "$(basename "$text")"
        cat "$text"
    done >LICENSES.txt
fi
