"""`pyexec serve`: the OpenAPI document and the metrics, checked with tools of other projects: openapi-spec-validator,
schemathesis and prometheus_client (from PyPI, in a separate environment), redocly (from npm) and promtool (from Debian)."""
import json
import os
import re
import subprocess

import pytest

from conftest import ROOT
from environments import kept, versions
from mcp_clients import clients  # noqa: F401 (a fixture)
from monitoring import OF_A_FLEET, documented
from promtool import promtool  # noqa: F401 (a fixture)
from serving import serving, token_line


@pytest.fixture(scope="module")
def tools():
    """Returns the bin folder of an environment with the packages."""
    python = kept("openapi-tools", os.path.join(ROOT, "tests", "support", "openapi-requirements.txt"))
    print(*versions(python))
    return os.path.dirname(python)


@pytest.fixture(scope="module")
def server(own):
    with serving(own, "--files", "full", "--workspace-bytes", "4M", tcp=True, tokens=[token_line("fuzz", "t")]) as running:
        yield running


def document(server):
    return server.ask("GET", "/openapi.json").json()


def test_the_document_is_valid(server, tools, tmp_path):
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document(server)))
    done = subprocess.run([tools + "/openapi-spec-validator", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_redocly_finds_nothing_wrong(server, clients, tmp_path):  # noqa: F811
    (tmp_path / "openapi.json").write_text(server.ask("GET", "/openapi.json").body.decode())
    done = subprocess.run([clients.node, clients.script("@redocly/cli", "bin/cli.js"), "lint", "openapi.json"], cwd=tmp_path,
                          capture_output=True, text=True, env=clients.environment(REDOCLY_SUPPRESS_UPDATE_NOTICE="true", REDOCLY_TELEMETRY="off"))
    print(done.stdout, done.stderr)
    assert done.returncode == 0 and "API description is valid" in done.stderr + done.stdout


def test_the_document_has_the_whole_policy_and_every_route(server):
    found = document(server)
    assert found["openapi"] == "3.1.0"
    made = server.ask("POST", "/v1/sessions").json()
    assert set(found["components"]["schemas"]["Policy"]["properties"]) == set(made["policy"])
    for path, methods in found["paths"].items():
        concrete = path.replace("{id}", "none").replace("{path}", "none")
        allowed = server.ask("OPTIONS", concrete).headers["Allow"].split(", ")
        assert sorted(method.upper() for method in methods) == sorted(set(allowed) - {"HEAD"}), path


def test_results_are_as_the_document_says(server):
    schemas = document(server)["components"]["schemas"]
    result = server.result("import os", "s")
    assert set(result) == set(schemas["Result"]["properties"])
    assert set(result["session"]) == set(schemas["SessionOfResult"]["properties"])
    assert set(result["error"]) == set(schemas["Error"]["properties"])
    assert set(result["denials"][0]) == set(schemas["Denial"]["properties"])
    assert set(server.ask("GET", "/v1/sessions/s").json()) == set(schemas["Session"]["properties"])
    assert set(server.ask("GET", "/nowhere").json()) == set(schemas["Problem"]["properties"])


def test_schemathesis_finds_nothing(server, tools):
    """Sends requests that match the document, and requests that do not, to every operation. A request that matches the document may
    still be refused: its policy may be beyond the caller's ceiling, or contradict itself. A session that was deleted may be there again:
    an execution with its id makes a new one."""
    done = subprocess.run(
        [tools + "/schemathesis", "run", "http://%s/openapi.json" % server.tcp, "-H", "Authorization: Bearer t",
         "--max-examples", os.environ.get("PYEXEC_SCHEMATHESIS_EXAMPLES", "25"), "--seed", "1", "--checks", "all",
         "--exclude-checks", "positive_data_acceptance,use_after_free", "--continue-on-failure", "--no-color", "--request-timeout", "20"],
        capture_output=True, text=True, timeout=500, cwd=server.folder,
        env=dict(os.environ, SCHEMATHESIS_HOOKS="schemathesis_hooks", PYTHONPATH=os.path.join(ROOT, "tests", "support")))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert server.result("1 + 1")["last_value_repr"] == "2"


# ---- Metrics ----

PARSE = """
import json, sys
from prometheus_client.parser import text_string_to_metric_families
print(json.dumps([[one.name, one.type, one.documentation, sorted({key for s in one.samples for key in s.labels})]
                  for one in text_string_to_metric_families(sys.stdin.read())]))
"""


def families(server, tools):
    server.result("import os", "s")
    server.ask("GET", "/nowhere")
    done = subprocess.run([tools + "/python", "-c", PARSE], input=server.metrics(), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_metrics_are_parsed_and_documented(server, tools):
    """docs/operations.md lists each metric with its type and labels, and no others."""
    found = {}
    for name, kind, help_, labels in families(server, tools):
        assert help_ and name.startswith("pyexec_"), name
        found[name + ("_total" if kind == "counter" else "")] = (kind, ", ".join(label for label in labels if label != "le"))
    with open(os.path.join(ROOT, "docs", "operations.md")) as file:
        rows = documented(file.read())
    assert {name: row for name, row in rows.items() if not OF_A_FLEET.match(name)} == found


def test_promtool_has_nothing_to_say(server, promtool):
    done = subprocess.run([promtool, "check", "metrics"], input=server.metrics(), capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr
