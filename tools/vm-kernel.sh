#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts Debian's cloud kernel into BUILD/vm/vmlinuz, for the tests that boot one: unpacked, not installed.
set -eu
folder=${1:?usage: tools/vm-kernel.sh BUILD}/vm
[ ! -s "$folder/vmlinuz" ] || exit 0
mkdir -p "$folder"
cd "$folder"
package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p' | head -n 1)
apt-get download -qq "$package"
dpkg-deb --fsys-tarfile "$package"_*.deb | tar -xO --wildcards './boot/vmlinuz-*' > vmlinuz.new
rm "$package"_*.deb
mv vmlinuz.new vmlinuz
