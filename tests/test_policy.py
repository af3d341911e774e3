"""The policy: every field in each form, refused when bad; imports."""
import json
import os

import pytest

MODULES = {
    "math": "math.sqrt(9)", "statistics": "statistics.stdev([1, 2, 3])",
    "random": "0 <= random.random() < 1 and len(random.sample(range(9), 3))",
    "re": "re.findall(r'\\d', 'a1b2')", "json": "json.loads('[1]')",
    "itertools": "list(itertools.chain([1], [2]))", "functools": "functools.reduce(int.__add__, [1, 2])",
    "collections": "collections.Counter('aab')['a'], collections.namedtuple('P', 'x')(1).x",
    "decimal": "decimal.Decimal('0.1') + 1", "fractions": "fractions.Fraction(1, 3)",
    "string": "string.ascii_letters[:2]", "textwrap": "textwrap.fill('a b', 1)",
    "heapq": "heapq.nsmallest(1, [3, 1])", "bisect": "bisect.bisect([1, 3], 2)",
    "array": "array.array('i', [1]).tobytes()", "base64": "base64.b64encode(b'a')",
    "hashlib": "hashlib.sha256(b'').hexdigest()[:4], hashlib.blake2b(b'').digest_size",
    "hmac": "hmac.new(b'k', b'm', 'sha256').hexdigest()[:4]", "uuid": "uuid.uuid4().version, uuid.uuid1().version",
    "time": "time.strptime('2024', '%Y').tm_year, time.time() > 0, time.sleep(0)",
    "datetime": "datetime.datetime.now().year > 2000, datetime.datetime.strptime('2024-01-02', '%Y-%m-%d')",
    "socket": "socket.AF_INET", "traceback": "traceback.format_exc()",
}


@pytest.mark.parametrize("name", MODULES)
def test_default_module_works_whole(own, name):
    result = own.result("import %s\n%s" % (name, MODULES[name]))
    assert result["status"] == "ok" and result["denials"] == [], result


def test_default_set_is_the_contracts(own):
    policy = json.loads(own.run("policy").stdout)
    assert set(policy["allowed_imports"]) == set(MODULES)


@pytest.mark.parametrize("code", ["import os", "from os import path", "import os.path as p",
                                  "__import__('os')", "exec('import os')", "eval('__import__(\"os\")')",
                                  "import json\nimport os"])
def test_import_not_allowed(pyexec, code):
    result = pyexec.result(code)
    assert result["error_repr"].startswith("ImportError: import 'os' not allowed"), result
    assert "math" in result["error_repr"] and "allowed_imports" in result["error_repr"]
    assert result["denials"][0]["what"] == "import os" and result["error"]["hint"]


@pytest.mark.parametrize("code, flags, error", [
    ("import os", ["--use-import-whitelist=false"], "ImportError: import 'os' banned"),
    ("import importlib\nimportlib.import_module('sys')", ["--use-import-whitelist=false"], "ImportError: import 'sys' banned"),
    ("import csv", ["--use-import-whitelist=false"], None),
    ("import csv", ["--allow-import", "csv"], None),
    ("import json", ["--allowed-imports", ""], "ImportError: import 'json' not allowed"),
    ("import os", ["--any-import"], None),
    ("import __main__", [], "ImportError: import '__main__' not allowed"),
    ("import __main__", ["--any-import", "--no-block-dunder-imports"], None),
    ("from __future__ import annotations", [], None),
    ("import nosuchthing", ["--any-import"], "ModuleNotFoundError"),
])
def test_import_rules(own, code, flags, error):
    result = own.result(code, *flags)
    assert (result["error_repr"] or "").startswith(error or "") and (error or not result["error_repr"]), result


@pytest.mark.parametrize("flags, words", [
    (["--timeout", "0ms"], "timeout_ms"), (["--timeout", "25h"], "timeout_ms"), (["--timeout", "5"], "timeout"),
    (["--timeout", "soon"], "timeout"), (["--cpu-time-seconds", "0"], "cpu_time_seconds"),
    (["--cpu-time-seconds", "1.5"], "cpu_time_seconds"), (["--address-space-bytes", "1M"], "address_space_bytes"),
    (["--address-space-bytes", "12Q"], "address_space_bytes"), (["--max-open-files", "5000"], "max_open_files"),
    (["--max-open-files", "-1"], "max_open_files"), (["--max-stdout-bytes", "1G"], "max_stdout_bytes"),
    (["--max-stdout-bytes", "none"], "max_stdout_bytes"), (["--max-value-bytes", "17M"], "max_value_bytes"),
    (["--max-threads", "0"], "max_threads"), (["--max-threads", "257"], "max_threads"),
    (["--workspace-bytes", "65G"], "workspace_bytes"), (["--disable-open=maybe"], "disable_open"),
    (["--allowed-imports", "a b"], "allowed_imports"), (["--allowed-imports", "a.b"], "allowed_imports"),
    (["--disable-open", "--allow-readonly-open"], "allow_readonly_open"),
    (["--preload-imports", "nosuchthing"], "preload_imports"),
    (["--python-bin", ""], "python_bin"),
])
def test_bad_values_are_named(own, flags, words):
    error = own.error("1", *flags)
    assert error["code"] == "invalid_policy" and error["hint"], error
    assert words.replace("_", "-") in error["message"].replace("_", "-"), error


@pytest.mark.parametrize("flag, near", [("--timeuot", "--timeout"), ("--alow-import", "--allow-import"),
                                        ("--max-thread", "--max-threads")])
def test_misspelt_flag_names_the_nearest(own, flag, near):
    done = own.run("run", flag, "1", "-c", "1")
    assert done.returncode == 125 and near.encode() in done.stderr and flag.encode() in done.stderr


@pytest.mark.parametrize("flags, key, value", [
    (["--timeout", "1500ms"], "timeout_ms", 1500), (["--timeout=2m"], "timeout_ms", 120000),
    (["--timeout", "24h"], "timeout_ms", 86400000), (["--cpu-time-seconds", "none"], "cpu_time_seconds", None),
    (["--address-space-bytes", "1GiB"], "address_space_bytes", 1 << 30),
    (["--address-space-bytes", "64M"], "address_space_bytes", 64 << 20),
    (["--workspace-bytes", "0"], "workspace_bytes", 0), (["--max-open-files", "none"], "max_open_files", None),
    (["--files", "none"], "disable_open", True), (["--files", "read"], "allow_readonly_open", True),
    (["--files", "full"], "disable_open", False), (["--network"], "disable_networking", False),
    (["--any-import"], "use_import_whitelist", False), (["--any-import"], "banned_imports", []),
    (["--banned-imports", "a,b"], "banned_imports", ["a", "b"]), (["--isolate-site=false"], "isolate_site", False),
    (["--no-block-dunder-imports"], "block_dunder_imports", False), (["--allowed-imports", ""], "allowed_imports", []),
])
def test_flags_become_the_policy(own, flags, key, value):
    assert json.loads(own.run("policy", *flags).stdout)[key] == value


def test_file_environment_and_flags_in_that_order(own, tmp_path):
    os.chmod(tmp_path, 0o755)
    path = tmp_path / "pyexec.conf"
    path.write_text("[policy]\ntimeout = 3s\nmax_threads = 3\n[host]\nzygotes = 1\n")
    flags = ["--config", str(path)]
    environment = dict(os.environ, PYEXEC_POLICY_TIMEOUT="4s")
    assert json.loads(own.run("policy", *flags).stdout)["timeout_ms"] == 3000
    assert json.loads(own.run("policy", *flags, env=environment).stdout)["timeout_ms"] == 4000
    policy = json.loads(own.run("policy", *flags, "--timeout", "5s", env=environment).stdout)
    assert (policy["timeout_ms"], policy["max_threads"]) == (5000, 3)
    origins = own.run("policy", "--origin", *flags, "--timeout", "5s", env=environment).stdout.decode()
    rows = {line.split()[0]: line for line in origins.splitlines() if line.strip()}
    assert "flag" in rows["timeout_ms"] and "file" in rows["max_threads"] and "default" in rows["isolate_site"]


@pytest.mark.parametrize("text, word", [("[policy]\ntimeuot = 1s\n", "timeout"), ("[nosuch]\na = 1\n", "nosuch"),
                                        ("[policy]\ntimeout = x\n", "timeout"), ("nonsense\n", "1")])
def test_bad_configuration_names_file_and_line(own, tmp_path, text, word):
    os.chmod(tmp_path, 0o755)
    path = tmp_path / "bad.conf"
    path.write_text(text)
    error = own.error("1", "--config", str(path))
    assert error["code"] == "invalid_policy" and "bad.conf" in error["message"] and "line" in error["message"]
    assert word in error["message"] + error["hint"]


@pytest.mark.parametrize("path, arguments", [("docs/configuration.md", ["policy", "--markdown"]),
                                             ("packaging/pyexec.conf", ["policy", "--config-template"])])
def test_generated_files_are_up_to_date(own, path, arguments):
    with open(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), path), "rb") as file:
        assert file.read() == own.run(*arguments).stdout, "run `make docs`"
