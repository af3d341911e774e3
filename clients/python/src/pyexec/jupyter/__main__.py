# SPDX-License-Identifier: Apache-2.0
"""python -m pyexec.jupyter install … installs a kernelspec. python -m pyexec.jupyter launch -f FILE runs the kernel."""
from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from typing import Any, Optional

# The name is also the id of the session.
FOLDER_NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")

try:
    from .kernel import POLICY_VARIABLE, policy_of
except ModuleNotFoundError as missing:
    sys.exit("pyexec.jupyter needs %s: install the client with its extra, as in pip install 'pyexec_client-0.1.0-py3-none-any.whl[jupyter]'" % missing.name)


def setting(text: str) -> tuple[str, Any]:
    """Parses KEY=VALUE of the policy. A value that is not JSON is text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("KEY=VALUE, as in timeout_ms=60000, not %r" % text)
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def folder(text: str) -> str:
    """Returns an existing folder as an absolute path without links."""
    path = os.path.realpath(text)
    if not os.path.isdir(path):
        raise argparse.ArgumentTypeError("%r is not a folder" % text)
    if FOLDER_NAME.match(os.path.basename(path)) is None:
        raise argparse.ArgumentTypeError("the folder's name may only have letters, digits and . _ : - (at most 128 characters), not %r" % os.path.basename(path))
    return path


def try_it(options: argparse.Namespace) -> None:
    """Runs one cell and prints a warning if that fails: no program, an unknown policy key, a machine that can't run scripts.
    It is only a warning, because a kernel may be installed on a machine on which it will not run."""
    from ..client import Pyexec
    from ..errors import PyexecError
    try:
        with Pyexec(program=options.program, policy=policy_of(dict(options.set))) as px:
            px.execute_once("None")
    except PyexecError as error:
        print("warning: the kernel can't run here yet: %s" % error, file=sys.stderr)


def install(options: argparse.Namespace) -> None:
    from jupyter_client.kernelspec import KernelSpecManager
    if options.environment:
        options.set = [*options.set, ("environment", options.environment)]
    chosen = dict(options.set).get("environment")
    options.name = options.name or ("pyexec-%s" % chosen if chosen else "pyexec")
    options.display_name = options.display_name or ("Python (pyexec, %s)" % chosen if chosen else "Python (pyexec)")
    spec: dict[str, Any] = {
        "argv": [sys.executable, "-m", "pyexec.jupyter", "launch", "-f", "{connection_file}"],
        "display_name": options.display_name, "language": "python", "interrupt_mode": "signal", "env": {},
    }
    for key, value in options.set:
        spec["argv"] += ["--set", "%s=%s" % (key, json.dumps(value))]
    if options.rich:
        spec["argv"].append("--rich")
    if options.folder:
        spec["argv"] += ["--folder", options.folder]
    if chosen and os.environ.get("PYEXEC_ENV_ROOT"):        # Jupyter may start without this variable
        spec["env"]["PYEXEC_ENV_ROOT"] = os.environ["PYEXEC_ENV_ROOT"]
    if options.program:
        spec["env"]["PYEXEC"] = os.path.abspath(options.program)
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "kernel.json"), "w") as file:
            json.dump(spec, file, indent=1)
        prefix = sys.prefix if options.sys_prefix else options.prefix
        where = KernelSpecManager().install_kernel_spec(folder, options.name, user=options.user, prefix=prefix)
    print("installed the kernel '%s' in %s" % (options.name, where))
    try_it(options)


def launch(options: argparse.Namespace, rest: list[str]) -> None:
    from ipykernel.kernelapp import IPKernelApp

    from .kernel import PyexecKernel
    PyexecKernel.settings = policy_of({**json.loads(os.environ.get(POLICY_VARIABLE) or "{}"), **dict(options.set)})
    PyexecKernel.rich = options.rich
    PyexecKernel.folder = options.folder
    IPKernelApp.launch_instance(argv=rest, kernel_class=PyexecKernel)


def main(arguments: Optional[list[str]] = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pyexec.jupyter", description="The pyexec kernel for Jupyter.")
    commands = parser.add_subparsers(dest="command", required=True)
    installer = commands.add_parser("install", help="make the kernelspec")
    place = installer.add_mutually_exclusive_group()
    place.add_argument("--user", action="store_true", help="only for this user")
    place.add_argument("--prefix", help="under PREFIX/share/jupyter/kernels")
    place.add_argument("--sys-prefix", action="store_true", help="for this environment's Jupyter")
    installer.add_argument("--name", help="of the kernel, as in --kernel NAME; default: pyexec, or pyexec-ENVIRONMENT")
    installer.add_argument("--display-name", help="default: Python (pyexec), with the environment's name")
    installer.add_argument("--environment", metavar="NAME", help="the environment with the packages of notebooks, as `pyexec env list` names it")
    installer.add_argument("--program", help="the path of pyexec; else $PYEXEC or PATH, when a notebook starts")
    launcher = commands.add_parser("launch", help="run as the kernel; Jupyter calls this")
    for command in (installer, launcher):
        command.add_argument("--set", action="append", default=[], type=setting, metavar="KEY=VALUE",
                             help="a key of the policy, as in --set timeout_ms=60000; the value is JSON or text")
        command.add_argument("--folder", type=folder, metavar="DIR",
                             help="a folder of yours to work in: cells read and write its files, which stay")
        command.add_argument("--rich", action="store_true",
                             help="show HTML, SVG and JavaScript too, which run in Jupyter's own page with its user's rights")
    options, rest = parser.parse_known_args(arguments)
    if options.command == "launch":
        launch(options, rest)
    elif rest:
        parser.error("unknown: " + " ".join(rest))
    else:
        install(options)


if __name__ == "__main__":
    main()
