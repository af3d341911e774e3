#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds packaging/Containerfile with podman into FOLDER/pyexec-VERSION-ARCHITECTURE.oci.tar: tools/image.sh FOLDER DEBS
# DEBS is a folder with the Debian packages (tools/deb.sh). $BASE names the base image. Without it, one is made from the
# packages of Debian's release $RELEASE (default: bookworm) on the mirror of this machine's apt, so no registry is needed.
# PYEXEC_MACHINE=aarch64 builds the image for arm64, where the kernel runs its programs by emulation (Debian: qemu-user-static binfmt-support
# arch-test, and a mounted binfmt_misc).
# Needs podman, mmdebstrap and root. Containers of the build use no namespaces, so it works inside of a container too.
set -eu
umask 022
source=$(cd "$(dirname "$0")/.." && pwd)
debs=$(cd "${2:?usage: tools/image.sh FOLDER DEBS}" && pwd)
mkdir -p "$1"
target=$(cd "$1" && pwd)
for tool in podman mmdebstrap; do
    command -v "$tool" >/dev/null || {
        echo "pyexec: the image can't be built here: there is no $tool" >&2
        exit 1
    }
done
[ "$(id -u)" = 0 ] || {
    echo "pyexec: the image can't be built here: its base is made as root" >&2
    exit 1
}
machine=${PYEXEC_MACHINE:-$(uname -m)}
case $machine in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
*) architecture=$machine ;;
esac
if [ "$machine" != "$(uname -m)" ]; then
    grep -qs '^enabled' "/proc/sys/fs/binfmt_misc/qemu-$machine" && command -v arch-test >/dev/null || {
        echo "pyexec: the image for $machine can't be built here: the kernel does not emulate its programs. As root:" >&2
        echo "    mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc" >&2
        echo "    apt install qemu-user-static binfmt-support arch-test" >&2
        exit 1
    }
fi
version=$(sed -n "s/^  version: '\(.*\)',$/\1/p" "$source/meson.build" | head -n 1)
archive=$target/pyexec-$version-$machine.oci.tar
work=$(mktemp -d)
trap 'podman --root "$work/store" --runroot "$work/run" --storage-driver vfs unmount --all >/dev/null 2>&1; rm -rf "$work"' EXIT
in_store() {
    podman --root "$work/store" --runroot "$work/run" --storage-driver vfs --cgroup-manager cgroupfs "$@"
}

if [ -z "${BASE:-}" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -n 1)
    [ -n "$mirror" ] || {
        echo "pyexec: the image can't be built here: apt knows no mirror (apt-get update)" >&2
        exit 1
    }
    mmdebstrap --quiet --mode=root --variant=minbase --architectures="$architecture" --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
        --dpkgopt=force-unsafe-io "${RELEASE:-bookworm}" "$work/base.tar" "$mirror"
    BASE=localhost/pyexec-base
    in_store import --quiet --os linux --arch "$architecture" "$work/base.tar" "$BASE" >/dev/null
    rm "$work/base.tar"
fi
mkdir -p "$work/context/debs"
cp "$debs"/*.deb "$work/context/debs"
in_store build --quiet --platform "linux/$architecture" --isolation chroot --network host --timestamp "$("$source/tools/source-date.sh")" \
    --build-arg "BASE=$BASE" --build-arg DEBS=debs -t localhost/pyexec -f "$source/packaging/Containerfile" "$work/context" >"$work/log" 2>&1 || {
    tail -n 40 "$work/log" >&2
    exit 1
}
rm -f "$archive"
in_store save --quiet --format oci-archive -o "$archive" localhost/pyexec >/dev/null
echo "$archive"
