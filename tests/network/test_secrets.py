# SPDX-License-Identifier: Apache-2.0
"""Secrets by placeholder, with whole programs: what a script sees, what the host gets, and where the value is."""
import json
import os
import re
import subprocess

import pytest

from conftest import BUILD
from private_internet import Worlds, inside
from test_egress_secrets import SITE, VALUE, Site, echo

pytestmark = pytest.mark.skipif(not os.path.exists(os.path.join(BUILD, "pyexec-egress")), reason="the build has no pyexec-egress")


@pytest.fixture(scope="module")
def worlds():
    if os.getuid() != 0:
        pytest.skip("needs network namespaces with servers in them, made by root")
    made = Worlds(globals(), False)
    made.result()
    yield made
    made.close()


def entry(**changes):
    return {"variable": "API_KEY", "host": "api.example", "header": "Authorization: Bearer {}", **changes}


def write_private(path, text):
    if os.path.exists(path):
        os.unlink(path)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return path


def settings(world, secrets):
    world.dns.names.update({"api.example": [SITE]})
    value = write_private(os.path.join(world.folder, "value"), VALUE + "\n")
    text = json.dumps({"secrets": {name: one if "environment" in one else {"file": value, **one} for name, one in secrets.items()}})
    return {**os.environ, "PYEXEC_EGRESS_SECRETS": write_private(os.path.join(world.folder, "secrets.json"), text),
            "PYEXEC_EGRESS_CA_FILE": world.certificate("api.example", "other.example", "a.wild.example") + ".crt"}


def run(world, code, environment, *flags):
    done = subprocess.run([os.path.join(BUILD, "pyexec"), "run", "--json", "--any-import", "--timeout", "60s", "--cpu-time-seconds", "50",
                           "--allow-host", "api.example", *flags, "-c", code], env=environment, capture_output=True, text=True)
    assert VALUE not in done.stdout + done.stderr
    return done


FETCH = """
import os, urllib.request
answer = urllib.request.urlopen(urllib.request.Request("https://api.example/", headers={"Authorization": "Bearer " + os.environ["API_KEY"]}))
[os.environ["API_KEY"], answer.headers["X-Echo"], answer.read().decode()]
"""


@inside
def test_a_script_uses_a_secret_that_it_never_sees(world):
    site = Site(world, echo)
    for secret, more in ((entry(), {}), (entry(environment="REAL_KEY"), {"REAL_KEY": VALUE})):
        result = json.loads(run(world, FETCH, {**settings(world, {"key": secret}), **more}).stdout)
        assert result["status"] == "ok", result
        placeholder, echoed, body = eval(result["last_value_repr"])
        assert re.fullmatch("pyexec-secret-API_KEY-[0-9a-f]{16}", placeholder) and echoed == "Bearer " + (placeholder + "*" * 99)[:len(VALUE)]
        assert "Bearer " + VALUE in site.heads[-1] and placeholder not in site.heads[-1]
    site.close()


@inside
def test_clients_over_rpc_have_the_section_of_the_configuration(world):
    policy = {"allowed_hosts": ["api.example"], "use_import_whitelist": False, "banned_imports": []}
    calls = [("initialize", {"protocol": 1, "policy": policy}), ("execute_once", {"code": "import os\nos.environ['API_KEY']"})]
    lines = [json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) for number, (method, params) in enumerate(calls)]
    done = subprocess.run([os.path.join(BUILD, "pyexec"), "rpc", "--drain"], input="\n".join(lines) + "\n", capture_output=True, text=True,
                          env=settings(world, {"key": entry()}))
    answer = {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}[1]
    assert "pyexec-secret-API_KEY-" in answer["result"]["last_value_repr"], done


@inside
def test_a_run_without_the_host_has_no_variable_and_another_bundle(world):
    code = "import os\n[os.environ.get('API_KEY'), os.environ['SSL_CERT_FILE']]"
    with_secret = json.loads(run(world, code, settings(world, {"key": entry()})).stdout)
    without = json.loads(run(world, code, settings(world, {"key": entry(host="api.example:8443")})).stdout)
    assert eval(without["last_value_repr"])[0] is None, without
    assert eval(with_secret["last_value_repr"])[1] != eval(without["last_value_repr"])[1]


@inside
def test_bad_files_are_refused_with_what_to_do(world):
    environment = settings(world, {"key": entry()})
    os.chmod(environment["PYEXEC_EGRESS_SECRETS"], 0o640)
    refused = run(world, "1", environment)
    assert refused.returncode and "other users than its owner" in refused.stderr and "chmod 600" in refused.stderr, refused.stderr
    for secret, part in ((entry(host="*.example"), "each host must be named"), (entry(header="Host: {}"), "writes the header 'Host' itself"),
                         (entry(header="X-Key"), "no header with a place"), (entry(variable="a-b"), "name of a variable"), ({**entry(), "value": "x"}, "is not known")):
        refused = run(world, "1", settings(world, {"key": secret}))
        assert refused.returncode and part in refused.stderr, (part, refused.stderr)
    refused = run(world, "1", settings(world, {"key": entry(), "other": entry(variable="OTHER")}))
    assert "the same host and header" in refused.stderr, refused.stderr


def memory_of(pid):
    """Every readable byte of a process."""
    found = b""
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb") as memory:
        for line in maps:
            first, last = (int(text, 16) for text in line.split()[0].split("-"))
            if line.split()[1][0] == "r" and "[v" not in line:
                try:
                    memory.seek(first)
                    found += memory.read(last - first)
                except (OSError, ValueError):
                    pass
    return found


def family_of(pid):
    """The ids of a process and of all that it started."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name) as file:
                parents[int(name)] = int(file.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            pass
    family = [pid]
    for one in family:
        family += [child for child, parent in parents.items() if parent == one]
    return family


@inside
def test_only_the_proxy_has_the_value(world):
    """The memory of each process is read from outside: host, supervisor, zygotes and child, while the script has used the secret."""
    site = Site(world, echo)
    code = FETCH.strip() + "\nprint('used', flush=True)\nimport time\ntime.sleep(50)"
    environment = {**settings(world, {"key": entry(environment="REAL_KEY")}), "REAL_KEY": VALUE}
    with subprocess.Popen([os.path.join(BUILD, "pyexec"), "run", "--any-import", "--timeout", "60s", "--cpu-time-seconds", "50", "--allow-host", "api.example",
                           "-c", code], env=environment, stdout=subprocess.PIPE) as host:
        assert host.stdout.readline() == b"used\n"
        holders, names = [], []
        for pid in family_of(host.pid):
            with open("/proc/%d/cmdline" % pid) as file:
                command = file.read()
            names.append(command)
            with open("/proc/%d/environ" % pid) as file:
                assert VALUE not in command + file.read()
            if VALUE.encode() in memory_of(pid):
                holders.append(command)
            if "pyexec-egress" in command:
                with open("/proc/%d/limits" % pid) as limits:
                    assert re.search("Max core file size +0 +0 ", limits.read())
        host.terminate()
        host.wait()
    assert len(names) >= 4 and len(holders) == 1 and "pyexec-egress" in holders[0], (holders, names)
    site.close()
