#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the Debian packages from a copy of the tree: tools/deb.sh FOLDER leaves them in FOLDER.
# debhelper, lintian and the build dependencies of debian/control must be installed (tools/bootstrap.sh deb).
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:?usage: tools/deb.sh FOLDER}
rm -rf "$folder"
mkdir -p "$folder/pyexec"
tar -C "$source" --exclude='./build*' --exclude=./.git --exclude=./web/node_modules --exclude=./clients/typescript/node_modules -c . | tar -C "$folder/pyexec" -x
cp -r "$folder/pyexec/packaging/debian" "$folder/pyexec/debian"
cd "$folder/pyexec"
DEB_BUILD_OPTIONS=${DEB_BUILD_OPTIONS:-noddebs} dpkg-buildpackage -b -us -uc >../build.log 2>&1 || {
    tail -n 60 ../build.log >&2
    exit 1
}
cd ..
rm -rf pyexec
ls ./*.deb
