# SPDX-License-Identifier: Apache-2.0
"""Every attempt of tests/escape and every script of the corpus, each in a new branch of one source: with and without the guard, as root and as
an ordinary user. The process to signal is here a sibling, in the branch's own PID namespace, and not a process of the host."""
import base64
import concurrent.futures
import contextlib
import importlib.util
import os
import threading

import pytest

from conftest import USERS, new_traces, traces
from library import Failure
from test_branches import OPEN, started, value
from test_escape import CASES, bait, check_expectation, check_facts, native, read  # noqa: F401 (fixtures)
from test_real_input import corpus  # noqa: F401 (a fixture)
from waiting import wait_until

# Scripts that use up a limit, and so take seconds. The kernel's layers end them, so they run without the guard and as the first user;
# PYEXEC_NIGHTLY=1 runs them in all ways (make nightly).
SLOW = ("cpu", "crs_03", "crs_19", "fkb", "mem", "out", "res", "sig_07", "tim", "wal")
HOST_ONLY = "host-only-value-0815"
SECONDS = {"m": 60_000, "s": 1000, "ms": 1}
FILES = {"none": {}, "read": {"disable_open": False, "allow_readonly_open": True}, "full": {"disable_open": False, "allow_readonly_open": False}}


class Sources:
    """One executor, with a source for each policy that the attempts need, and a sibling that lives as long as they do."""

    def __init__(self, program):
        self.executor = started(program, session={"max_count": 0}, host={"pool_size": 0}, env={**os.environ, "HOST_ONLY": HOST_ONLY})
        self.policies, self.number, self.lock = [], 0, threading.Lock()
        self.forks = threading.Lock()       # while a session is forked it is busy

    def source(self, policy):
        with self.lock:
            if policy not in self.policies:
                self.policies.append(policy)
                self.executor.call("source-%d" % (len(self.policies) - 1), "", policy={"forkable": True, **policy})
                self.executor.fork("source-%d" % (len(self.policies) - 1), "sibling-%d" % (len(self.policies) - 1))
            return self.policies.index(policy)

    def run(self, code, policy, request):
        """Makes a branch, executes the code in it as its first call, and returns the result and the id."""
        number = self.source(policy)
        with self.lock:
            self.number += 1
            name = "branch-%d" % self.number
        with self.forks:
            self.executor.fork("source-%d" % number, name)
        try:
            return self.executor.call(name, code, **request), name
        finally:
            with contextlib.suppress(Failure):      # it has ended
                self.executor.close(name)

    def sibling(self, policy):
        return value(self.executor, "sibling-%d" % self.source(policy), "import os\nos.getpid()")

    def check(self):
        """The sources and the siblings are still there, with what they had."""
        for number in range(len(self.policies)):
            for name in ("source-%d", "sibling-%d"):
                result = self.executor.call(name % number, "6 * 7")
                assert result["last_value_repr"] == "42" and not result["session"]["created"], result


@pytest.fixture(scope="module")
def sources(any_pyexec):
    before = traces()
    made = Sources(any_pyexec)
    with made.executor:
        yield made
        made.check()
    wait_until(lambda: not new_traces(before), "something is left")


def bytes_of(text):
    return int(text[:-1]) << 20 if text.endswith("M") else int(text)


def policy_of(flags):
    """The policy that these flags of `pyexec run` stand for."""
    policy, words = {**OPEN, **FILES["full"]}, flags.split()
    while words:
        flag = words.pop(0)
        if flag == "--network":
            policy["disable_networking"] = False
        elif flag == "--files":
            policy.update(disable_open=True), policy.update(FILES[words.pop(0)])
        elif flag == "--timeout":
            text = words.pop(0)
            policy["timeout_ms"] = int(text.rstrip("ms")) * SECONDS[text.lstrip("0123456789")]
        else:
            policy[flag[2:].replace("-", "_")] = bytes_of(words.pop(0))
    return policy


@pytest.mark.parametrize("name", CASES)
def test_attempt_in_a_branch(sources, bait, native, name):  # noqa: F811
    head, code = read(name)
    policy = policy_of(head.get("flags", ""))
    request = {"stdin": head["stdin"]} if "stdin" in head else {}
    if "native" in head:
        with open(native[head["native"]], "rb") as file:
            request["files"] = {head["native"]: {"base64": base64.b64encode(file.read()).decode()}}
    env = {**bait, "HOST_PID": str(sources.sibling({**OPEN, **FILES["full"]} if "flags" not in head else policy))}
    result, session = sources.run(code, policy, {"env": env, **request})
    check_facts(result, session)
    check_expectation(head, result, HOST_ONLY)


def test_corpus_in_branches(sources, corpus, request):  # noqa: F811
    """Several branches run at the same time, as those of a search do."""
    spec = importlib.util.spec_from_file_location("run_corpus", corpus.parent / "run_corpus.py")
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    failures = []

    def attempt(path):
        head = runner.header(path)
        given = head["policy"]
        policy = {"address_space_bytes": given["memory_mb"] << 20, **FILES[given["files"]],
                  **({key: OPEN[key] for key in ("use_import_whitelist", "banned_imports")} if given["imports"] == "any" else {})}
        request = {"policy": {"timeout_ms": given["timeout_ms"], "cpu_time_seconds": given["cpu_seconds"]}, "env": given.get("env", {})}
        outputs = []
        for _ in range(2 if head.get("twice") == "differs" else 1):
            result, _ = sources.run(path.read_text(), policy, request)
            outputs.append(result["stdout"])
            why = runner.judge(head, result)
            if why:
                failures.append("%s: %s" % (path.name, why))
        if len(outputs) == 2 and outputs[0] == outputs[1]:
            failures.append(path.name + ": two runs gave the same output")

    slow = request.node.callspec.params["any_pyexec"] == USERS[0] + "-unguarded" or "PYEXEC_NIGHTLY" in os.environ
    paths = [path for path in sorted(corpus.glob("*.py")) if slow or not path.name.startswith(SLOW)]
    assert len(paths) > 100
    with runner.Fixtures(), concurrent.futures.ThreadPoolExecutor(4) as pool:
        before = set(runner.host_residue())
        list(pool.map(attempt, paths))
        assert failures == []
        wait_until(lambda: not set(runner.host_residue()) - before, "something is left on the host")
