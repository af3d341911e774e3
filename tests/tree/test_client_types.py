"""The Python, TypeScript and Java clients' types are made from policy.def and result.def (tools/client-types.py)."""
import importlib.util
import json
import subprocess

import pytest

from conftest import BUILD, ROOT

spec = importlib.util.spec_from_file_location("client_types", ROOT + "/tools/client-types.py")
client_types = importlib.util.module_from_spec(spec)
spec.loader.exec_module(client_types)


@pytest.fixture(scope="module")
def tables():
    return json.loads(subprocess.run([BUILD + "/pyexec", "policy", "--tables"], capture_output=True, check=True).stdout)


def copy_of(tables):
    return json.loads(json.dumps(tables))


def made(tables):
    return {path: new for path, (_, new) in client_types.made(tables).items()}


def test_the_types_are_as_made():
    """`make docs` was run."""
    done = subprocess.run([ROOT + "/tools/client-types.py", BUILD + "/pyexec", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_tables_are_those_of_the_program(tables):
    defaults = json.loads(subprocess.run([BUILD + "/pyexec", "policy", "--config", "/dev/null"], capture_output=True, check=True,
                                         env={"PATH": "/usr/bin:/bin"}).stdout)
    assert {row["key"]: row["default"] for row in tables["policy"]} == defaults
    assert all(row["meaning"] for row in tables["policy"] + tables["result"])


@pytest.mark.parametrize("kind, null, default, python, java, literal", [
    ("integer", False, 7, "int", "int", "7"), ("integer", True, 7, "Optional[int]", "Integer", "7"),
    ("size", False, 4096, "int", "long", "4096"), ("size", True, 1 << 33, "Optional[int]", "Long", "8589934592L"),
    ("boolean", False, True, "bool", "boolean", "true"), ("string", False, "a", "str", "String", '"a"'),
    ("duration", False, 250, "int", "Duration", "Duration.ofMillis(250)"),
])
def test_a_new_key_of_the_policy_reaches_every_client(tables, kind, null, default, python, java, literal):
    more = copy_of(tables)
    more["policy"].append({"key": "max_new_things", "kind": kind, "null": null, "default": default, "meaning": "Most <new> things."})
    texts = made(more)
    assert "    max_new_things: %s\n" % python in texts[client_types.PYTHON]
    typescript = {"bool": "boolean", "str": "string", "int": "number", "Optional[int]": "number | null"}[python]
    limit = " Null: no limit." if null else ""
    assert "  /** Most <new> things.%s */\n  max_new_things?: %s;\n" % (limit, typescript) in texts[client_types.TYPESCRIPT]
    verb = "is" if java == "boolean" else "get"
    for path in (client_types.POLICY, client_types.PROPERTIES):
        text = texts[path]
        assert "private %s%s maxNewThings = %s;\n" % ("volatile " if path == client_types.POLICY else "", java, literal) in text
        assert "public %s %sMaxNewThings() {" % (java, verb) in text and "public void setMaxNewThings(%s maxNewThings) {" % java in text
        assert "Most &lt;new&gt; things" in text
    assert "copy.maxNewThings = maxNewThings;" in texts[client_types.POLICY] and 'map.put("max_new_things", maxNewThings' in texts[client_types.POLICY]
    assert "policy.setMaxNewThings(maxNewThings);" in texts[client_types.PROPERTIES]
    marked = '@PropertyText(value = "max-new-things", nullable = true)' if null else '@PropertyText("max-new-things")'
    assert (marked in texts[client_types.PROPERTIES]) == (null or kind == "size")


@pytest.mark.parametrize("kind, null, python, java, typescript, empty", [
    ("integer", False, "int = 0", "long", "number", "0"), ("number", False, "float = 0.0", "double", "number", "0"),
    ("boolean", False, "bool = False", "boolean", "boolean", "false"), ("string", False, 'str = ""', "String", "string", '""'),
    ("string", True, "Optional[str] = None", "String", "string | null", "null as string | null"),
    ("", True, "Any = None", "Object", "Json", "null as Json"),
])
def test_a_new_member_of_a_result_reaches_every_client(tables, kind, null, python, java, typescript, empty):
    more = copy_of(tables)
    more["result"].append({"key": "new_thing", "type": kind, "null": null, "meaning": "A new thing."})
    texts = made(more)
    assert "    new_thing: %s\n" % python in texts[client_types.PYTHON]
    assert "public %s %sNewThing() {" % (java, "is" if java == "boolean" else "get") in texts[client_types.RESULT]
    assert "  /** A new thing. */\n  new_thing: %s;\n" % typescript in texts[client_types.TYPESCRIPT]
    assert "  new_thing: %s,\n" % empty in texts[client_types.TYPESCRIPT]
    compile(texts[client_types.PYTHON], "types.py", "exec")


def test_a_row_that_goes_away_goes_away_in_the_clients(tables):
    less = copy_of(tables)
    less["policy"] = [row for row in less["policy"] if row["key"] != "max_threads"]
    assert "max_threads" not in made(less)[client_types.PYTHON] + made(less)[client_types.TYPESCRIPT] and "maxThreads" not in made(less)[client_types.POLICY]


@pytest.mark.parametrize("table, row", [
    ("policy", {"key": "new_names", "kind": "names", "null": False, "default": [], "meaning": "Names."}),
    ("result", {"key": "new_object", "type": "object", "null": False, "meaning": "An object."}),
])
def test_what_needs_code_of_its_own_is_named(tables, table, row):
    more = copy_of(tables)
    more[table].append(row)
    with pytest.raises(client_types.Unfit, match=row["key"] + ": .*by hand in"):
        made(more)
