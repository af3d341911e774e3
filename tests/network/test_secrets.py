# SPDX-License-Identifier: Apache-2.0
"""Secrets by placeholder: the script sees the placeholder, and the host gets the value. Tests of HTTP libraries are in
test_secret_clients.py, of `pyexec serve` in test_serve_secrets.py. test_secret_search.py looks for the value where it must not be."""
import json
import os
import re

import pytest

from conftest import BUILD
from mcp_stdio import Client
from secret_site import VALUE, operator, shown

pytestmark = pytest.mark.skipif(not os.path.exists(os.path.join(BUILD, "pyexec-egress")), reason="the build has no pyexec-egress")


@pytest.fixture(scope="module")
def place(pyexec):
    with operator(pyexec.uid) as made:
        yield made


@pytest.fixture
def site(place):
    made = place.site()
    yield made
    made.close()


def run(pyexec, place, site, code, secret=None, host=None, **variables):
    """Runs the code with this secret, for the site if nothing else is said, and returns what the program has written."""
    entry = {"host": site.host, **(secret or {})}
    if "environment" not in entry:
        entry = {"file": place.write("value", VALUE + "\n"), **entry}
    done = pyexec.run("run", "--json", "--any-import", "--timeout", "60s", "--cpu-time-seconds", "50", "--allow-host", host or site.host, "-c", code,
                      env={**os.environ, **place.settings(api_key=entry), **variables})
    assert VALUE.encode() not in done.stdout + done.stderr
    return done


FETCH = """
import os, urllib.request
answer = urllib.request.urlopen(urllib.request.Request("https://%s/", headers={"Authorization": "Bearer " + os.environ["API_KEY"]}))
[os.environ["API_KEY"], answer.headers["X-Echo"], answer.read().decode()]
"""


@pytest.mark.parametrize("secret, variables", [({}, {}), ({"environment": "REAL_KEY"}, {"REAL_KEY": VALUE})], ids=["file", "environment"])
def test_a_script_uses_a_secret_that_it_never_sees(pyexec, place, site, secret, variables):
    result = json.loads(run(pyexec, place, site, FETCH % site.host, secret, **variables).stdout)
    assert result["status"] == "ok", result
    placeholder, echoed, body = eval(result["last_value_repr"])
    assert re.fullmatch("pyexec-secret-API_KEY-[0-9a-f]{16}", placeholder) and echoed == "Bearer " + shown(placeholder)
    assert body.startswith(echoed) and [request.fields["authorization"] for request in site.requests] == ["Bearer " + VALUE]


def test_each_run_has_a_new_placeholder(pyexec, place, site):
    code = "import os\nos.environ['API_KEY']"
    first, second = (json.loads(run(pyexec, place, site, code).stdout)["last_value_repr"] for _ in range(2))
    assert first != second


def test_clients_over_rpc_have_the_section_of_the_configuration(pyexec, place, site):
    policy = {"allowed_hosts": [site.host], "use_import_whitelist": False, "banned_imports": [], "timeout_ms": 60000, "cpu_time_seconds": 50}
    calls = [("initialize", {"protocol": 1, "policy": policy}), ("execute_once", {"code": FETCH % site.host})]
    lines = [json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) for number, (method, params) in enumerate(calls)]
    done = pyexec.run("rpc", "--drain", input="\n".join(lines) + "\n", env={**os.environ, **place.settings(api_key=(site.host, VALUE))})
    answer = {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}[1]
    assert "pyexec-secret-API_KEY-" in answer["result"]["last_value_repr"] and VALUE.encode() not in done.stdout + done.stderr, done
    assert site.requests[0].fields["authorization"] == "Bearer " + VALUE


def test_mcp_on_standard_input_has_all_secrets(pyexec, place, site):
    with Client(pyexec, "--any-import", "--allow-host", site.host, "--timeout", "60s", "--cpu-time-seconds", "50",
                env={**os.environ, **place.settings(api_key=(site.host, VALUE))}) as client:
        result = client.call("run_python", code=FETCH % site.host)
    assert "pyexec-secret-API_KEY-" in result["structuredContent"]["last_value_repr"] and VALUE not in str(result), result
    assert site.requests[0].fields["authorization"] == "Bearer " + VALUE


def test_a_run_without_the_host_has_no_variable_and_another_bundle(pyexec, place, site):
    code = "import os\n[os.environ.get('API_KEY'), os.environ['SSL_CERT_FILE']]"
    with_secret = json.loads(run(pyexec, place, site, code).stdout)
    without = json.loads(run(pyexec, place, site, code, host="localhost").stdout)
    assert eval(without["last_value_repr"])[0] is None, without
    assert eval(with_secret["last_value_repr"])[1] != eval(without["last_value_repr"])[1]


@pytest.mark.parametrize("secret, part", [
    ({"host": "*.example"}, "each host must be named"), ({"header": "Host: {}"}, "writes the header 'Host' itself"),
    ({"header": "X-Key"}, "no header with a place"), ({"variable": "a-b"}, "name of a variable"), ({"value": "x"}, "is not known")])
def test_a_bad_entry_is_refused_with_what_to_do(pyexec, place, site, secret, part):
    refused = run(pyexec, place, site, "1", secret)
    error = json.loads(refused.stdout)
    assert refused.returncode == 125 and part in error["message"] and error["hint"], error


def test_a_file_that_others_can_read_is_refused(pyexec, place, site):
    settings = place.settings(api_key=(site.host, VALUE))
    os.chmod(settings["PYEXEC_EGRESS_SECRETS"], 0o640)
    error = pyexec.error("1", "--allow-host", site.host, env={**os.environ, **settings})
    assert "other users than its owner" in error["message"] and "chmod 600" in error["hint"], error


def test_two_secrets_in_one_header_are_refused(pyexec, place, site):
    error = pyexec.error("1", "--allow-host", site.host, env={**os.environ, **place.settings(api_key=(site.host, VALUE), other=(site.host, VALUE))})
    assert "the same host and header" in error["message"], error
