#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prepares a build for arm64 on another machine: tools/arm64-tree.sh FOLDER [PACKAGES]. It writes only below FOLDER:
#   tree/      Debian's packages for arm64, unpacked: libraries, headers, musl, Python and a kernel. The machine's own list of architectures stays as it is.
#   cross.ini  meson's file for a cross build (tools/arm64-cross.sh)
# With PACKAGES, the tree has these and no others, for example to install artifacts there. It exits with 3 if something that it needs is missing.
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
folder=$(mkdir -p "${1:?usage: tools/arm64-tree.sh FOLDER [PACKAGES]}" && cd "$1" && pwd)
release=bookworm
packages=libc6-dev,python3,python3-dev,python3-pytest,libjansson-dev,libseccomp-dev,libedit-dev,libcmocka-dev,libmicrohttpd-dev
packages=$packages,libarchive-dev,libcurl4-openssl-dev,libssl-dev,libsystemd-dev,libevent-dev,libc-ares-dev
packages=${2:-$packages,musl-dev,busybox-static,util-linux,strace,linux-image-cloud-arm64}

for tool in mmdebstrap aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$tool" >/dev/null ||
        { echo "pyexec: $tool is missing (Debian: mmdebstrap gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)" >&2; exit 3; }
done
# "extract" runs none of the packages' scripts, and writes no database of dpkg. tools/sbom.py asks that for the package of a library, and
# dpkg for what is installed.
# shellcheck disable=SC2016
record='for deb in "$1"/var/cache/apt/archives/*.deb; do
    { dpkg-deb -f "$deb"; printf "Status: install ok installed\n\n"; } >>"$1/var/lib/dpkg/status"
    case $deb in *-dev_*) ;; *) continue ;; esac
    name=$(dpkg-deb -f "$deb" Package)
    [ "$(dpkg-deb -f "$deb" Multi-Arch)" != same ] || name=$name:$(dpkg-deb -f "$deb" Architecture)
    dpkg-deb --fsys-tarfile "$deb" | tar -t | sed "s#^\.##; s#/\$##; s#^\$#/.#" >"$1/var/lib/dpkg/info/$name.list"
done'
# A tree that was made in another way is made again.
stamp=$(sha256sum <"$0")$packages
if [ "$(cat "$folder/made" 2>/dev/null)" != "$stamp" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -n 1)
    [ -n "$mirror" ] || { echo "pyexec: apt has no lists (apt-get update)" >&2; exit 3; }
    rm -rf "$folder/tree" "$folder/new"
    # "extract" runs none of the packages' scripts. The mirror can be a copy of an old day.
    TMPDIR=$folder mmdebstrap --quiet --variant=extract --architectures=arm64 --components=main \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/lib/modules/*' --extract-hook="$record" --include="$packages" "$release" "$folder/new" "$mirror"
    mv "$folder/new" "$folder/tree"
    echo "$stamp" >"$folder/made"
fi
"$tools/arm64-cross.sh" "-I$(echo "$folder"/tree/usr/include/python3.*)" "$folder/tree" >"$folder/cross.ini"
