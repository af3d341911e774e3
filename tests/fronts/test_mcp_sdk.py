"""MCP with the official clients: the Python and TypeScript SDKs over stdio and HTTP in both eras, the
inspector's command line, and the conformance suite. Versions are pinned in tests/mcp/."""
import base64
import concurrent.futures
import json
import re
import subprocess

import pytest

from code_mode import entry
from mcp_clients import PINS, clients   # noqa: F401
from serving import serving, token_line

FORMS = [(transport, sdk, mode) for transport in ("stdio", "http")
         for sdk, mode in (("python", "auto"), ("python", "legacy"), ("typescript", "auto"), ("typescript", "v1"))]
ERA = {"auto": "2026-07-28", "legacy": "2025-11-25", "v1": "2025-11-25"}
FLAGS = ["--files", "full"]


@pytest.fixture(scope="module")
def http(own):
    """A server with a principal for each client, so that they run side by side."""
    tokens = [token_line("%s-%s" % form[1:], "%s-%s" % form[1:]) for form in FORMS if form[0] == "http"]
    with serving(own, *FLAGS, tcp=True, tokens=[*tokens, token_line("suite", "suite")]) as running:
        yield running


@pytest.fixture(scope="module")
def reports(own, http, clients):
    """Returns what each client got in the scenario of tests/mcp/client.py."""
    def run(form):
        transport, sdk, mode = form
        if transport == "stdio":
            target = {"command": own.path, "args": ["mcp", *FLAGS], "env": {"PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3"}}
        else:
            target = {"url": "http://%s/mcp" % http.tcp, "token": "%s-%s" % (sdk, mode)}
        program = [clients.python, PINS + "/client.py"] if sdk == "python" else [clients.node, PINS + "/client.mjs"]
        done = subprocess.run([*program, json.dumps({**target, "mode": mode})], env=clients.environment(),
                              capture_output=True, text=True, timeout=120)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return dict(zip(FORMS, pool.map(run, FORMS)))


@pytest.fixture(params=FORMS, ids="-".join)
def seen(request, reports, capsys):
    report = reports[request.param]
    assert isinstance(report, dict), report
    report["mode"] = request.param[2]
    with capsys.disabled():
        print("\n%s over %s: %s" % (report["sdk"], request.param[0], report["version"]))
    return report


def value(told):
    assert not told["error"], told
    return told["structured"]["last_value_repr"]


def test_a_client_meets_every_tool(seen):
    assert seen["version"] in (ERA[seen["mode"]], "legacy") and seen["server"] == "pyexec"
    assert seen["tools"] == ["run_python", "interrupt", "reset_session", "list_files", "read_file", "write_file",
                             "get_execution", "cancel_execution"]
    assert "no others: math" in seen["description"]
    assert value(seen["value"]) == "42" and seen["value"]["text"] == "hello\nvalue: 42"
    assert seen["failed"]["error"] and "import 'os' not allowed" in seen["failed"]["text"]
    assert seen["written"]["structured"] == {"path": "in.txt", "bytes": 4}
    assert value(seen["kept"]) == "8" and value(seen["given"]) == "'given'"
    assert [file["path"] for file in seen["listed"]["structured"]["files"]] == ["i.png", "in.txt", "out.txt"]
    assert seen["read"]["text"] == "datadata" == seen["read"]["structured"]["content"]
    assert seen["image"] == ["image", "image/png", base64.b64encode(b"\x89PNG\r\n\x1a\nrest").decode()]
    assert seen["reset"]["structured"] == {"session_id": "s", "existed": True}
    assert seen["gone"]["error"] and "NameError" in seen["gone"]["text"]
    assert seen["absent"]["error"] and "session_not_found" in seen["absent"]["text"]
    assert seen["longer"]["error"] and "invalid_policy" in seen["longer"]["text"]
    assert seen["unknown_tool"] == -32602
    # Time: progress each second, an interrupt that keeps the state, and a cancelled call that frees its session.
    steps, last = seen["progress"]
    assert last == "'done'" and len(steps) == 3 and steps[0] == 0 and sorted(set(steps)) == steps
    assert "KeyboardInterrupt" in seen["interrupted"]["text"] and value(seen["after_interrupt"]) == "1"
    assert seen["after_cancel"][0] == "1" and seen["after_cancel"][1] < 1.3


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_a_session_over_two_connections_is_one_where_the_server_is(reports, transport):
    """Over HTTP the clients share the server; on stdio each client has its own server."""
    for form, report in reports.items():
        if form[0] == transport == "http":
            assert value(report["two_connections"]) == "'of the first'"
        elif form[0] == transport:
            assert report["two_connections"]["error"] and "NameError" in report["two_connections"]["text"]


def inspect(clients, *arguments):
    launcher = clients.script("@modelcontextprotocol/inspector", "clients/launcher/build/index.js")
    return subprocess.run([clients.node, launcher, "--cli", *arguments, "--format", "json"], env=clients.environment(),
                          capture_output=True, text=True, timeout=60)


def test_the_inspector_on_stdio(own, clients):
    listed = inspect(clients, own.path, "mcp", "--method", "tools/list")
    assert listed.returncode == 0 and '"run_python"' in listed.stdout, listed.stderr
    ran = inspect(clients, own.path, "mcp", "--method", "tools/call", "--tool-name", "run_python", "--tool-arg", "code=6*7")
    assert ran.returncode == 0 and '"last_value_repr":"42"' in re.sub(r"\s", "", ran.stdout), ran.stderr


def test_the_inspector_over_http(http, clients):
    done = inspect(clients, "http://%s/mcp" % http.tcp, "--transport", "http", "--header", "Authorization: Bearer suite", "--method",
                   "tools/call", "--tool-name", "run_python", "--tool-args-json", '{"code": "1/0"}')
    assert done.returncode == 5 and "ZeroDivisionError" in done.stdout, (done.returncode, done.stderr)     # 5: isError


def test_the_conformance_suite(http, clients, capsys):
    """Fails for a check that fails and is not in the baseline, and for a check in the baseline that passes."""
    done = subprocess.run([clients.node, "--import", PINS + "/auth.mjs",
                           clients.script("@modelcontextprotocol/conformance", "dist/index.js"), "server", "--url",
                           "http://%s/mcp" % http.tcp, "--expected-failures", PINS + "/baseline.yml"],
                          env=clients.environment(MCP_TOKEN="suite"), cwd=http.folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    with open(clients.script("@modelcontextprotocol/conformance", "package.json")) as file:
        version = json.load(file)["version"]
    passed = re.findall(r"✓ ([\w-]+):", done.stdout)
    with capsys.disabled():
        print("\nconformance %s (revisions up to 2025-11-25): %s; %s" % (
            version, re.search(r"Total: (.*)", done.stdout).group(1), ", ".join(dict.fromkeys(passed))))
    assert {"server-initialize", "ping", "tools-list", "dns-rebinding-protection"} <= set(passed)


def test_the_sdks_user_approves_calls_of_other_servers_tools(own, clients, tmp_path):
    path = tmp_path / "servers.json"
    path.write_text(json.dumps({"mcpServers": {"shop": entry(approval=["say"])}}))
    target = {"command": own.path, "args": ["mcp", "--mcp-servers", str(path), "--timeout", "60s"],
              "env": {"PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3", "PYEXEC_MCP_START_TIMEOUT": "300s"}}
    done = subprocess.run([clients.python, PINS + "/approve.py", json.dumps(target)], env=clients.environment(),
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert [message.splitlines()[:2] for message in seen["asked"]] == [
        ["A script wants to call shop.say with these arguments:", '{"text":"%s"}' % action] for action in ("accept", "decline", "cancel")]
    denied = "PermissionError: tool 'shop.say' denied: "
    assert seen["runs"][:3] == [["'accept'", None], [None, denied + "the user did not allow it"], [None, denied + "the user did not allow it"]]
    assert seen["runs"][3][1].startswith(denied + "it needs the user's approval, but this MCP client can't ask the user")


@pytest.fixture(params=["stdio", "http"])
def target(request, own):
    if request.param == "stdio":
        return {"command": own.path, "args": ["mcp", *FLAGS], "env": {"PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3"}}
    return {"url": "http://%s/mcp" % request.getfixturevalue("http").tcp, "token": "suite"}


def run(clients, program, target):
    done = subprocess.run([clients.python if program.endswith(".py") else clients.node, PINS + "/" + program, json.dumps(target)],
                          env=clients.environment(), capture_output=True, text=True, timeout=360)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_python_sdk_leaves_a_run_alone_and_comes_back_for_its_result(clients, target):
    seen = run(clients, "detached.py", target)
    for tools in seen["tools"].values():
        assert tools["made"]["structured"]["session_id"] == "s"
        assert tools["ended"]["text"] == "hello\nvalue: 42" and value({**tools["ended"], "structured": tools["ended"]["structured"]["result"]}) == "42"
        assert tools["at_once"]["structured"]["state"] != "ended" and "It has not ended" in tools["at_once"]["text"]
        assert tools["cancelled"]["structured"]["result"]["status"] == "cancelled"
        assert tools["unknown"]["error"] and "execution_not_found" in tools["unknown"]["text"]
    modern = seen["modern"]
    assert [result["error"] for result in modern["results"]] == [False, True, False] and modern["tasks"] == 2
    assert value(modern["results"][0]) == "42" and "ZeroDivisionError" in modern["results"][1]["text"]


def test_the_typescript_sdk_runs_a_task_to_its_end(clients, target):
    seen = run(clients, "detached.mjs", target)
    assert seen["steps"][0] == "taskCreated" and seen["steps"][-2:] == ["completed", "result"] and seen["value"] == "42"
