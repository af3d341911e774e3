#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds CPython for musl from the sources of Debian 12: tools/musl-python.sh FOLDER makes FOLDER/python, which can be moved, with zlib, ctypes,
# expat, ssl and sqlite3. The tests need it: no package that this project can fetch has one. PYEXEC_MACHINE=aarch64 cross-builds it, with
# the tree of tools/arm64-tree.sh and this machine's Python of the same version. It exits with 3 if something that it needs is missing.
set -eu
here=$(uname -m)
machine=${PYEXEC_MACHINE:-$here}
for tool in tclsh perl make python3.11; do
    command -v "$tool" >/dev/null || { echo "pyexec: a CPython for musl needs $tool (Debian: apt-get install tcl build-essential)" >&2; exit 3; }
done
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:?usage: tools/musl-python.sh FOLDER}"
folder=$(cd "$1" && pwd)
stamp=$(cat "$0" "$source/tools/musl-compiler.sh" | sha256sum)
[ "$(cat "$folder/made" 2>/dev/null)" != "$stamp" ] || exit 0
rm -rf "$folder/sources" "$folder/root" "$folder/python" "$folder/installed"
. "$source/tools/debian-sources.sh"
"$source/tools/musl-compiler.sh" "$folder"
prepare_apt bookworm
cd "$folder/sources"
for name in libffi zlib openssl sqlite3 python3.11; do
    fetch_source "$name"
done
unset APT_CONFIG
export CC="$folder/bin/musl-cc" CFLAGS="-O2 -w -fPIC"

configure() {
    quietly ./configure -q --host="$machine-linux-musl" "$@"
}
cd "$folder/sources/libffi"
configure --prefix="$folder/root" --disable-shared --disable-docs --disable-multi-os-directory
quietly make -s -j"$(nproc)" install
cd "$folder/sources/zlib"
quietly ./configure --static --prefix="$folder/root"
quietly make -s libz.a
mkdir -p "$folder/root/lib" "$folder/root/include"
cp libz.a "$folder/root/lib"
cp zlib.h zconf.h "$folder/root/include"
cd "$folder/sources/openssl"
# musl has no getcontext(3), which "async" needs.
quietly ./Configure "linux-$machine" --prefix="$folder/root" --libdir=lib --openssldir=/etc/ssl no-shared no-tests no-async no-legacy no-engine \
    no-dso no-afalgeng
quietly make -s -j"$(nproc)" build_generated libcrypto.a libssl.a libcrypto.pc libssl.pc openssl.pc
cp libcrypto.a libssl.a "$folder/root/lib"
cp ./*.pc "$folder/root/lib/pkgconfig"
cp -r include/openssl "$folder/root/include"
cd "$folder/sources/sqlite3"
configure --prefix="$folder/root" --disable-shared --disable-tcl --disable-readline --disable-load-extension
# The build runs lemon, so lemon must be built for this machine.
quietly make -s -j"$(nproc)" BCC=gcc CROSS_BUILDING=yes lib_install
cp sqlite3.h "$folder/root/include"

cd "$folder/sources/python3.11"
# setup.py would look into the folders of this machine's own C library. In Debian, expat is in the interpreter.
sed -i 's/^    def add_multiarch_paths(self):/&\n        return/' setup.py
sed -i '1i #define Py_BUILD_CORE_MODULE 1' Modules/pyexpat.c
# Alpine has the same stacks: those of musl are too small for deep recursion.
export CFLAGS="-O2 -w -DTHREAD_STACK_SIZE=0x100000 -I$folder/root/include" LDFLAGS="-L$folder/root/lib -Wl,-z,stack-size=1048576"
export PKG_CONFIG_LIBDIR="$folder/root/lib/pkgconfig"
if [ "$machine" = "$here" ]; then
    set -- --build="$machine-linux-musl"
    run=''
else
    # configure takes the kind of the C library from --build, and not from --host.
    set -- --build="$here-linux-musl" --host="$machine-linux-musl" --with-build-python=python3.11 READELF="$machine-linux-gnu-readelf" \
        ac_cv_file__dev_ptmx=yes ac_cv_file__dev_ptc=no ac_cv_buggy_getaddrinfo=no
    run="qemu-$machine -L ${PYEXEC_ARM64:-$source/build/arm64}/tree"
fi
quietly ./configure -q "$@" --prefix=/python --with-openssl="$folder/root" --without-ensurepip --disable-test-modules
quietly make -s -j"$(nproc)"
# In a cross build this file has another name than the one that is installed and that Python imports.
for file in build/lib.linux-*/_sysconfigdata__linux_*; do
    [ ! -f "$file" ] || cp "$file" "${file%/*}/_sysconfigdata__${file##*_linux_}"
done
# The patches of Debian make a link that is there already.
make -s -i install DESTDIR="$folder/installed" >"$folder/log" 2>&1
$run "$folder/installed/python/bin/python3.11" -c 'import ctypes, decimal, json, pyexpat, socket, sqlite3, ssl, sysconfig, zlib; sysconfig.get_config_vars()'
mv "$folder/installed/python" "$folder/python"
rm -rf "$folder/installed" "$folder/sources"
echo "$stamp" >"$folder/made"
