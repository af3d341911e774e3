#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes everything that users install, with a bill of materials for each and SHA256SUMS: tools/artifacts.sh FOLDER BUILD
# FOLDER has what this machine's platform installs, and the jars. Its folders musl, arm64 and arm64-musl have the same for the other platforms, so
# that a line such as pip install FOLDER/pyexec_*.whl takes what fits.
#     WITHOUT='jar npm'   leaves these parts out; the parts are: deb tarball wheels jar npm image, and on x86-64 the same but jar with -arm64
#                         (deb-arm64 …); "arm64" leaves out all of those, and the natives for arm64 in the jar; "server" leaves `pyexec serve` out of
#                         tarballs and wheels, for which several libraries are built
#     CHECK=1             makes all but the images once more, from a copy of the source in another folder, and compares the bytes
# A part that can't be made says why. The others are made all the same, and the exit status is then 1.
set -eu
umask 022
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:?usage: tools/artifacts.sh FOLDER BUILD}" "${2:?usage: tools/artifacts.sh FOLDER BUILD}"
target=$(cd "$1" && pwd) build=$(cd "$2" && pwd)
WITHOUT=${WITHOUT:-}
PYEXEC_ARM64=${PYEXEC_ARM64:-$build/arm64}
export PYEXEC_ARM64
here=$(uname -m)
SOURCE_DATE_EPOCH=$("$source/tools/source-date.sh")
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=''
rm -rf "$target"
mkdir "$target"

left_out() {
    case " $WITHOUT " in *" $1 "*) return 0 ;; esac
    return 1
}
with_arm64=false
[ "$here" != x86_64 ] || left_out arm64 || with_arm64=true

server=''
! left_out server || server=--without-server

make_deb() {
    # Their date is that of debian/changelog, as Debian's tools have it.
    (unset SOURCE_DATE_EPOCH && DEB_BUILD_OPTIONS='noddebs nocheck' "$source/tools/deb.sh" "$work/deb$suffix") &&
        mkdir -p "$fits" && cp "$work/deb$suffix"/*.deb "$fits"
}
make_tarball() {
    "$source/tools/tarball.sh" $server "$fits"
}
make_wheels() {
    "$source/tools/wheels.sh" $server "$fits" && "$source/tools/wheels.sh" --musl $server "$musl"
}
make_jar() {
    command -v mvn >/dev/null || { echo "there is no mvn (apt install maven)"; return 1; }
    natives=
    if $with_arm64; then
        PYEXEC_MACHINE=aarch64 "$source/tools/bundle.sh" "$work/natives" || return 1
        natives=-Dpyexec.natives=$work/natives
    fi
    # Javadoc and sources are for Maven's registry, and not for users. A jar of an earlier build may have other natives.
    find "$source/clients/java" -path '*/target/*.jar' -delete
    rm -rf "$source/clients/java/ali-langengine-pyexecutor/target/classes/com/alibaba/langengine/pyexecutor/native"
    # shellcheck disable=SC2086
    mvn -q -f "$source/clients/java" -DskipTests -Dmaven.javadoc.skip=true $natives package &&
        find "$source/clients/java" -path '*/ali-langengine-pyexecutor*/target/*.jar' ! -name '*-sources.jar' ! -name '*-javadoc.jar' \
            ! -name '*-tests.jar' -exec cp {} "$target" \;
}
make_npm() {
    packages=$work/npm$suffix
    "$source/tools/npm-package.sh" "$packages" "$build" && mkdir -p "$fits" "$musl" && cp "$packages"/pyexec-client-*.tgz "$musl" &&
        mv "$packages"/pyexec-runtime-*-musl-*.tgz "$musl" && mv "$packages"/*.tgz "$fits"
}
make_image() {
    [ -d "$work/deb$suffix" ] || { echo "it is made of the Debian packages, which are not there"; return 1; }
    "$source/tools/image.sh" "$fits" "$work/deb$suffix"
}

parts='deb tarball wheels jar npm image'
! $with_arm64 || parts="$parts deb-arm64 tarball-arm64 wheels-arm64 npm-arm64 image-arm64"
if $with_arm64 && ! grep -qs '^enabled' /proc/sys/fs/binfmt_misc/qemu-aarch64; then
    echo "image-arm64: the kernel does not emulate its programs; PYEXEC_MACHINE=aarch64 tools/image.sh says what to do"
    WITHOUT="$WITHOUT image-arm64"
fi
for part in $parts; do
    suffix='' fits=$target musl=$target/musl
    unset PYEXEC_MACHINE
    case $part in *-arm64) suffix=-arm64 fits=$target/arm64 musl=$target/arm64-musl PYEXEC_MACHINE=aarch64; export PYEXEC_MACHINE ;; esac
    if left_out "$part"; then
        echo "$part: left out"
        continue
    fi
    begin=$(date +%s)
    if "make_${part%-arm64}" >"$work/$part.log" 2>&1; then
        echo "$part: made in $(($(date +%s) - begin)) s"
    else
        echo "$part: can't be made here:"
        tail -n 15 "$work/$part.log" | sed 's/^/    /'
        failed="$failed $part"
    fi
done
unset PYEXEC_MACHINE

cd "$target"
for file in * */*; do
    [ -f "$file" ] || continue
    "$source/tools/sbom.py" "$file" >"$work/sbom" || { failed="$failed sbom($file)"; continue; }
    mv "$work/sbom" "$file.spdx.json"
done
find . -type f | sed 's#^\./##' | LC_ALL=C sort | xargs sha256sum >"$work/sums"
mv "$work/sums" SHA256SUMS
find . -type f -printf '%10s  %P\n' | LC_ALL=C sort -k 2

if [ -n "${CHECK:-}" ]; then
    again=$work/'built again in a folder with a longer name'
    mkdir -p "$again/source"
    tar -C "$source" --exclude='./build*' --exclude=./.git --exclude=node_modules --exclude=target -c . | tar -C "$again/source" -x
    # The images are left out: apt writes the time into files of its own.
    (umask 077 && CHECK='' WITHOUT="$WITHOUT image image-arm64$failed" TZ=Asia/Tokyo "$again/source/tools/artifacts.sh" "$again/out" "$again/build") || failed="$failed check"
    grep -v '\.oci\.tar' SHA256SUMS >"$work/first"
    if diff "$work/first" "$again/out/SHA256SUMS"; then
        echo "the second build gave the same bytes"
    else
        failed="$failed check"
    fi
fi
[ -z "$failed" ] || {
    echo "pyexec: not made:$failed. WITHOUT='…' leaves parts out" >&2
    exit 1
}
