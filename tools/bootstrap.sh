#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what the build (and, with "test", the tests, with "fuzz", the fuzzing, with "deb", the packages,
# with "artifacts", everything that users install) need and lack. Does nothing, and asks the network for nothing, when all is there.
set -eu

packages="gcc make meson ninja-build pkg-config libc6-dev libseccomp-dev libjansson-dev
libedit-dev libcmocka-dev libmicrohttpd-dev libarchive-dev libcurl4-openssl-dev libssl-dev libevent-dev libc-ares-dev libnats-dev
python3 python3-dev"
if [ "${1:-}" = test ]; then
    packages="$packages python3-pytest python3-pyflakes python3-venv python3-pip bubblewrap util-linux procps curl
        podman crun mmdebstrap qemu-system-x86 qemu-system-arm qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross musl-tools tcl busybox-static valgrind
        systemd lintian clang-format-14 clang-tidy-14 openjdk-17-jdk-headless maven chromium chromium-driver python3-selenium nats-server haproxy"
fi
if [ "${1:-}" = artifacts ]; then
    packages="$packages python3-venv openjdk-17-jdk-headless maven podman crun mmdebstrap musl-tools
        qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
fi
if [ "${1:-}" = test ] || [ "${1:-}" = deb ] || [ "${1:-}" = artifacts ]; then
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

# Runs apt-get, and waits while another program (unattended-upgrades, for one) holds a lock of apt or dpkg: 10 minutes
# at most. DPkg::Lock::Timeout would not wait for the lock of the lists.
run_apt() {
    tries=0
    until output=$($sudo env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get "$@" 2>&1); do
        case $output in
        *"Could not get lock"* | *"Unable to lock"* | *"Unable to acquire"*) ;;
        *) tries=600 ;;
        esac
        if [ "$tries" -ge 600 ]; then
            printf '%s\n' "$output" >&2
            return 1
        fi
        [ "$tries" != 0 ] || echo "pyexec: waiting for another program to release apt's lock" >&2
        tries=$((tries + 1))
        sleep 1
    done
}
run_apt update -qq
# shellcheck disable=SC2086
run_apt install -y -qq --no-install-recommends $missing
