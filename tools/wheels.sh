#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the wheels of Python: tools/wheels.sh [--without-server] [--musl] FOLDER puts pyexec-runtime (the program, for Linux with glibc 2.31
# or later on this machine's architecture) and pyexec-client into FOLDER. The same commit makes the same bytes: all times are
# those of tools/source-date.sh.
#
# The program with its server is built for an old C library (tools/old-libc.sh), and auditwheel puts the libraries beside it that
# a system may lack; only its proxy for allowed_hosts is static (tools/bundle.sh). --musl makes a static program, for Linux with musl 1.2 or later.
# PYEXEC_MACHINE=aarch64 makes the wheels for arm64 (tools/arm64-tree.sh), also static: tools/old-libc.sh builds for this machine only.
# --without-server leaves out `pyexec serve`, MCP servers over HTTP and the exporter of traces: the rest is static, and is built in a
# minute, without a network.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
server=true
musl=false
while :; do
    case ${1:-} in
    --musl) musl=true; shift ;;
    --without-server) server=false; shift ;;
    *) break ;;
    esac
done
out=${1:?usage: tools/wheels.sh [--without-server] [--musl] FOLDER}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=${PYEXEC_WHEEL_BUILD:-$source/build-wheels}
newest=2_31
here=$(uname -m)
machine=${PYEXEC_MACHINE:-$here}
# The program is linked with the libraries of an old system, or statically.
linked=false inside=''
if $server && ! $musl && [ "$machine" = "$here" ]; then
    linked=true
elif $server; then
    inside=--server
fi
SOURCE_DATE_EPOCH=$("$source/tools/source-date.sh")
export SOURCE_DATE_EPOCH
umask 022
mkdir -p "$work"

# The tools of Python, at the versions of tools/wheels-requirements.txt.
tools=$work/tools
if ! cmp -s "$source/tools/wheels-requirements.txt" "$tools/requirements.txt"; then
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install -q --disable-pip-version-check -r "$source/tools/wheels-requirements.txt"
    cp "$source/tools/wheels-requirements.txt" "$tools/requirements.txt"
fi
PATH=$tools/bin:$PATH

program=$work/program
licences=$work/licences
rm -rf "$program" "$licences" "$work/plain" "$work/repaired"
mkdir -p "$program" "$licences" "$work/plain" "$work/repaired"
libraries=
# The proxy is static in each wheel.
# shellcheck disable=SC2086
"$source/tools/bundle.sh" $inside "$work/bundle$inside"
bundle=$work/bundle$inside/linux-$machine
cp "$bundle/pyexec-egress" "$program"
[ ! -e "$bundle/LICENSES.txt" ] || cp "$bundle/LICENSES.txt" "$licences"
if $linked; then
    "$source/tools/old-libc.sh" "$work/old-libc" "$program" "$licences"
    libraries=$work/old-libc/beside
else
    cp "$bundle/pyexec" "$bundle/pyexec-launch" "$program"
    [ -z "$inside" ] || cp "$bundle/pyexec-mcp-http" "$bundle/pyexec-otlp" "$program"
    guest=pyexec_guest.abi3.so
    ! $musl || guest=pyexec_guest_musl.abi3.so
    cp "$bundle/$guest" "$program"
fi

if $musl; then
    # auditwheel knows the libraries of musl only on a system that has them. tools/bundle.sh has looked at what these files need.
    "$source/tools/runtime-wheel.py" "$out" "musllinux_1_2_$machine" "$program" "$licences" >/dev/null
else
    wheel=$("$source/tools/runtime-wheel.py" "$work/plain" "linux_$machine" "$program" "$licences")
    # auditwheel can repair wheels of another architecture, but its command offers only the platforms of this machine's.
    LD_LIBRARY_PATH=$libraries python3 -c "import platform, sys; platform.machine = lambda *_: '$machine'; from auditwheel.main import main; sys.exit(main())" repair --plat "manylinux_${newest}_$machine" --only-plat -w "$work/repaired" "$wheel" >"$work/auditwheel.log" 2>&1 || {
        cat "$work/auditwheel.log" >&2
        exit 1
    }
    mv "$work/repaired/"*.whl "$out"
fi
pip wheel -q --disable-pip-version-check --no-index --no-deps --no-build-isolation -w "$out" "$source/clients/python"
ls "$out"/pyexec_runtime-*"_$machine.whl" "$out"/pyexec_client-*.whl
