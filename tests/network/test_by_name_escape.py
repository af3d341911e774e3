# SPDX-License-Identifier: Apache-2.0
"""Every attempt of tests/escape in a run with allowed_hosts: it has another network, another filter, and the proxy's socket within reach. With
and without the guard, as root and as an ordinary user."""
import os

import pytest

from conftest import BUILD
from test_escape import CASES, bait, check_expectation, check_facts, native, read, victim  # noqa: F401 (fixtures)

pytestmark = pytest.mark.skipif(not os.path.exists(os.path.join(BUILD, "pyexec-egress")), reason="the build has no pyexec-egress")
HOST_ONLY = "host-only-value-3128"


@pytest.mark.parametrize("name", CASES)
def test_attempt_in_a_run_by_name(any_pyexec, bait, victim, native, name, nothing_left):  # noqa: F811
    head, code = read(name)
    own = [flag for flag in head.get("flags", "").split() if flag != "--network"]   # it can't be together with allowed_hosts
    flags = ["--any-import", "--files", "full", "--allow-host", "a.example,*.b.example:8443", *own]
    for key, value in {**bait, "HOST_PID": str(victim.pid)}.items():
        flags += ["--env", "%s=%s" % (key, value)]
    if "native" in head:
        flags += ["--file", native[head["native"]]]
    result = any_pyexec.result(code, *flags, input=head.get("stdin", ""), env=dict(os.environ, HOST_ONLY=HOST_ONLY))
    check_facts(result)
    check_expectation(head, result, HOST_ONLY)
