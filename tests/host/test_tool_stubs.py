# SPDX-License-Identifier: Apache-2.0
"""Stubs of tools (`pyexec tools`): the text always parses, and describes the functions that the script has."""
import ast
import inspect
import json
import random
import subprocess

import pytest

from conftest import BUILD, ROOT

HEAD = "# Functions that the script can call. Several at once: await tools.aio.NAME(...). A failed call raises ToolError.\n"


def run(tools, *flags):
    return subprocess.run([BUILD + "/pyexec", "tools", *flags, "-"], input=json.dumps(tools), text=True, capture_output=True, timeout=120)


def stubs(tools, *flags):
    done = run(tools, *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(tools, *flags):
    done = run(tools, *flags)
    assert done.returncode == 125 and not done.stdout
    return done.stderr


def tool(name="f", description=None, required=(), returns=None, **properties):
    made = {"name": name, "parameters": {"type": "object", "properties": properties, "required": list(required)}}
    made.update({"description": description} if description is not None else {})
    return {**made, **({"returns": returns} if returns else {})}


def type_of(schema, **parameters):
    text = stubs([{"name": "f", "parameters": {"properties": {"a": schema}, "required": ["a"], **parameters}}])
    return ast.unparse(ast.parse(text).body[-1].args.args[0].annotation)


def test_a_function_has_types_defaults_and_a_docstring():
    text = stubs([tool("lookup", "The weather.\n\nOf one city.", ["city"], {"type": "object", "description": "By day."},
                       unit={"type": "string", "enum": ["C", "F"], "default": "C"}, city={"type": "string", "description": "Its name."},
                       days={"type": "integer"})])
    assert text == HEAD + '''from typing import Literal

def lookup(city: str, unit: Literal['C', 'F'] = 'C', days: int = ...) -> dict:
    """The weather.

    Of one city.

    Args:
        city: Its name.

    Returns:
        By day.
    """
'''


def test_without_docstrings_each_function_is_one_line():
    assert stubs([tool("f", "What it does."), {"name": "g"}], "--no-docstrings") == \
        HEAD + "from typing import Any\n\ndef f() -> Any: ...\ndef g() -> Any: ...\n"


@pytest.mark.parametrize("schema, expected", [
    ({"type": "array", "items": {"type": "string"}}, "list[str]"),
    ({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "number"}}}, "dict[str, list[float]]"),
    ({"type": ["string", "null"]}, "str | None"),
    ({"anyOf": [{"type": "integer"}, {"type": "integer"}, {"type": "boolean"}]}, "int | bool"),
    ({"oneOf": [{"type": "integer"}, {}]}, "Any"),
    ({"allOf": [{"title": "T"}, {"type": "string"}]}, "str"),
    ({"const": "x"}, "Literal['x']"),
    ({"enum": [1, True, None, "a'b"]}, "Literal[1, True, None, \"a'b\"]"),
    ({"type": "string", "enum": ["value %d" % i for i in range(1000)]}, "str"),
    ({"enum": [1.5, {}]}, "Any"),
    ({"properties": {"b": {"type": "integer"}, "from": {}}, "required": ["from"]},
     "TypedDict[{'b': NotRequired[int], 'from': Any}]"),
    ({"type": "null"}, "None"), ({"type": "strange"}, "Any"), (True, "Any"), ([], "Any"), ({"type": 5}, "Any"), ({"$ref": "http://x"}, "Any"),
    ({"$ref": "#/nothing/there"}, "Any"), ({"$ref": "#/properties/a"}, "Any"),
])
def test_the_type_of_a_schema(schema, expected):
    assert type_of(schema) == expected


def test_references_are_followed_and_those_to_themselves_end():
    defs = {"$defs": {"a/b~c": {"type": "integer"}, "Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}},
                      "Wide": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/Wide"}} for _ in range(100)]}}}
    assert type_of({"$ref": "#/$defs/a~1b~0c"}, **defs) == "int"
    assert type_of({"$ref": "#/$defs/Node"}, **defs).count("next") == 4
    assert len(type_of({"$ref": "#/$defs/Wide"}, **defs)) < 400
    assert type_of({"anyOf": [{"$ref": "#/properties/a"}, {"type": "string"}]}) == "Any"


def test_types_and_defaults_are_bounded():
    wide = {"type": "object", "properties": {"key %d" % i: {"type": "string"} for i in range(5000)}}
    assert type_of(wide) == "dict"
    text = stubs([tool(a={"type": "string", "default": "x" * 150}, b={"type": "string", "default": "y" * 250})])
    assert "a: str = '%s', b: str = ..." % ("x" * 150) in text


def test_with_little_room_descriptions_are_left_out_before_functions():
    many = [tool("tool_%d" % i, "First line of %d.\nMore of it, which is long: %s" % (i, "x" * 100), ["a"], a={"type": "string"}) for i in range(40)]
    whole = stubs(many)
    lengths = []
    for size in (len(whole), len(whole) - 1, 2000, 1000):
        text = stubs(many, "--max-bytes", str(size))
        ast.parse(text)
        assert len(text.encode()) <= size
        lengths.append((text.count("def "), "First line of 1." in text, "More of it" in text, text.splitlines()[-1]))
    assert lengths[0][:3] == (40, True, True) and not lengths[0][3].startswith("#")
    assert lengths[1][:3] == (40, True, False) and lengths[1][3].startswith("# Left out to save space: all but the first line")
    assert lengths[2][:3] == (40, False, False) and lengths[2][3] == "# Left out to save space: descriptions. help(NAME) has them."
    left = 40 - lengths[3][0]
    assert 30 > left > 10 and "# Left out to save space: %d of 40 functions: tool_%d, " % (left, lengths[3][0]) in lengths[3][3]


def test_the_last_of_two_tools_with_one_name_is_shown():
    text = stubs([tool("f", "One."), {"name": "g"}, tool("f", "Two.")])
    assert text.count("def f") == 1 and "Two." in text and text.index("def f") < text.index("def g")


def test_what_is_no_list_of_tools_is_refused():
    assert "tools: not a list" in refusal({}) and "not a list of objects" in refusal([1]) and "has no name" in refusal([{}])
    assert "'class' can't be a tool's name: it is a keyword" in refusal([{"name": "class"}])
    assert "tools: f: parameters: not an object" in refusal([{"name": "f", "parameters": 5}])
    assert "max_bytes: 999 is less than 1000" in refusal([], "--max-bytes", "999")
    assert "not a number of bytes" in refusal([], "--max-bytes", "-5")
    assert "not JSON" in subprocess.run([BUILD + "/pyexec", "tools", "-"], input='[{"name": "f", "description": "\\ud800"}]', text=True,
                                        capture_output=True, timeout=60).stderr
    done = subprocess.run([BUILD + "/pyexec", "tools", "-"], input=b"[\xff]", capture_output=True, timeout=60)
    assert done.returncode == 125 and b"not UTF-8 text" in done.stderr
    assert b"Give a readable file" in subprocess.run([BUILD + "/pyexec", "tools", "/nowhere"], capture_output=True, timeout=60).stderr


# ---- Hostile definitions, and the functions that the script really has ----

NASTY = ['"""', "'''", '"', "\\", "\\\\", "\n", "\r", "\r\n", "\t", "\0", "\x1b[31m", "\u202e", "\u2028", "\ufeff", "\U000e0041", "#", "%s", "{}", "é",
         "\N{GRINNING FACE}", "def x(", "    ", ")", "Args:", "\x85", "\x0c", "import os", " ", "a"]
NAMES = ["a", "b", "c", "from", "class", "None", "__debug__", "x y", "größe", "城市", "ﬁ", "fi", "ª", "A", "Ａ", "_pyexec_more", "_pyexec_call", "_", "self",
         "1", "a1", "", "a" * 100, "a" * 101, "match", "print", "ſ", "x\n", "…", "ー", "한"]


def text_of(random):
    return "".join(random.choice(NASTY) for _ in range(random.randrange(12)))


def value_of(random, depth=0):
    kind = random.randrange(9 if depth < 3 else 7)
    if kind < 7:
        return [None, True, False, random.randrange(-2 ** 63, 2 ** 63), random.choice([0.1, -0.0, 1e300, 5e-324, 1.0, 123456789.125]), text_of(random),
                "plain"][kind]
    if kind == 7:
        return [value_of(random, depth + 1) for _ in range(random.randrange(4))]
    return {text_of(random).replace("\0", ""): value_of(random, depth + 1) for _ in range(random.randrange(4))}


def schema_of(random, depth=0):
    if random.random() < 0.05:
        return random.choice([True, False, None, 5, [], "string"])
    schema = {}
    if random.random() < 0.7:
        schema["type"] = random.choice(["string", "integer", "number", "boolean", "null", "array", "object", "x", ["string", "null"], [], [5, "array"], 7])
    if random.random() < 0.3:
        schema["description"] = random.choice([text_of(random), 5, None])
    if random.random() < 0.3:
        schema["default"] = value_of(random)
    if random.random() < 0.1:
        schema["enum"] = random.choice([[value_of(random) for _ in range(random.randrange(40))], {}, "x"])
    if random.random() < 0.1:
        schema["$ref"] = random.choice(["#", "#/properties/a", "#/properties/b/items", "#/", "#//", "x", 5])
    if depth < 4:
        for word in ("items", "additionalProperties"):
            if random.random() < 0.2:
                schema[word] = schema_of(random, depth + 1)
        for word in ("anyOf", "oneOf", "allOf"):
            if random.random() < 0.1:
                schema[word] = random.choice([[schema_of(random, depth + 1) for _ in range(random.randrange(5))], {}])
        if random.random() < 0.3:
            schema["properties"] = {text_of(random).replace("\0", ""): schema_of(random, depth + 1) for _ in range(random.randrange(4))}
            schema["required"] = random.choice([list(schema["properties"]), [], [5], None])
    return schema


def definition_of(random, name):
    properties = {key: schema_of(random) for key in random.sample(NAMES, random.randrange(len(NAMES)))}
    parameters = {"type": "object", "properties": properties, "required": [random.choice(NAMES) for _ in range(random.randrange(6))]}
    if random.random() < 0.3:
        parameters["additionalProperties"] = random.choice([True, False, {}, {"type": "string"}])
    made = {"name": name, "parameters": parameters, "returns": schema_of(random), "description": text_of(random)}
    return {key: value for key, value in made.items() if key == "name" or (isinstance(value, dict) or key == "description") and random.random() < 0.9}


@pytest.fixture(scope="module")
def guest():
    """Makes functions from definitions with src/guest/tools/tools.py, as in a script."""
    names = {"load": __import__, "__name__": "guest"}
    with open(ROOT + "/src/guest/tools/tools.py") as file:
        exec(compile(file.read(), "tools.py", "exec"), names)
    return names


def same_default(shown, real, omitted):
    shown = ast.literal_eval(shown)
    return shown is ... if real is omitted or shown is ... and len(repr(real)) > 150 else repr(shown) == repr(real)


def as_docstring(text):
    """Indents the lines after the first one, and puts the closing quotes on their own line."""
    first, *rest = text.split("\n") if text else [None]
    return "\n".join([first, *("    " + line if line else "" for line in rest), "    "]) if rest else first


def parts_of(node):
    arguments = node.args
    assert not arguments.kwonlyargs and not arguments.posonlyargs and not arguments.vararg
    return [each.arg for each in arguments.args], arguments.defaults, arguments.kwarg.arg if arguments.kwarg else None


@pytest.mark.parametrize("seed", range(8))
def test_the_text_parses_and_says_what_the_script_has(guest, seed):
    source = random.Random(seed)
    tools = [definition_of(source, "tool_%d" % i) for i in range(60)]
    module = ast.parse(stubs(tools))
    nodes = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    functions = guest["make_functions"]([guest["Tool"](json.loads(json.dumps(each))) for each in tools], False)
    assert list(nodes) == list(functions)
    assert [type(node) for node in module.body if not isinstance(node, ast.FunctionDef)] in ([], [ast.ImportFrom])
    for name, function in functions.items():
        names, defaults, more = parts_of(nodes[name])
        shown = inspect.signature(function).parameters.values()
        assert names == [each.name for each in shown if each.kind == each.POSITIONAL_OR_KEYWORD], name
        assert more == next((each.name for each in shown if each.kind == each.VAR_KEYWORD), None), name
        real = function.__defaults__ or ()
        assert len(defaults) == len(real) and all(same_default(a, b, guest["omitted"]) for a, b in zip(defaults, real)), name
        assert ast.get_docstring(nodes[name], clean=False) == as_docstring(function.__doc__), name
    for flags in (["--no-docstrings"], ["--max-bytes", "20000"], ["--max-bytes", "1000"]):
        ast.parse(stubs(tools, *flags))


def test_names_of_parameters_are_those_that_python_leaves_as_they_are(guest):
    for first, last in guest["LETTERS"]:
        letters = [chr(code) for code in range(first, last + 1)]
        exec("".join(letter + " = 1\n" for letter in letters), space := {})
        assert set(letters) <= set(space)
