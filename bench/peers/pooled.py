# SPDX-License-Identifier: Apache-2.0
"""pyexec as a program uses it: one executor stays open, and runs take prewarmed processes."""
from . import library

WHAT = {"name": "pyexec", "mode": "C API, pool; numpy and pandas preloaded", "isolates": library.ISOLATES}
Peer = library.Peer


def install(place):
    return library.install(place, "pooled")
