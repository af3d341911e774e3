#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts Debian's mkfs.btrfs into BUILD/btrfs, for the test of files that share their bytes: unpacked, not installed.
set -eu
folder=${1:?usage: tools/mkfs-btrfs.sh BUILD}/btrfs
[ ! -x "$folder/mkfs.btrfs" ] || exit 0
mkdir -p "$folder"
cd "$folder"
timeout 60 apt-get download -qq -o Acquire::http::Timeout=10 -o Acquire::Retries=0 btrfs-progs
dpkg-deb --fsys-tarfile btrfs-progs_*.deb | tar -xO --wildcards './*sbin/mkfs.btrfs' > mkfs.btrfs.new
rm btrfs-progs_*.deb
chmod 755 mkfs.btrfs.new
mv mkfs.btrfs.new mkfs.btrfs
