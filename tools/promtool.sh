#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts Debian's promtool into BUILD/promtool, for the tests of metrics and alerts: unpacked, not installed.
set -eu
folder=${1:?usage: tools/promtool.sh BUILD}/promtool
[ ! -x "$folder/promtool" ] || exit 0
mkdir -p "$folder"
cd "$folder"
apt-get download -qq prometheus
dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xO ./usr/bin/promtool > promtool.new
rm prometheus_*.deb
chmod 755 promtool.new
mv promtool.new promtool
