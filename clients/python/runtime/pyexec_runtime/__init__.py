# SPDX-License-Identifier: Apache-2.0
"""The program `pyexec`, with all that it needs, in the folder `program` of this package. tools/wheels.sh makes a wheel of both
for one kind of machine. There is no source distribution and no wheel for every machine: pip must never install this package
where the program can't run."""
from __future__ import annotations

import os
import signal
import sys


def program() -> str:
    """Returns the path of `pyexec`."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "program", "pyexec")


def main() -> None:
    """Becomes the program: same process, arguments and standard streams."""
    for name in ("SIGPIPE", "SIGXFSZ"):     # Python ignores them, and what it ignores stays ignored in the program
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execv(program(), ["pyexec", *sys.argv[1:]])
    except OSError as failure:
        sys.exit("pyexec: can't start %s: %s. The folder must not be mounted noexec, and pyexec-runtime must be the wheel "
                 "for this machine." % (program(), failure.strerror))
