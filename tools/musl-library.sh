#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Unpacks the musl of Debian 13: tools/musl-library.sh FOLDER prints the path of the library, 1.2.5. Debian 12 has 1.2.3, which can't load programs
# with compact relocations (DT_RELR, since 1.2.4), such as Node's for musl. PYEXEC_MACHINE=aarch64 takes that for arm64. The tests need it.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:?usage: tools/musl-library.sh FOLDER}"
folder=$(cd "$1" && pwd)
case ${PYEXEC_MACHINE:-$(uname -m)} in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
esac
library=$folder/$architecture.so
if [ ! -f "$library" ]; then
    . "$source/tools/debian-sources.sh"
    prepare_apt trixie
    cd "$folder/packages"
    quietly apt-get download -q musl
    rm -rf "$folder/root"
    dpkg -x musl_*_"$architecture.deb" "$folder/root"
    cp "$folder/root"/usr/lib/*-linux-musl/libc.so "$library"
fi
echo "$library"
