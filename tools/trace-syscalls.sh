#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Which system calls Python and the usual packages make, and what pyexec's list answers to them.
#
#     tools/trace-syscalls.sh BUILD [PYTHON...]
#
# For each interpreter (default: the newest of each CPython from 3.8 on, of PATH and pyenv): a virtual
# environment with the packages that pip finds for it, then each section of trace_workload.py under
# `strace -f`. Needs strace and the network; takes some minutes. Prints one line per call: name, the
# list's actions, in how many of the interpreters it was seen, and the sections that made it.
set -euo pipefail
build=${1:?usage: tools/trace-syscalls.sh BUILD [PYTHON...]}
shift
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ $# = 0 ]; then
    for minor in $(seq 8 30); do
        python=$(command -v "python3.$minor" || true)
        for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3."$minor".*/bin/python; do
            [ ! -x "$candidate" ] || python=$candidate
        done
        [ -z "$python" ] || set -- "$@" "$python"
    done
fi
mkdir "$work/traces"
for python in "$@"; do
    version=$("$python" -c 'import platform; print(platform.python_version())')
    "$python" -m venv "$work/venv-$version"
    venv=$work/venv-$version/bin/python
    "$venv" -m pip install -q --prefer-binary --only-binary :all: numpy pandas matplotlib scipy scikit-learn >&2
    sections="bare imports files concurrency facts numpy pandas scipy matplotlib sklearn"
    for section in $sections; do
        strace -f -qq -o "$work/traces/$version.$section" "$venv" "$here/trace_workload.py" "$section" >&2 ||
            echo "$version: $section failed" >&2
    done
    echo "$version: $("$venv" -m pip list --format freeze | grep -iE '^(numpy|pandas|matplotlib|scipy|scikit)' | tr '\n' ' ')"
    rm -rf "$work/venv-$version"
done
"$build/seccomp_gen" --markdown > "$work/list"
"$here/trace_summary.py" "$work/list" "$work/traces" || true
