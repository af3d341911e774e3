#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The Python client's tests, with the program of a build folder, in an environment of their own; pytest's own
# arguments may follow (tests/test_life.py -k fork). The report is BUILD/python.xml.
set -eu
build=$(cd "${1:-build}" && pwd)
[ $# = 0 ] || shift
cd "$(dirname "$0")/.."
python=$(tools/python-venv.sh "$build") || exit $?
cd clients/python
PYEXEC_BUILD=$build PYTHONDONTWRITEBYTECODE=1 exec "$python" -m pytest -q -p no:cacheprovider --junitxml "$build/python.xml" "$@"
