# SPDX-License-Identifier: Apache-2.0
# Functions of tools/old-libc.sh, tools/static-libraries.sh, tools/musl-python.sh, tools/musl-library.sh and tools/other-pythons.sh, which read it: sources and packages from
# Debian, below $folder. Nothing outside of it changes. The packages are for $architecture, or for this machine.
# The packages come from the mirror that apt uses here, or from PYEXEC_DEBIAN_MIRROR and PYEXEC_DEBIAN_SECURITY_MIRROR.

# A command whose output is only of interest when it fails.
quietly() {
    "$@" >"$folder/log" 2>&1 || { tail -n 40 "$folder/log" >&2; exit 1; }
}

mirror_of() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | sed 's:/*$::' | grep "/$1\$" | head -n 1
}

# The packages of these suites of Debian, and the sources of the first.
prepare_apt() {
    mirror=${PYEXEC_DEBIAN_MIRROR:-$(mirror_of debian)}
    security=${PYEXEC_DEBIAN_SECURITY_MIRROR:-$(mirror_of debian-security)}
    [ -n "$mirror" ] && [ -n "$security" ] || {
        echo "pyexec: apt names no mirror of Debian here; set PYEXEC_DEBIAN_MIRROR and PYEXEC_DEBIAN_SECURITY_MIRROR" >&2
        exit 1
    }
    mkdir -p "$folder/apt/state/lists/partial" "$folder/apt/cache/archives/partial" "$folder/packages" "$folder/sources"
    : >"$folder/apt/status"
    for suite in "$@"; do
        for kind in deb deb-src; do
            [ "$kind" = deb ] || [ "$suite" = "$1" ] || continue
            echo "$kind [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
            echo "$kind [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $security $suite-security main"
        done
    done >"$folder/apt/sources.list"
    cat >"$folder/apt/apt.conf" <<END
Dir::Etc::SourceList "$folder/apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State "$folder/apt/state";
Dir::State::status "$folder/apt/status";
Dir::Cache "$folder/apt/cache";
APT::Sandbox::User "$(id -un)";
${architecture:+APT::Architecture "$architecture";}
END
    export APT_CONFIG="$folder/apt/apt.conf"
    quietly apt-get update -q
}

# The newest version that the mirror really has: its index can be ahead of its files.
fetch_source() {
    for version in $(apt-cache showsrc --only-source "$1" | sed -n 's/^Version: //p' | sort -uVr); do
        if apt-get source -q --download-only --only-source "$1=$version" >"$folder/log" 2>&1; then
            dpkg-source --no-check -x "$1"_*.dsc "$1" >"$folder/log" 2>&1
            echo "$1 $version (built from Debian's source package)" >>"$folder/libraries.txt"
            return 0
        fi
        rm -f "$1"_*
    done
    echo "pyexec: the mirror has no source of $1 that can be fetched:" >&2
    tail -n 3 "$folder/log" >&2
    exit 1
}
