#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints -I flags for the headers of a CPython 3.8 or later. The distribution's own Python first:
# the one first in PATH may be a shim, or have no headers.
set -eu
for python in ${PYTHON_FOR_HEADERS:-} /usr/bin/python3 python3; do
    flags=$("$python" -I -c '
import os, sys, sysconfig
path = sysconfig.get_paths()["include"]
if sys.version_info >= (3, 8) and os.path.exists(os.path.join(path, "Python.h")):
    print("-I" + path)' 2>/dev/null) || continue
    if [ -n "$flags" ]; then
        echo "$flags"
        exit 0
    fi
done
echo "no Python.h of a CPython 3.8 or later: install python3-dev" >&2
exit 1
