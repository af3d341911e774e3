"""All descriptions of a result agree with a real result. The Python and Java clients, the web page, and the schemas of OpenAPI and MCP
are compared with the output of the program, and not with the table from which some of them are made."""
import dataclasses
import json
import os
import re
import subprocess
import sys

import pytest

import stores
from conftest import BUILD, ROOT

sys.path.insert(0, ROOT + "/clients/python/src")
from pyexec import types  # noqa: E402

JAVA = ROOT + "/clients/java/ali-langengine-pyexecutor/src/main/java/com/alibaba/langengine/pyexecutor/PyExecutionResult.java"
CODE = """
open("made.txt", "w").write("x")
class Shown:
    def _repr_html_(self):
        return "<b>"
display(Shown())
try:
    import os
except ImportError:
    pass
1 / 0
"""
# Members that have another name in the clients, by the key of the result.
JAVA_NAMES = {"display": "Displays", "usage": "Usage"}
JAVA_RECORDS = {"error": ("PyError", {}), "denials": ("Denial", {}), "files": ("FileChange", {"content_base64": "content"}),
                "display": ("Display", {}), "session": ("Session", {}), "environment": ("Environment", {}),
                "usage": ("Usage", {"wall_ms": "wallMillis", "cpu_ms": "cpuMillis"})}
PYTHON_OBJECTS = {"error": types.ErrorInfo, "denials": types.Denial, "files": types.FileChange, "display": types.Display,
                  "session": types.SessionInfo, "usage": types.Usage, "environment": types.EnvironmentInfo}


def rpc(*requests):
    """Returns the answers of `pyexec rpc` to these requests."""
    lines = "".join(json.dumps({"jsonrpc": "2.0", "id": i, "method": method, "params": params}) + "\n" for i, (method, params) in enumerate(requests))
    done = subprocess.run([BUILD + "/pyexec", "rpc", "--drain"], input=lines, capture_output=True, text=True, timeout=540)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return {answer["id"]: answer.get("result", answer) for answer in answers}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Returns the result of a session's call that has every part: an error, a denial, a file, a display, an environment."""
    store = stores.HandMadeStore(tmp_path_factory.mktemp("environments"))
    store.add("data", {"tally": ""})
    answers = rpc(("initialize", {"protocol": 1, "policy": {"disable_open": False, "environment": "data"}, "env": {"root": store.root}}),
                  ("execute", {"session_id": "s", "code": CODE, "return_files": ["*"]}))
    made = answers[1]
    assert made["status"] == "error" and made["error"] and made["denials"] and made["files"] and made["display"] and made["session"], made
    assert made["environment"], made
    return made


def parts(result):
    """Returns key → an object, for members that are objects or lists of objects."""
    found = {key: value[0] if isinstance(value, list) else value for key, value in result.items() if isinstance(value, (dict, list)) and value}
    return {key: value for key, value in found.items() if isinstance(value, dict)}


def camel(key):
    words = key.split("_")
    return words[0] + "".join(word.title() for word in words[1:])


def java_type(value):
    return "boolean" if isinstance(value, bool) else "String" if isinstance(value, str) or value is None else "long|int" if isinstance(value, int) else "double"


def test_the_result_has_every_part(result):
    assert set(parts(result)) == set(PYTHON_OBJECTS)


def test_the_python_client_has_every_member(result):
    names = {field.name for field in dataclasses.fields(types.Result)}
    assert names - {"raw"} == set(result)
    for key, value in parts(result).items():
        known = {field.name for field in dataclasses.fields(PYTHON_OBJECTS[key])}
        assert known == {name.replace("content_base64", "content") for name in value}, key


def test_the_python_client_has_the_types(result):
    hints = types.Result.__annotations__
    for key, value in result.items():
        if key in PYTHON_OBJECTS or value is None or isinstance(value, list):
            continue
        assert type(value).__name__ in hints[key], (key, hints[key])


def test_the_java_client_has_every_member_with_its_type(result):
    with open(JAVA) as file:
        text = file.read()
    for key, value in result.items():
        name = JAVA_NAMES.get(key, camel(key)[0].upper() + camel(key)[1:])
        getter = re.search(r"public (\S+) (?:get|is)%s\(\)" % name, text)
        assert getter, "PyExecutionResult has no getter for %s" % key
        if not isinstance(value, (dict, list)) and value is not None and key != "status":
            assert re.fullmatch(java_type(value), getter.group(1)), (key, getter.group(1))
    for key, value in parts(result).items():
        record, other = JAVA_RECORDS[key]
        components = re.search(r"public record %s\(([^)]*)\)" % record, text).group(1)
        known = set(re.findall(r"(\w+)(?:,|$)", re.sub(r"<[^>]*>", "", components)))
        assert known == {other.get(name, camel(name)) for name in value}, record


def test_the_web_page_knows_no_other_members(result):
    with open(ROOT + "/web/src/api.ts") as file:
        text = file.read()
    members = re.search(r"interface Result \{(.*?)\n\}", text, re.S).group(1)
    assert set(re.findall(r"^  (\w+)\??:", members, re.M)) <= set(result)


def schema_matches(schema, value, path=""):
    """Returns the differences between a schema, whose parts are inline, and a value."""
    if "anyOf" in schema:
        schema = schema["anyOf"][0]
    if isinstance(value, dict):
        if "properties" not in schema:
            return []
        wrong = [path + "." + key for key in set(value) ^ set(schema["properties"])]
        return wrong + sum((schema_matches(schema["properties"][key], value[key], path + "." + key) for key in value if key in schema["properties"]), [])
    if isinstance(value, list):
        return schema_matches(schema["items"], value[0], path + "[]") if value else []
    names = {bool: "boolean", str: "string", int: "integer", float: "number", type(None): "null"}
    kinds = schema.get("type", list(names.values()))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return [] if names[type(value)] in kinds else [path + ": " + str(kinds)]


def test_the_schema_of_mcp_is_that_of_the_result(result):
    asked = "".join(json.dumps(message) + "\n" for message in (
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}))
    done = subprocess.run([BUILD + "/pyexec", "mcp"], input=asked, capture_output=True, text=True, timeout=540)
    tools = json.loads(done.stdout.splitlines()[1])["result"]["tools"]
    schema = next(tool["outputSchema"] for tool in tools if tool["name"] == "run_python")
    assert schema_matches(schema, result) == []
    assert set(schema["anyOf"][0]["required"]) == set(result)


def test_the_document_lists_every_member(result):
    with open(ROOT + "/docs/results.md") as file:
        listed = re.findall(r"^\| `([\w.\[\]]+)` \| ", file.read().split("<!-- end of result.def -->")[0], re.M)
    wanted = list(result) + ["%s%s.%s" % (key, "[]" if isinstance(result[key], list) else "", name) for key, value in parts(result).items() for name in value]
    wanted += ["usage.tool_calls." + name for name in result["usage"]["tool_calls"]]
    wanted += ["session.restored." + field.name for field in dataclasses.fields(types.Restored)]       # null in this result
    assert sorted(listed) == sorted(wanted)


def test_the_document_is_as_made():
    """`make docs` was run."""
    made = subprocess.run([BUILD + "/pyexec", "policy", "--result-keys"], capture_output=True, text=True, check=True).stdout
    with open(ROOT + "/docs/results.md") as file:
        assert "<!-- result.def -->\n" + made + "<!-- end of result.def -->" in file.read()


def test_a_missing_member_is_noticed(result):
    """Tests the comparison with schemas itself."""
    assert schema_matches({"type": "object", "properties": {"a": {"type": "string"}}}, {"a": 1, "b": None}) != []
    assert os.path.exists(JAVA)


def test_the_documents_and_the_python_client_have_every_key_of_a_request():
    answer = rpc(("initialize", {"protocol": 1}), ("execute_once", {"code": "1", "no_such_key": 1}))[1]
    hint = answer["error"]["data"]["hint"]
    taken = set(re.search(r"A request has (.*?);", hint).group(1).split(", "))
    assert "code" in taken and len(taken) > 10
    with open(ROOT + "/docs/rpc.md") as file:
        listed = {key for line in file if line.startswith("| `") for key in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert taken <= listed
    # `silent` and `tools` are keys of the transport, `packages` of HTTP and NATS, `key` of NATS; the other three belong to the method, or to
    # callers that this client does not serve.
    assert set(types.RequestFields.__annotations__) - {"silent", "tools", "packages", "key"} == taken - {"code", "session_policy", "policy_defaults"}
