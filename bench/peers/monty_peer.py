# SPDX-License-Identifier: Apache-2.0
"""Monty (pydantic-monty): an interpreter for a subset of Python, in Rust, in worker processes of a pool. It is not CPython: some modules
and parts of the language are missing, and no package can be installed."""
from . import driver

PACKAGES = ["pydantic-monty==1.4.0"]
WHAT = {"name": "pydantic-monty", "label": "pydantic-monty (a subset)", "mode": "a subset of Python, not CPython; a worker of a pool for each run",
        "isolates": {"processes": "the language can't start any; a worker is a process of the same user",
                     "network": "the language has none", "files": "the language has none but what the caller mounts",
                     "memory": "limited by the interpreter, if set", "cpu": "limited by the interpreter, if set",
                     "kernel": "no: only the interpreter is between code and kernel"}}
LIMITS = {"max_feed_duration_secs": 30.0}


class Peer(driver.Peer):
    def start(self):
        from pydantic_monty import Monty
        self.pool = Monty(min_processes=2, max_processes=200).__enter__()
        self.sessions = {}

    @staticmethod
    def feed(session, code):
        printed = []
        session.feed_run(code, print_callback=lambda stream, text: printed.append(text))
        return "".join(printed)

    def run(self, code):
        with self.pool.checkout(limits=LIMITS) as session:
            return self.feed(session, code)

    def run_packages(self, code):
        raise driver.Cannot("it can't import packages")

    def open(self, name):
        checkout = self.pool.checkout(limits=LIMITS)
        self.sessions[name] = checkout, checkout.__enter__()

    def call(self, name, code):
        return self.feed(self.sessions[name][1], code)

    def close(self, name):
        self.sessions.pop(name)[0].__exit__(None, None, None)

    def stop(self):
        for name in list(self.sessions):
            self.close(name)
        self.pool.__exit__(None, None, None)


def install(place):
    return place.driver("monty_peer", python=place.venv("monty", PACKAGES)), ", ".join(PACKAGES)
