#!/bin/sh
# Installs what the build (and, with "test", the tests, with "fuzz", the fuzzing, with "deb", the packages)
# need and lack. Does nothing, and asks the network for nothing, when all is there.
set -eu

packages="gcc make meson ninja-build pkg-config libc6-dev libseccomp-dev libjansson-dev
libedit-dev libcmocka-dev libmicrohttpd-dev libarchive-dev libssl-dev libsystemd-dev python3 python3-dev"
if [ "${1:-}" = test ]; then
    packages="$packages python3-pytest python3-venv python3-pip bubblewrap util-linux procps curl
        podman crun qemu-system-x86 busybox-static valgrind systemd lintian
        openjdk-17-jdk-headless maven chromium chromium-driver python3-selenium"
fi
if [ "${1:-}" = test ] || [ "${1:-}" = deb ]; then
    packages="$packages build-essential debhelper"
    command -v npm >/dev/null || packages="$packages npm"
fi
if [ "${1:-}" = test ] || [ "${1:-}" = fuzz ]; then
    # The runtime of sanitizers and libFuzzer is only recommended by clang.
    packages="$packages clang libclang-rt-14-dev"
fi

missing=
if command -v dpkg-query >/dev/null; then
    for package in $packages; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=
        [ "$status" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || exit 0
else
    for tool in gcc meson ninja pkg-config python3; do
        command -v "$tool" >/dev/null || missing="$missing $tool"
    done
    for library in libseccomp jansson libedit; do
        pkg-config --exists "$library" 2>/dev/null || missing="$missing $library"
    done
    [ -n "$missing" ] || exit 0
    echo "pyexec: please install:$missing (Debian's names: $(echo $packages))" >&2
    exit 1
fi

if ! command -v apt-get >/dev/null; then
    echo "pyexec: there is no apt-get here; please install:$missing" >&2
    exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "pyexec: not root and no sudo; please install:$missing" >&2
        exit 1
    fi
    sudo=sudo
    echo "pyexec: sudo apt-get installs:$missing"
else
    echo "pyexec: apt-get installs:$missing"
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
