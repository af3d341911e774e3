#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds CPython for musl from the sources of Debian 12: tools/musl-python.sh FOLDER makes FOLDER/python, which can be moved, with pip,
# zlib, ctypes and expat, and without sqlite3 and ssl. The tests need it: no package that this project can fetch has one.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:?usage: tools/musl-python.sh FOLDER}"
folder=$(cd "$1" && pwd)
stamp=$(sha256sum <"$0")
[ "$(cat "$folder/made" 2>/dev/null)" != "$stamp" ] || exit 0
rm -rf "$folder/sources" "$folder/root" "$folder/python" "$folder/installed"
. "$source/tools/debian-sources.sh"
"$source/tools/musl-compiler.sh" "$folder"
prepare_apt bookworm
cd "$folder/sources"
for name in libffi zlib python3.11; do
    fetch_source "$name"
done
unset APT_CONFIG
export CC="$folder/bin/musl-cc" CFLAGS="-O2 -w -fPIC"

cd "$folder/sources/libffi"
quietly ./configure -q --prefix="$folder/root" --disable-shared --disable-docs --disable-multi-os-directory
quietly make -s -j"$(nproc)" install
cd "$folder/sources/zlib"
quietly ./configure --static --prefix="$folder/root"
quietly make -s libz.a
mkdir -p "$folder/root/lib" "$folder/root/include"
cp libz.a "$folder/root/lib"
cp zlib.h zconf.h "$folder/root/include"

cd "$folder/sources/python3.11"
# setup.py would look into the folders of this machine's own C library. In Debian, expat is in the interpreter.
sed -i 's/^    def add_multiarch_paths(self):/&\n        return/' setup.py
sed -i '1i #define Py_BUILD_CORE_MODULE 1' Modules/pyexpat.c
# Alpine has the same stacks: those of musl are too small for deep recursion.
export CFLAGS="-O2 -w -DTHREAD_STACK_SIZE=0x100000 -I$folder/root/include" LDFLAGS="-L$folder/root/lib -Wl,-z,stack-size=1048576"
export PKG_CONFIG_LIBDIR="$folder/root/lib/pkgconfig"
quietly ./configure -q --build="$(uname -m)-linux-musl" --prefix=/python --without-ensurepip --disable-test-modules
quietly make -s -j"$(nproc)"
# The patches of Debian make a link that is there already.
make -s -i install DESTDIR="$folder/installed" >"$folder/log" 2>&1
"$folder/installed/python/bin/python3.11" -c 'import ctypes, decimal, json, pyexpat, socket, zlib'
mv "$folder/installed/python" "$folder/python"
rm -rf "$folder/installed" "$folder/sources"
echo "$stamp" >"$folder/made"
