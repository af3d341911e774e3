# SPDX-License-Identifier: Apache-2.0
"""pyexec without its pool: each run is cloned when it is asked for."""
from . import driver, library

WHAT = {"name": "pyexec, no pool", "mode": "C API, `pool_size` 0", "isolates": library.ISOLATES}


class Peer(library.Peer):
    pool = False

    def open(self, name):
        raise driver.Cannot("its sessions are those of the first line")


def install(place):
    return library.install(place, "unpooled")
