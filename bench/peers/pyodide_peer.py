# SPDX-License-Identifier: Apache-2.0
"""Pyodide: CPython in WebAssembly, in Node. A run loads a new interpreter."""
import os

PACKAGES = ["pyodide@314.0.7"]
WHAT = {"name": "Pyodide in Node", "mode": "a new interpreter for each run; HumanEval: new globals in one interpreter",
        "isolates": {"processes": "WebAssembly has none; code reaches all of Node through `import js`", "network": "no: through `js`",
                     "files": "its own, in memory; the host's through `js`", "memory": "at most 4 GiB", "cpu": "no, one thread of Node",
                     "kernel": "WebAssembly, as long as code can't reach `js`"}}


def install(place):
    folder = place.npm("pyodide", PACKAGES)
    script = os.path.join(place.bench, "peers/pyodide_driver.mjs")
    return ["node", script, folder], "%s, Node %s" % (", ".join(PACKAGES), place.version("node", "--version"))
