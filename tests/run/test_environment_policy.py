# SPDX-License-Identifier: Apache-2.0
"""The policy field `environment`: its interpreter, modules, limits and preloads, and what contradicts it. The environments are made
by hand (tests/support/stores.py)."""
import os

import pytest
import stores

MIB = 1 << 20
TALLY = "import os\nNAME = 'tally'\ndef total(*numbers):\n    return sum(numbers)\n"
HUNGRY = "held = bytearray(700 << 20)\n"


@pytest.fixture(scope="module")
def store(_copy):
    store = stores.HandMadeStore(os.path.join(_copy, "environments"))
    store.add("data", {"tally": TALLY, "words": "COUNT = 3\n"})
    store.add("large", {"hungry": HUNGRY}, {"address_space_bytes": 1500 * MIB, "max_threads": 40, "timeout_ms": 30000})
    store.add("warm", {"slow": "import time\nBORN = time.monotonic()\n"}, preload=["slow"])
    return store


def environment(store, **more):
    return {**os.environ, **store.settings(), **more}


def result(pyexec, store, code, *flags, **more):
    return pyexec.result(code, *flags, env=environment(store, **more))


def error(pyexec, store, code, *flags, **more):
    return pyexec.error(code, *flags, env=environment(store, **more))


def test_a_script_imports_what_its_environment_has(pyexec, store):
    got = result(pyexec, store, "import tally, math\ntally.total(1, 2, math.floor(3.5))", "--environment", "data")
    assert got["status"] == "ok" and got["last_value_repr"] == "6", got


def test_its_short_name_and_the_variable_of_the_configuration(pyexec, store):
    assert result(pyexec, store, "import words; words.COUNT", "--venv=data")["last_value_repr"] == "3"
    got = result(pyexec, store, "import words; words.COUNT", PYEXEC_POLICY_ENVIRONMENT="data", PYEXEC_POLICY_PYTHON_BIN="python3")
    assert got["last_value_repr"] == "3", got


def test_its_modules_are_added_to_the_whitelist_and_nothing_else(pyexec, store):
    got = result(pyexec, store, "import os", "--environment", "data")
    assert got["status"] == "error" and "'os' not allowed" in got["error"]["message"]
    got = result(pyexec, store, "import tally; tally.os.getcwd", "--environment", "data")
    assert got["status"] == "ok"       # a module may import what it needs, as every allowed module may
    got = result(pyexec, store, "import tally", "--environment", "data", "--allowed-imports", "")
    assert got["status"] == "ok"


def test_banned_imports_stay_banned(pyexec, store):
    flags = ("--environment", "data", "--no-use-import-whitelist", "--banned-imports", "words")
    assert result(pyexec, store, "import tally", *flags)["status"] == "ok"
    assert "'words' banned" in result(pyexec, store, "import words", *flags)["error"]["message"]


def test_without_an_environment_its_modules_are_not_there(pyexec, store):
    assert result(pyexec, store, "import tally", "--allow-import", "tally")["error"]["type"] == "ModuleNotFoundError"


def test_its_limits_are_defaults(pyexec, store):
    got = result(pyexec, store, "import hungry; len(hungry.held)", "--environment", "large")
    assert got["last_value_repr"] == str(700 * MIB), got
    policy = pyexec.json("policy", "--environment", "large", env=environment(store))
    assert (policy["address_space_bytes"], policy["max_threads"], policy["timeout_ms"]) == (1500 * MIB, 40, 30000)
    assert policy["cpu_time_seconds"] == 2


def test_a_value_that_was_given_wins_over_its_limits(pyexec, store):
    policy = pyexec.json("policy", "--environment", "large", "--timeout", "7s", "--max-threads", "64", env=environment(store))
    assert (policy["timeout_ms"], policy["max_threads"]) == (7000, 64)
    got = result(pyexec, store, "import hungry", "--environment", "large", "--address-space-bytes", "512M")
    assert got["status"] == "memory_limit" or got["status"] == "error", got
    assert "environment 'large' need address_space_bytes" in got["error"]["hint"] and str(1500 * MIB) in got["error"]["hint"], got["error"]


def test_limits_that_are_already_higher_stay(pyexec, store):
    policy = pyexec.json("policy", "--environment", "large", "--address-space-bytes", "none", env=environment(store))
    assert policy["address_space_bytes"] is None


def test_its_preloads_are_imported_once_for_all_runs(pyexec, store):
    code = "import slow\nprint(slow.BORN)"
    for flags in ((), ("--preload-imports", "json")):
        got = result(pyexec, store, "import slow, time\nslow.BORN", "--environment", "warm", *flags)
        assert got["status"] == "ok", (code, got)


def test_python_bin_and_environment_together_are_refused(pyexec, store):
    got = error(pyexec, store, "1", "--environment", "data", "--python-bin", "/usr/bin/python3")
    assert got["code"] == "invalid_policy" and "python_bin" in got["message"] and "both given" in got["message"], got
    assert "Leave python_bin out" in got["hint"]


def test_a_flag_replaces_the_interpreter_of_the_variables(pyexec, store):
    got = result(pyexec, store, "import tally", "--environment", "data", PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3")
    assert got["status"] == "ok"
    got = error(pyexec, store, "1", PYEXEC_POLICY_ENVIRONMENT="data", PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3")
    assert "both given" in got["message"]


def test_an_unknown_name_lists_the_names_and_how_to_make_one(pyexec, store):
    got = error(pyexec, store, "1", "--environment", "dota")
    assert got["code"] == "invalid_policy" and "'dota'" in got["message"]
    assert all(name in got["hint"] for name in ("data", "large", "warm")), got["hint"]


@pytest.mark.parametrize("name", ["Data", "../data", "a b", "-x", "x" * 65])
def test_what_is_no_name_is_refused(pyexec, store, name):
    assert "environment can't be" in error(pyexec, store, "1", "--environment=" + name)["message"]


def test_an_interpreter_that_is_gone_is_named(pyexec, store, open_folder):
    own = stores.HandMadeStore(open_folder / "env")
    folder = own.add("data", {"tally": TALLY})
    os.unlink(os.path.join(folder, "venv", "bin", "python3"))
    got = error(pyexec, own, "1", "--environment", "data")
    assert got["code"] == "python_not_found" and "'data'" in got["message"], got
    assert "pyexec env" in got["hint"], got


def test_a_changed_environment_is_used_by_the_next_command_and_the_result_names_it(pyexec, open_folder):
    own = stores.HandMadeStore(open_folder / "env")
    seen = []
    for version in ("1", "2"):
        folder = own.add("data", {"tally": "VERSION = " + version})
        got = result(pyexec, own, "import tally; tally.VERSION", "--environment", "data")
        assert got["last_value_repr"] == version
        assert got["environment"] == {"name": "data", "hash": os.path.basename(folder)}
        seen.append(got["environment"]["hash"])
    assert len(set(seen)) == 2
    own.add("copy", {"tally": "VERSION = 2"})
    assert result(pyexec, own, "1", "--environment", "copy")["environment"]["name"] == "copy"
    assert result(pyexec, own, "1")["environment"] is None


@pytest.mark.parametrize("code, flags", [("import tally\n1 / 0", []), ("while True: pass", ["--timeout=50ms"]), ("import not_there", [])])
def test_the_result_names_the_environment_however_the_run_ended(pyexec, store, code, flags):
    got = result(pyexec, store, code, "--environment", "data", *flags)
    assert got["status"] != "ok" and got["environment"]["name"] == "data", got


def test_a_missing_module_names_the_environments_that_have_it(pyexec, store):
    hint = result(pyexec, store, "import hungry", "--environment", "data", "--any-import")["error"]["hint"]
    assert "'large'" in hint and "environment" in hint, hint
    hint = result(pyexec, store, "import tally", "--allow-import", "tally")["error"]["hint"]
    assert "'data'" in hint, hint
    hint = result(pyexec, store, "import tally")["error"]["hint"]       # not on the whitelist of a run without environment
    assert "'data'" in hint, hint
    hint = result(pyexec, store, "import pandas_of_nobody", "--environment", "data", "--any-import")["error"]["hint"]
    assert "pyexec env update data pandas_of_nobody" in hint, hint
