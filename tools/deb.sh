#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the Debian packages from a copy of the tree: tools/deb.sh FOLDER leaves them in FOLDER.
# debhelper, lintian and the build dependencies of debian/control must be installed (tools/bootstrap.sh deb).
#
# PYEXEC_MACHINE=aarch64 cross-builds those for arm64, as root. The libraries of that architecture are then installed into a view of this machine's
# file tree, so the machine stays as it is.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:?usage: tools/deb.sh FOLDER}
here=$(uname -m)
machine=${PYEXEC_MACHINE:-$here}

if [ "$machine" != "$here" ] && [ -z "${PYEXEC_DEB_VIEW:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "pyexec: packages for $machine can't be built here: only root can make the view of the file tree" >&2; exit 3; }
    for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
        command -v "$tool" >/dev/null || { echo "pyexec: $tool is missing (Debian: gcc-aarch64-linux-gnu qemu-user)" >&2; exit 3; }
    done
    rm -rf "$folder"
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
    view=$(mktemp -d)
    trap 'rmdir "$view"' EXIT
    # shellcheck disable=SC2016
    unshare --mount --propagation private sh -euc 'view=$1 folder=$2 source=$3
        mount -t tmpfs none "$view"
        mkdir "$view/upper" "$view/work" "$view/root"
        mount -t overlay overlay -o "lowerdir=/,upperdir=$view/upper,workdir=$view/work" "$view/root"
        mount --rbind /dev "$view/root/dev"
        mount --rbind /proc "$view/root/proc"
        mkdir -p "$view/root$folder"
        mount --bind "$folder" "$view/root$folder"
        PYEXEC_DEB_VIEW=1 exec chroot "$view/root" "$source/tools/deb.sh" "$folder"' - "$view" "$folder" "$source"
    exit
fi

find "$folder" -mindepth 1 -delete 2>/dev/null || true
mkdir -p "$folder/pyexec"
tar -C "$source" --exclude='./build*' --exclude=./.git --exclude=./web/node_modules --exclude=./clients/typescript/node_modules -c . | tar -C "$folder/pyexec" -x
cp -r "$folder/pyexec/packaging/debian" "$folder/pyexec/debian"
cd "$folder/pyexec"
set --
if [ "$machine" != "$here" ]; then
    # shellcheck disable=SC2046
    { dpkg --add-architecture arm64 && apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        libpython3-dev:arm64 $(sed -n 's/^ \(lib[^ ,]*-dev\)\( ([^)]*)\)\?,$/\1:arm64/p' debian/control); } >../build.log 2>&1 || { tail -n 30 ../build.log >&2; exit 1; }
    "$source/tools/arm64-cross.sh" "$("$source/tools/python-includes.sh")" >../cross.ini
    DH_MESON_CROSS_FILE=$(cd .. && pwd)/cross.ini
    DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS:-noddebs} nocheck"
    export DH_MESON_CROSS_FILE
    # The dependencies of a cross build have names of architectures that this control file does not have.
    set -- -a arm64 -d
fi
DEB_BUILD_OPTIONS=${DEB_BUILD_OPTIONS:-noddebs} dpkg-buildpackage -b -us -uc "$@" >../build.log 2>&1 || {
    tail -n 60 ../build.log >&2
    exit 1
}
cd ..
rm -rf pyexec cross.ini
ls ./*.deb
