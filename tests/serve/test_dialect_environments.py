# SPDX-License-Identifier: Apache-2.0
"""Environments for the clients of other servers' dialects: E2B's templates, and the defaults of a server or token for Dify and
SandboxFusion, whose requests can't name one."""
import os

import pytest

import stores
from dialect_clients import dialect_client  # noqa: F401
from serving import serving, token_line

DIALECTS = ["--e2b", "--dify-sandbox", "--sandbox-fusion"]
TALLY, LEARNER = "import tally\nprint(tally.total(1, 2, 3))", "import learner\nprint(learner.DEPTH)"


@pytest.fixture(scope="module")
def store(_copy):
    store = stores.HandMadeStore(os.path.join(_copy, "environments-of-dialects"))
    store.add("data", {"tally": "def total(*numbers): return sum(numbers)\n"}, packages=[{"name": "tally", "version": "2.5"}])
    store.add("ml", {"learner": "DEPTH = 3\n"}, packages=[{"name": "learner", "version": "0.1"}])
    return store


@pytest.fixture(scope="module")
def server(own, store):
    """The server's environment is data. Bob's token names another one, and carla may choose both."""
    tokens = [token_line("alice", "alice"), token_line("bob", "bob", "environment=ml"), token_line("carla", "carla", "environment=", "allowed_environments=data,ml"),
              token_line("dora", "dora", "environment=", "allowed_environments=data")]
    with serving(own, *DIALECTS, "--files", "full", "--environment", "data", "--allowed-environments", "ml", tcp=True, tokens=tokens, env=store.settings()) as running:
        yield running


@pytest.mark.parametrize("key, code, printed, packages", [
    ("alice", TALLY, "6\n", [{"name": "tally", "version": "2.5"}]), ("bob", LEARNER, "3\n", [{"name": "learner", "version": "0.1"}]),
    ("carla", "print(4)", "4\n", [])])
def test_dify_has_the_environment_of_the_server_or_token_and_lists_its_packages(server, dialect_client, key, code, printed, packages):  # noqa: F811
    seen = dialect_client("dify_client.py", {"url": "http://" + server.tcp, "key": key, "code": code})
    assert seen["ran"] == "nothing: " + printed
    assert seen["dependencies"] == [200, {"code": 0, "message": "success", "data": {"dependencies": packages}}]


@pytest.mark.parametrize("key, code", [("alice", LEARNER), ("bob", TALLY), ("carla", TALLY)])
def test_dify_has_no_other_environment(server, dialect_client, key, code):  # noqa: F811
    seen = dialect_client("dify_client.py", {"url": "http://" + server.tcp, "key": key, "code": code})
    assert "exited with code 1" in seen["ran"] and "ImportError" in seen["ran"], seen


@pytest.mark.parametrize("key, codes, printed", [("alice", [TALLY, LEARNER], "6\n"), ("bob", [LEARNER, TALLY], "3\n")])
def test_sandbox_fusion_has_the_environment_of_the_server_or_token(server, dialect_client, key, codes, printed):  # noqa: F811
    seen = dialect_client("fusion_client.py", {"url": "http://any:%s@%s" % (key, server.tcp), "codes": codes, "stdout": printed})
    works, fails = seen["ran"]
    assert (works["return_code"], works["stdout"]) == (0, printed), works
    assert fails["return_code"] == 1 and "ImportError" in fails["stderr"], fails
    assert seen["submitted"] is True


def test_templates_of_the_e2b_sdk_are_environments(server, dialect_client):  # noqa: F811
    def seen(key, code):
        return dialect_client("e2b_client.py", {"url": "http://" + server.tcp, "api_key": key, "only": "templates", "code": code,
                                                "templates": ["data", "ml", "code-interpreter-v1"]})["templates"]
    carla = seen("carla", LEARNER)
    assert [told["stdout"] for told in carla["ml"][:2]] == ["3\n", "3\n"] and carla["ml"][2] == [0, "3\n", ""], carla["ml"]
    for template in ("data", "code-interpreter-v1"):
        assert all(told["error"][0] == "ImportError" for told in carla[template][:2]) and carla[template][2][0] == 1, carla[template]
    dora = seen("dora", LEARNER)     # may not choose it
    assert all(told["error"][0] == "ImportError" for told in dora["ml"][:2]), dora["ml"]
    alice = seen("alice", TALLY)     # the server's own environment, where a template names none
    assert [alice[template][0]["stdout"] for template in ("data", "ml", "code-interpreter-v1")] == ["6\n", "", "6\n"], alice
