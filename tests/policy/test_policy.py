"""The policy: every field in each form, bad values are refused, and where a value comes from."""
import json
import os
import subprocess

import pytest

from conftest import ROOT

MIB, GIB = 1 << 20, 1 << 30
DEFAULT_IMPORTS = ("math statistics random re json itertools functools collections decimal fractions string textwrap "
                   "heapq bisect array base64 hashlib hmac uuid time datetime socket traceback").split()
DEFAULT_BANNED = "os sys subprocess pathlib shutil multiprocessing ctypes resource inspect builtins pickle".split()
DEFAULTS = {
    "environment": "", "allowed_environments": [],
    "timeout_ms": 5000, "cpu_time_seconds": 2, "address_space_bytes": 512 * MIB, "max_open_files": 16,
    "max_stdout_bytes": 1000000, "max_stderr_bytes": 256000, "max_value_bytes": 65536,
    "max_displays": 100, "max_display_bytes": 8 * MIB,
    "disable_networking": True, "allowed_hosts": [], "disable_open": True, "allow_readonly_open": False,
    "use_import_whitelist": True, "allowed_imports": DEFAULT_IMPORTS, "banned_imports": DEFAULT_BANNED,
    "block_dunder_imports": True, "print_last_expression": True, "isolate_site": True,
    "preload_imports": [], "workspace_bytes": 64 * MIB, "max_threads": 16,
    "max_tool_calls": 1000, "tool_timeout_ms": None, "forkable": False,
    "auto_checkpoint": False, "max_checkpoints": 4,
}

# Field: accepted texts with their values, then texts that are refused.
FIELDS = {
    "python_bin": ({"python3": "python3", "/opt/my python": "/opt/my python"}, [""]),
    "environment": ({"": ""}, ["Data", "../data", "a b", "-x", "a/b", ".a", "x" * 65]),
    "allowed_environments": ({"": [], "*": ["*"], "data,ml-2": ["data", "ml-2"]}, ["Data", "a b", "a,,b", "../a"]),
    "timeout": ({"1ms": 1, "1500ms": 1500, "5s": 5000, "2m": 120000, "24h": 86400000, "86400s": 86400000},
                ["0ms", "0", "86401", "25h", "86400001ms", "-5s", "1.5s", "5 s", "5d", "s", "", "soon", "none", "5s5s", "+5s",
                 "99999999999999999999s", "0x5s"]),
    "cpu_time_seconds": ({"1": 1, "86400": 86400, "none": None},
                         ["0", "86401", "-1", "1.5", "2s", "", "two", "1e3", "99999999999999999999"]),
    "address_space_bytes": ({"64M": 64 * MIB, "64MB": 64 * MIB, "64MiB": 64 * MIB, "67108864": 64 * MIB, "65536K": 64 * MIB,
                             "1G": GIB, "1GB": GIB, "1GiB": GIB, "none": None},
                            ["67108863", "63M", "0", "-1", "0.5G", "12Q", "1T", "64Mi", "64KK", "64 M", "", "M",
                             "9999999999999999999G"]),
    "max_open_files": ({"0": 0, "4096": 4096, "none": None}, ["-1", "4097", "1.0", "1K", ""]),
    "max_stdout_bytes": ({"0": 0, "256M": 256 * MIB, "1K": 1024, "7": 7, "7B": 7}, ["-1", "268435457", "1G", "none", "", "lots"]),
    "max_stderr_bytes": ({"0": 0, "256MiB": 256 * MIB, "1KB": 1024}, ["-1", "268435457", "1G", "none", ""]),
    "max_value_bytes": ({"0": 0, "16M": 16 * MIB, "1KiB": 1024}, ["-1", "16777217", "17M", "none", ""]),
    "max_displays": ({"0": 0, "1000": 1000}, ["-1", "1001", "none", "1.5", ""]),
    "max_display_bytes": ({"0": 0, "64M": 64 * MIB, "1KiB": 1024}, ["-1", "67108865", "65M", "none", ""]),
    "workspace_bytes": ({"0": 0, "64G": 64 * GIB, "68719476736": 64 * GIB}, ["-1", "65G", "68719476737", "none", ""]),
    "max_threads": ({"1": 1, "256": 256}, ["0", "257", "-1", "none", "1.5", ""]),
    "max_checkpoints": ({"1": 1, "64": 64}, ["0", "65", "-1", "none", "1.5", ""]),
    "max_tool_calls": ({"0": 0, "1000000": 1000000}, ["1000001", "-1", "none", "1.5", ""]),
    "tool_timeout": ({"1ms": 1, "720h": 2592000000, "none": None}, ["0ms", "721h", "-1s", "soon", ""]),
    "allowed_imports": ({"": [], "csv": ["csv"], "csv,json": ["csv", "json"], "csv,csv": ["csv"], "größe,_x": ["größe", "_x"]},
                        ["a b", "a.b", "a-b", "1a", "a,,b", "a,", "__x__"]),
    "banned_imports": ({"": [], "csv": ["csv"], "a,b": ["a", "b"]}, ["a b", "a.b", "a/b"]),
    "allowed_hosts": ({"": [], "a.example": ["a.example"], "A.Example.": ["a.example"], "a.example:443": ["a.example"], "a.example.:8443": ["a.example:8443"],
                       "*.a.example": ["*.a.example"], "*.A.example:80": ["*.a.example:80"], "xn--mnchen-3ya.de": ["xn--mnchen-3ya.de"], "a_b.example": ["a_b.example"],
                       "b.example, a.example,B.EXAMPLE": ["b.example", "a.example"], "localhost": ["localhost"], "%s.example" % ("a" * 63): ["%s.example" % ("a" * 63)]},
                      ["https://a.example", "a.example/x", "a.example:0", "a.example:65536", "a.example:", "a.example:08", "a.example:http", ":443", "*", "*.", "*.com",
                       "a.*.example", "*a.example", "**.a.example", "*.*.example", "1.2.3.4", "127.1", "0x7f000001", "2130706433", "a.1", "[::1]", "[::1]:443", "::1", "fe80::1%lo",
                       "a..example", ".a.example", "-a.example", "a-.example", "münchen.de", "a b.example", "user@a.example", "%s.example" % ("a" * 64),
                       ".".join(["a" * 60] * 5), ",a.example"]),
    "preload_imports": ({"": [], "json": ["json"], "json,os.path": ["json", "os.path"]}, ["a b", "../x", "a..b"]),
    **{name: ({"true": True, "false": False}, ["yes!", "maybe", "2", "none", ""])
       for name in ("disable_networking", "disable_open", "use_import_whitelist", "block_dunder_imports",
                    "print_last_expression", "isolate_site", "forkable", "auto_checkpoint")},
    "allow_readonly_open": ({"false": False}, ["yes!", "maybe", "2", "none", ""]),
}
GOOD = [(name, text, value) for name, (good, _) in FIELDS.items() for text, value in good.items()]
BAD = [(name, text) for name, (_, bad) in FIELDS.items() for text in bad]


def key_of(name):
    return {"timeout": "timeout_ms", "tool_timeout": "tool_timeout_ms"}.get(name, name)


def flag_of(name):
    return "--" + name.replace("_", "-")


def policy(program, *flags, env=None):
    """Returns the effective policy. The interpreter is that of the tests, unless the test sets one."""
    done = program.run("policy", *flags, env=dict(os.environ, **(env or {})))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal(program, *flags, env=None):
    done = program.run("policy", *flags, env=dict(os.environ, **(env or {})))
    assert done.returncode == 125 and done.stdout == b"", done
    return done.stderr.decode()


@pytest.fixture
def configuration(open_folder):
    """Writes a configuration file and gives the flags that name it."""
    def write(text):
        path = open_folder / "pyexec.conf"
        path.write_text(text)
        os.chmod(path, 0o644)
        return ["--config", str(path)]
    return write


# Fields and their values

def test_fields_and_defaults_are_the_contracts(own):
    found = policy(own)
    found.pop("python_bin")
    assert {k: set(v) if isinstance(v, list) else v for k, v in found.items()} == \
        {k: set(v) if isinstance(v, list) else v for k, v in DEFAULTS.items()}


def test_the_default_interpreter_is_python3(own):
    environment = {k: v for k, v in os.environ.items() if k != "PYEXEC_POLICY_PYTHON_BIN"}
    done = subprocess.run([own.path, "policy"], env=environment, stdout=subprocess.PIPE, check=True)
    assert json.loads(done.stdout)["python_bin"] == "python3"


@pytest.mark.parametrize("name, text, value", GOOD)
def test_good_values_by_flag(own, name, text, value):
    assert policy(own, "%s=%s" % (flag_of(name), text))[key_of(name)] == value


@pytest.mark.parametrize("name", FIELDS)
def test_good_values_by_file_and_environment(own, configuration, name):
    for text, value in FIELDS[name][0].items():
        if name != "python_bin":        # the environment of the tests sets it
            assert policy(own, *configuration("[policy]\n%s = %s\n" % (name, text)))[key_of(name)] == value, text
        assert policy(own, env={"PYEXEC_POLICY_" + name.upper(): text})[key_of(name)] == value, text


@pytest.mark.parametrize("name, text", BAD)
def test_bad_values_by_flag(own, name, text):
    message = refusal(own, "%s=%s" % (flag_of(name), text))
    assert name in message and "accepted" in message and "hint:" in message, message
    assert len(text) > 20 or "'%s'" % text in message or text.split(",")[0] in message, message


@pytest.mark.parametrize("name", FIELDS)
def test_bad_values_by_file_and_environment(own, configuration, name):
    for text in FIELDS[name][1]:
        message = refusal(own, *configuration("[policy]\n\n%s = %s\n" % (name, text)))
        assert name in message and "accepted" in message, message
        assert text == "__x__" or "pyexec.conf" in message and "line 3" in message, message
        message = refusal(own, env={"PYEXEC_POLICY_" + name.upper(): text})
        assert name in message and "accepted" in message, message


@pytest.mark.parametrize("name, text", [("timeout", "0ms"), ("cpu_time_seconds", "0"), ("address_space_bytes", "1M"),
                                        ("max_threads", "257"), ("disable_open", "maybe"), ("allowed_imports", "a.b"),
                                        ("workspace_bytes", "65G")])
def test_a_run_with_a_bad_value_is_invalid_policy(pyexec, name, text):
    error = pyexec.error("1", "%s=%s" % (flag_of(name), text))
    assert set(error) == {"code", "message", "hint"} and error["code"] == "invalid_policy"
    assert name in error["message"] and text in error["message"] and "accepted" in error["message"] and error["hint"]


# Names

@pytest.mark.parametrize("flag, near", [("--timeuot", "--timeout"), ("--alow-import", "--allow-import"),
                                        ("--max-thread", "--max-threads"), ("--no-isolate-sight", "--no-isolate-site"),
                                        ("--Timeout", "--timeout"), ("--maxopen-files", "--max-open-files"),
                                        ("--cpu-time", "--cpu-time-seconds"), ("--file-s", "--files"), ("--netwrk", "--network")])
@pytest.mark.parametrize("command", [["run", "-c", "1"], ["policy"]])
def test_misspelt_flag_names_the_nearest(own, command, flag, near):
    done = own.run(*command, flag, "1")
    assert done.returncode == 125 and done.stdout == b""
    assert near + "?" in done.stderr.decode() and flag in done.stderr.decode()


@pytest.mark.parametrize("name, near", [("timeuot", "timeout"), ("max_thread", "max_threads"), ("MAX_THREADS_", "max_threads"),
                                        ("cpu_time_second", "cpu_time_seconds"), ("alowed_imports", "allowed_imports")])
def test_misspelt_key_names_the_nearest(own, configuration, name, near):
    message = refusal(own, *configuration("[policy]\n%s = 1\n" % name))
    assert "line 2" in message and near in message.split("hint:")[1] and name in message, message
    message = refusal(own, env={"PYEXEC_POLICY_" + name.upper(): "1"})
    assert "PYEXEC_POLICY_" + name.upper() in message and near in message.split("hint:")[1], message


def test_a_name_like_no_other_is_refused_too(own, configuration):
    assert "zzzzzzzzzz" in refusal(own, "--zzzzzzzzzz")
    assert "zzzzzzzzzz" in refusal(own, *configuration("[policy]\nzzzzzzzzzz = 1\n"))
    assert "ZZZZZZZZZZ" in refusal(own, env={"PYEXEC_POLICY_ZZZZZZZZZZ": "1"})


# Flags

@pytest.mark.parametrize("flags, expected", [
    (["--timeout", "3s"], {"timeout_ms": 3000}), (["--timeout=3s"], {"timeout_ms": 3000}),
    (["--timeout", "3s", "--timeout=4s"], {"timeout_ms": 4000}),
    (["--timeout", "5"], {"timeout_ms": 5000}), (["--timeout-ms", "5"], {"timeout_ms": 5}),
    (["--disable-open"], {"disable_open": True}), (["--no-disable-open"], {"disable_open": False}),
    (["--disable-open=false"], {"disable_open": False}),
    (["--no-disable-open", "--allow-readonly-open"], {"disable_open": False, "allow_readonly_open": True}),
    (["--allow-readonly-open", "--no-disable-open"], {"disable_open": False, "allow_readonly_open": True}),
    (["--no-disable-networking"], {"disable_networking": False}),
    (["--no-use-import-whitelist"], {"use_import_whitelist": False, "banned_imports": DEFAULT_BANNED}),
    (["--no-block-dunder-imports"], {"block_dunder_imports": False}),
    (["--no-print-last-expression"], {"print_last_expression": False}), (["--no-isolate-site"], {"isolate_site": False}),
    (["--files", "none"], {"disable_open": True, "allow_readonly_open": False}),
    (["--files", "read"], {"disable_open": False, "allow_readonly_open": True}),
    (["--files=full"], {"disable_open": False, "allow_readonly_open": False}),
    (["--files=full", "--files=none"], {"disable_open": True, "allow_readonly_open": False}),
    (["--network"], {"disable_networking": False}), (["--network", "--no-network"], {"disable_networking": True}),
    (["--allow-host", "a.example", "--allow-host=*.b.example:8443,c.example"], {"allowed_hosts": ["a.example", "*.b.example:8443", "c.example"]}),
    (["--allowed-hosts", "a.example", "--allow-host", "A.example:443"], {"allowed_hosts": ["a.example"]}),
    (["--any-import"], {"use_import_whitelist": False, "banned_imports": [], "block_dunder_imports": True}),
    (["--allow-import", "csv,io"], {"allowed_imports": DEFAULT_IMPORTS + ["csv", "io"]}),
    (["--allow-import", "csv", "--allow-import=io"], {"allowed_imports": DEFAULT_IMPORTS + ["csv", "io"]}),
    (["--allow-import", "json"], {"allowed_imports": DEFAULT_IMPORTS}),
    (["--allowed-imports", "csv", "--allow-import", "io"], {"allowed_imports": ["csv", "io"]}),
    (["--allowed-imports="], {"allowed_imports": []}), (["--allowed-imports", ""], {"allowed_imports": []}),
    (["--allowed-imports", "", "--allow-import", "io"], {"allowed_imports": ["io"]}),
    (["--no-block-dunder-imports", "--allow-import", "__main__"], {"block_dunder_imports": False}),
    (["--any-import", "--allow-import", "__main__"], {"use_import_whitelist": False, "banned_imports": []}),
])
def test_forms_of_flags(own, flags, expected):
    found = policy(own, *flags)
    for key, value in expected.items():
        assert (sorted(found[key]) == sorted(value) if isinstance(value, list) else found[key] is value or found[key] == value), key
    rest = {key: value for key, value in found.items() if key not in expected and key not in ("python_bin", "allowed_imports")}
    assert rest == {key: DEFAULTS[key] for key in rest}


@pytest.mark.parametrize("flags, words", [
    (["--files=maybe"], ["files", "'maybe'", "none", "read", "full"]), (["--files"], ["--files", "value"]),
    (["--files="], ["files", "none"]), (["--network=maybe"], ["network", "'maybe'"]), (["--any-import=2"], ["any-import", "'2'"]),
    (["--no-files"], ["--no-files"]), (["--no-timeout"], ["--no-timeout"]), (["--no-timeout=1s"], ["--no-timeout"]),
    (["--timeout"], ["--timeout", "value"]), (["--no-disable-open=true"], ["--no-disable-open"]),
    (["--disable-open", "false"], ["'false'", "--disable-open=false"]), (["--allow-import", "a.b"], ["allowed_imports", "a.b"]),
    (["--no-allow-import"], ["--no-allow-import"]), (["stray"], ["'stray'"]),
    (["--config"], ["--config", "value"]), (["--config", "/nonexistent/conf"], ["/nonexistent/conf"]),
])
def test_forms_of_flags_that_are_none(own, flags, words):
    message = refusal(own, *flags)
    assert all(word in message for word in words), message


@pytest.mark.parametrize("flags, words", [
    (["--disable-open", "--allow-readonly-open"], ["allow_readonly_open", "disable_open"]),
    (["--allow-readonly-open"], ["allow_readonly_open", "disable_open"]),
    (["--files=read", "--disable-open"], ["allow_readonly_open", "disable_open"]),
    (["--allow-import", "__main__"], ["allowed_imports", "__main__", "block_dunder_imports"]),
    (["--network", "--allow-host", "a.example"], ["allowed_hosts", "disable_networking"]),
    (["--allow-host", "a.example", "--forkable"], ["forkable", "allowed_hosts", "share"]),
    (["--allow-host", "a.example", "--auto-checkpoint"], ["auto_checkpoint", "allowed_hosts", "share"]),
])
def test_contradictions(own, flags, words):
    error = own.error("1", *flags)
    assert error["code"] == "invalid_policy" and error["hint"] and all(word in error["message"] for word in words), error


# Files, environment and flags

def origins(program, *flags, env=None):
    done = program.run("policy", "--origin", *flags, env=dict(os.environ, **(env or {})))
    assert done.returncode == 0, done.stderr
    rows = [line.split(None, 2) for line in done.stdout.decode().splitlines()[1:]]
    return {key: (origin, json.loads(value)) for key, origin, value in rows}


def test_file_environment_and_flags_in_that_order(pyexec, configuration):
    flags = configuration("# comment\n; another\n[policy]\ntimeout = 3s\nmax_threads=3\nallowed_imports = csv, io\n\n[host]\nzygotes = 1\n")
    environment = {"PYEXEC_POLICY_TIMEOUT": "4s", "PYEXEC_POLICY_MAX_OPEN_FILES": "none"}
    assert origins(pyexec, *flags)["timeout_ms"] == ("file", 3000)
    assert origins(pyexec, *flags, env=environment)["timeout_ms"] == ("environment", 4000)
    found = origins(pyexec, *flags, "--timeout", "5s", "--allow-import", "abc", env=environment)
    assert found["timeout_ms"] == ("flag", 5000) and found["max_threads"] == ("file", 3)
    assert found["max_open_files"] == ("environment", None) and found["isolate_site"] == ("default", True)
    assert found["allowed_imports"] == ("flag", ["csv", "io", "abc"])
    assert found["python_bin"] == ("environment", "/usr/bin/python3")
    assert set(found) == {"python_bin", *DEFAULTS}


def test_who_asks_for_names_does_not_want_the_network_of_a_weaker_setting(pyexec, configuration):
    whole = {"PYEXEC_POLICY_DISABLE_NETWORKING": "false"}
    found = origins(pyexec, "--allow-host", "a.example", env=whole)
    assert (found["allowed_hosts"], found["disable_networking"]) == (("flag", ["a.example"]), ("flag", True))
    names = {"PYEXEC_POLICY_ALLOWED_HOSTS": "a.example"}
    found = origins(pyexec, "--network", env=names)
    assert (found["allowed_hosts"], found["disable_networking"]) == (("flag", []), ("flag", False))
    found = origins(pyexec, "--allow-host", "b.example", *configuration("[policy]\ndisable_networking = false\n"), env=names)
    assert (found["allowed_hosts"], found["disable_networking"]) == (("flag", ["a.example", "b.example"]), ("environment", True))


def test_a_bad_host_is_refused_with_its_reason(own):
    for text, words in (("https://a.example/x", "without https://"), ("10.0.0.1", "IP address"), ("*.com", "at least two labels"), ("é.example", "punycode"),
                        ("a.example:0", "from 1 to 65535"), ("a..example", "empty label")):
        message = refusal(own, "--allow-host", text)
        assert "allowed_hosts" in message and text in message and words in message and "api.example.com" in message, message
    assert "more than 256" in refusal(own, "--allow-host", ",".join("a%d.example" % i for i in range(257)))


def test_origin_of_the_short_flags(own):
    found = origins(own, "--files=read", "--network", "--any-import")
    assert {key for key, (origin, _) in found.items() if origin == "flag"} == \
        {"disable_open", "allow_readonly_open", "disable_networking", "use_import_whitelist", "banned_imports"}


def test_a_later_source_does_not_forgive_a_bad_earlier_one(own, configuration):
    assert "timeout" in refusal(own, *configuration("[policy]\ntimeout = x\n"), "--timeout", "1s")
    assert "timeout" in refusal(own, "--timeout", "1s", env={"PYEXEC_POLICY_TIMEOUT": "x"})


def test_the_sources_reach_the_run(pyexec, configuration):
    flags = configuration("[policy]\nmax_stdout_bytes = 3\nallowed_imports = csv\n")
    result = pyexec.result("import csv\nprint('12345')", *flags)
    assert result["stdout"] == "123" and result["status"] == "ok"
    environment = dict(os.environ, PYEXEC_POLICY_MAX_STDOUT_BYTES="2")
    assert pyexec.result("print('12345')", *flags, env=environment)["stdout"] == "12"
    assert pyexec.result("print('12345')", *flags, "--max-stdout-bytes=1", env=environment)["stdout"] == "1"
    assert pyexec.result("import json", *flags)["error_repr"].startswith("ImportError: import 'json' not allowed")


@pytest.mark.parametrize("text, word", [("[policy]\ntimeuot = 1s\n", "timeout"), ("[nosuch]\na = 1\n", "nosuch"),
                                        ("[polcy]\ntimeout = 1s\n", "policy"), ("[policy]\ntimeout = x\n", "timeout"),
                                        ("nonsense\n", "1"), ("[policy\n", "1"), ("timeout = 1s\n", "1"),
                                        ("[policy]\ntimeout\n", "2"), ("[host]\nzygote = 1\n", "zygotes"),
                                        ("[session]\nmax_cuont = 1\n", "max_count"), ("[session]\nidle_ttl = 5d\n", "idle_ttl"),
                                        ("[host]\nzygotes = lots\n", "zygotes")])
def test_bad_configuration_names_file_and_line(own, configuration, text, word):
    error = own.error("1", *configuration(text))
    assert error["code"] == "invalid_policy" and "pyexec.conf" in error["message"] and "line" in error["message"]
    assert word in error["message"] + error["hint"]


# The effect of none and other values on a run; test_limits.py tests the limits themselves

def test_none_is_no_limit(pyexec):
    result = pyexec.result("import resource\n[resource.getrlimit(r)[0] for r in (resource.RLIMIT_CPU, resource.RLIMIT_AS)]",
                           "--any-import", "--cpu-time-seconds=none", "--address-space-bytes=none", "--max-open-files=none")
    assert result["last_value_repr"] == "[-1, -1]", result


@pytest.mark.parametrize("code, flags, key, value", [
    ("while True: pass", ["--timeout=50ms"], "status", "timeout"),
    ("print('abc')", ["--max-stdout-bytes=0"], "stdout", ""),
    ("1/0", ["--max-stderr-bytes=0"], "stderr", ""),
    ("'abc'", ["--max-value-bytes=2"], "last_value_repr", "'a"),
    ("'abc'", ["--max-value-bytes=0"], "last_value_truncated", True),
    ("1", ["--no-print-last-expression"], "last_value_repr", None),
    ("import sys\nsys.flags.isolated, sys.flags.no_site", ["--any-import"], "last_value_repr", "(1, 1)"),
    ("import sys\nsys.flags.no_site", ["--any-import", "--no-isolate-site"], "last_value_repr", "0"),
    ("import csv\ncsv", ["--preload-imports=csv"], "status", "error"),
    ("import sys\n'csv' in sys.modules", ["--any-import", "--preload-imports=csv"], "last_value_repr", "True"),
    ("open('a', 'w').write('x')", ["--files=full", "--workspace-bytes=64K"], "last_value_repr", "1"),
    ("import os\nos.path.basename(os.path.realpath('/proc/self/exe'))[:6]", ["--any-import", "--files=full"], "status", "ok"),
])
def test_fields_reach_the_run(own, code, flags, key, value):
    result = own.result(code, *flags)
    assert result[key] == value, result


@pytest.mark.parametrize("name, words", [("/nonexistent/python", ["/nonexistent/python"]), ("nosuchpython", ["nosuchpython"])])
def test_interpreters_that_are_none(own, name, words):
    error = own.error("1", "--python-bin", name)
    assert error["code"] == "python_not_found" and error["hint"] and all(word in error["message"] for word in words)


@pytest.mark.parametrize("names", ["nosuchthing", "json,nosuchthing", "json.nosuchthing"])
def test_preloads_that_cannot_be_imported(pyexec, names):
    error = pyexec.error("1", "--preload-imports", names)
    assert error["code"] == "invalid_policy" and "preload_imports" in error["message"] and error["hint"]
    assert names.split(",")[-1] in error["message"] and "can't be imported" in error["message"]


def test_address_space_below_what_preloads_map(pyexec, open_folder):
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", "--symlinks", str(open_folder / "v")], check=True)
    site = next((open_folder / "v/lib").iterdir()) / "site-packages"
    (site / "large.py").write_text("import mmap\nkept = mmap.mmap(-1, 200 << 20)\n")
    flags = ["--python-bin", str(open_folder / "v/bin/python"), "--no-isolate-site", "--preload-imports", "large"]
    error = pyexec.error("1", *flags, "--address-space-bytes", "128M")
    assert error["code"] == "invalid_policy" and "address_space_bytes" in error["message"] and "134217728" in error["message"]
    needed = max(int(word) for word in error["message"].split() if word.isdigit())
    assert 200 * MIB < needed < 300 * MIB and str(needed) in error["hint"]
    assert pyexec.error("1", *flags, "--address-space-bytes", str(needed - 3 * MIB))["code"] == "invalid_policy"
    assert pyexec.result("1 + 1", *flags, "--address-space-bytes", str(needed))["last_value_repr"] == "2"
    assert pyexec.result("1 + 1", *flags)["last_value_repr"] == "2"


@pytest.mark.parametrize("path, arguments", [("docs/configuration.md", ["policy", "--markdown"]),
                                             ("packaging/pyexec.conf", ["policy", "--config-template"])])
def test_generated_files_are_up_to_date(own, path, arguments):
    with open(os.path.join(ROOT, path), "rb") as file:
        assert file.read() == own.run(*arguments).stdout, "run `make docs`"


# The configuration file that is read without being named

@pytest.fixture
def with_etc(own, tmp_path):
    """Runs the program in its own mount namespace, in which /etc/pyexec/pyexec.conf has this text."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine gives no mount namespace")

    def run(text, *arguments, env=None):
        etc = tmp_path / "etc"
        (etc / "pyexec").mkdir(parents=True, exist_ok=True)
        if text is not None:
            (etc / "pyexec/pyexec.conf").write_text(text)
        return subprocess.run(["unshare", "-rm", "sh", "-c", 'mount --bind "$0" /etc && exec "$@"', str(etc), own.path, *arguments],
                              capture_output=True, text=True, env=dict(os.environ, **(env or {})))
    return run


def test_the_default_configuration_file_is_read_when_it_exists(with_etc, tmp_path):
    assert json.loads(with_etc(None, "policy").stdout)["timeout_ms"] == 5000
    text = "[policy]\ntimeout = 7s\nmax_threads = 3\nmax_open_files = 9\n"
    done = with_etc(text, "policy", "--max-open-files", "11", env={"PYEXEC_POLICY_MAX_THREADS": "4"})
    assert done.returncode == 0, done.stderr
    policy = json.loads(done.stdout)
    assert (policy["timeout_ms"], policy["max_threads"], policy["max_open_files"]) == (7000, 4, 11)
    origin = next(line.split() for line in with_etc(text, "policy", "--origin").stdout.splitlines() if line.startswith("timeout"))
    assert origin[1] != "default" and origin[-1] == "7000"
    other = tmp_path / "other.conf"
    other.write_text("[policy]\nmax_threads = 5\n")
    policy = json.loads(with_etc(text, "policy", "--config", str(other)).stdout)
    assert (policy["timeout_ms"], policy["max_threads"]) == (5000, 5)


def test_a_bad_default_configuration_file_is_named(with_etc):
    for command in (["policy"], ["run", "-c", "1"], ["repl"]):
        done = with_etc("[policy]\ntimeuot = 7s\n", *command)
        assert done.returncode == 125 and "/etc/pyexec/pyexec.conf" in done.stdout + done.stderr and "line 2" in done.stderr + done.stdout, (command, done)
