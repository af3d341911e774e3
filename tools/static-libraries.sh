#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the libraries that `pyexec serve`, MCP servers over HTTP and the exporter of traces need in static programs (tools/bundle.sh --server):
# tools/static-libraries.sh FOLDER makes libmicrohttpd.a, libarchive.a and libcurl.a, and prints the folder of their files for pkg-config. The
# other libraries are Debian's. Beside each is what it is (NAME.a.source) and its licence (NAME.a.licence), for tools/sbom.py. FOLDER is kept.
# With PYEXEC_MACHINE=aarch64 they are for arm64, in the tree of tools/arm64-tree.sh.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:?usage: tools/static-libraries.sh FOLDER}"
folder=$(cd "$1" && pwd)
here=$(uname -m)
machine=${PYEXEC_MACHINE:-$here}
umask 022

for tool in gcc make pkg-config dpkg-source apt-get; do
    command -v "$tool" >/dev/null || { echo "pyexec: tools/static-libraries.sh needs $tool (Debian: apt-get install build-essential)" >&2; exit 1; }
done
. "$source/tools/debian-sources.sh"
. "$source/tools/server-libraries.sh"
prefix=$folder/root destination=''
export CC=gcc
if [ "$machine" != "$here" ]; then
    tree=${PYEXEC_ARM64:-$source/build/arm64}/tree
    prefix=$tree/opt/pyexec         # where no other build looks
    CC="$machine-linux-gnu-gcc --sysroot=$tree -B$tree/usr/lib/$machine-linux-gnu/"
    export PKG_CONFIG_SYSROOT_DIR="$tree" PKG_CONFIG_LIBDIR="$tree/usr/lib/$machine-linux-gnu/pkgconfig"
fi
stamp=$(cat "$0" "$source/tools/debian-sources.sh" "$source/tools/server-libraries.sh" | sha256sum)
if [ "$(cat "$prefix/lib/made" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$folder/sources" "$folder/libraries.txt"
    prepare_apt bookworm
    cd "$folder/sources"
    for name in libmicrohttpd libarchive curl; do
        fetch_source "$name"
    done
    unset APT_CONFIG
    export CFLAGS="$hardening -ffile-prefix-map=$folder=."
    set -- --host="$machine-linux-gnu" --prefix="$prefix" --disable-shared
    build_microhttpd "$@"
    build_archive "$@"
    # Its own resolver, because a static program can't load the modules of nsswitch.conf(5).
    build_curl "$@" --enable-ares
    while read -r name version _; do
        library=$prefix/lib/lib${name#lib}.a
        echo "$name $version" >"$library.source"
        cp "$folder/sources/$name/debian/copyright" "$library.licence"
    done <"$folder/libraries.txt"
    rm -rf "$folder/sources" "$folder/packages" "$folder/apt"
    echo "$stamp" >"$prefix/lib/made"
fi
echo "$prefix/lib/pkgconfig"
