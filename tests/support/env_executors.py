# SPDX-License-Identifier: Apache-2.0
"""Executors that use a store of environments, and runs in them."""
import os

from library import Executor


def start(program, store, **keywords):
    """Starts an executor as the user of the program."""
    if program.uid != os.getuid():
        keywords.update(user=program.uid, group=program.uid, extra_groups=[])
    host = {"zygotes": 1, **keywords.pop("host", {})}
    return Executor(program=program.path, host=host, cwd="/", environments={"root": store.root}, **keywords)


def run(executor, name, code, session=None, **more):
    return executor.call(session, code, **{"session_policy" if session else "policy": {"environment": name}}, **more)["last_value_repr"]
