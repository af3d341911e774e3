#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the types of the Python, TypeScript and Java clients from policy.def and result.def: client-types.py PROGRAM [--check].

PROGRAM is build/pyexec; its `policy --tables` prints both tables as JSON. A generated part of a client's file is between
`made from policy.def: NAME` and `end of NAME` (for result.def with that name). It has all rows of the table that are not written by
hand in the rest of the file. A row is written by hand when it needs other code, for example another type or another default.
With --check nothing is written: the exit status is 1 when a file differs from the generated text."""
import html
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = "clients/python/src/pyexec/types.py"
TYPESCRIPT = "clients/typescript/src/types.ts"
JAVA = "clients/java/ali-langengine-pyexecutor/src/main/java/com/alibaba/langengine/pyexecutor/"
POLICY, PROPERTIES, RESULT = JAVA + "PyExecutionPolicy.java", JAVA + "spring/PyExecutorProperties.java", JAVA + "PyExecutionResult.java"
NUMBERS = ("integer", "size", "duration")
LISTS = ("names", "list", "hosts", "environments")


class Unfit(Exception):
    """Raised when the code of a row can't be generated."""


def part(text, table, name):
    """Returns the start and the end of a generated part, without its two marks, and its indentation."""
    found = re.search(r"^( *)(?:#|//) made from %s: %s\n(.*?)^ *(?:#|//) end of %s$" % (re.escape(table), name, name), text, re.M | re.S)
    if not found:
        raise Unfit("the part '%s' of %s is missing" % (name, table))
    return found.start(2), found.end(2), found.group(1)


def fill(text, table, name, lines):
    start, end, indent = part(text, table, name)
    return text[:start] + "".join((indent + line).rstrip() + "\n" for line in lines) + text[end:]


def by_hand(text):
    """Returns the file without its generated parts."""
    return re.sub(r"(made from [\w.]+: ([\w ]+)\n).*?(end of \2$)", r"\1\3", text, flags=re.M | re.S)


# ---- Python ----

def python_kind(row):
    kind = {"string": "str", "environment": "str", "boolean": "bool", **dict.fromkeys(LISTS, "Sequence[str]"), **dict.fromkeys(NUMBERS, "int")}[row["kind"]]
    return "Optional[%s]" % kind if row["null"] else kind


def python_names(names):
    lines, line = [], "   "
    for name in names:
        if len(line) + len(name) + 4 > 125:
            lines, line = lines + [line], "   "
        line += ' "%s",' % name
    return lines + [line]


def python_member(row):
    types = {"string": ("str", '""'), "boolean": ("bool", "False"), "integer": ("int", "0"), "number": ("float", "0.0"), "": ("Any", "None")}
    if row["type"] not in types:
        raise Unfit("%s: a member that is of the type %s; write it by hand in %s" % (row["key"], row["type"], PYTHON))
    kind, default = types[row["type"]]
    if row["null"] and row["type"]:
        kind, default = "Optional[%s]" % kind, "None"
    return "%s: %s = %s" % (row["key"], kind, default)


def make_python(text, tables):
    text = fill(text, "policy.def", "keys", ["%s: %s" % (row["key"], python_kind(row)) for row in tables["policy"]])
    for key in ("allowed_imports", "banned_imports"):
        names, = [row["default"] for row in tables["policy"] if row["key"] == key]
        text = fill(text, "policy.def", key.replace("_", " "), ["DEFAULT_%s = (" % key.upper(), *python_names(names), ")"])
    result = re.search(r"^class Result:\n.*?^    @property", by_hand(text), re.M | re.S).group(0)
    rows = [row for row in tables["result"] if not re.search(r"^    %s:" % row["key"], result, re.M)]
    return fill(text, "result.def", "members", [python_member(row) for row in rows])


# ---- TypeScript ----

def typescript_comment(row, null=""):
    meaning = row["meaning"].replace("*/", "* /")
    return "/** %s%s */" % (meaning, null if row["null"] and "null" not in meaning.lower() else "")


def typescript_key(row):
    kind = {"string": "string", "environment": "string", "boolean": "boolean", **dict.fromkeys(LISTS, "readonly string[]"),
            **dict.fromkeys(NUMBERS, "number")}[row["kind"]]
    return [typescript_comment(row, " Null: no limit."), "%s?: %s%s;" % (row["key"], kind, " | null" if row["null"] else "")]


def typescript_names(name, names):
    lines, line = [], "  "
    for one in names:
        if len(line) + len(one) + 4 > 125:
            lines, line = lines + [line], "  "
        line += '%s"%s",' % (" " if line.strip() else "", one)
    return ["export const %s = [" % name, *lines, line, "] as const;"]


def typescript_type(row):
    """Returns the type and the empty value of a member of the result."""
    types = {"string": ("string", '""'), "boolean": ("boolean", "false"), "integer": ("number", "0"), "number": ("number", "0"), "": ("Json", "null")}
    if row["type"] not in types:
        raise Unfit("%s: a member that is of the type %s; write it by hand in %s" % (row["key"], row["type"], TYPESCRIPT))
    kind, empty = types[row["type"]]
    return ("%s | null" % kind, "null") if row["null"] and row["type"] else (kind, empty)


def make_typescript(text, tables):
    text = fill(text, "policy.def", "keys", sum((typescript_key(row) for row in tables["policy"]), []))
    for key in ("allowed_imports", "banned_imports"):
        names, = [row["default"] for row in tables["policy"] if row["key"] == key]
        text = fill(text, "policy.def", key.replace("_", " "), typescript_names("DEFAULT_" + key.upper(), names))
    result = re.search(r"^export interface ResultFields \{\n.*?^\}", by_hand(text), re.M | re.S).group(0)
    rows = [row for row in tables["result"] if not re.search(r"^  %s:" % row["key"], result, re.M)]
    members = [[typescript_comment(row), "%s: %s;" % (row["key"], typescript_type(row)[0])] for row in rows]
    text = fill(text, "result.def", "members", sum(members, []))
    return fill(text, "result.def", "empty values", ["%s: %s%s," % (
        row["key"], typescript_type(row)[1], " as %s" % typescript_type(row)[0] if row["null"] else "") for row in rows])


# ---- Java ----

def camel(key):
    first, *others = re.sub("_ms$", "", key).split("_")
    return first + "".join(word.title() for word in others)


def title(key):
    return camel(key)[0].upper() + camel(key)[1:]


def java_type(row):
    kinds = {"string": ("String", "String"), "boolean": ("boolean", None), "duration": ("Duration", "Duration"),
             "integer": ("int", "Integer"), "size": ("long", "Long")}
    found = kinds.get(row["kind"], (None, None))[row["null"]]
    if not found:
        raise Unfit("%s: a key of the kind %s; write it by hand in %s and %s" % (row["key"], row["kind"], POLICY, PROPERTIES))
    return found


def java_default(row):
    value, kind = row["default"], java_type(row)
    if value is None:
        return ""
    if kind in ("String", "boolean"):
        return " = " + json.dumps(value)
    if kind == "Duration":
        return " = Duration.ofMillis(%d)" % value
    return " = %d%s" % (value, "L" if kind == "Long" or abs(value) >= 1 << 31 else "")


def java_text(row):
    text = html.escape(row["meaning"].rstrip("."), quote=False).replace("*/", "* /").replace("@", "&#64;")
    return text + (". Null: no limit" if row["null"] else "")


def getter(row, kind):
    return "%s%s" % ("is" if kind == "boolean" else "get", title(row["key"]))


def accessors(row, value="%s"):
    kind, name, meaning = java_type(row), camel(row["key"]), java_text(row)
    return ["/** @return %s */" % meaning, "public %s %s() {" % (kind, getter(row, kind)), "    return %s;" % name, "}", "",
            "/** @param %s %s */" % (name, meaning), "public void set%s(%s %s) {" % (title(row["key"]), kind, name),
            "    this.%s = %s;" % (name, value % name), "}", ""]


def without_last(lines):
    return lines[:-1]


def make_policy(text, tables):
    rest = by_hand(text)
    rows = [row for row in tables["policy"] if '"%s"' % row["key"] not in rest]
    text = fill(text, "policy.def", "fields", ["private volatile %s %s%s;" % (java_type(row), camel(row["key"]), java_default(row)) for row in rows])
    text = fill(text, "policy.def", "accessors", without_last(sum((accessors(row) for row in rows), [])))
    text = fill(text, "policy.def", "copy", ["copy.{0} = {0};".format(camel(row["key"])) for row in rows])
    return fill(text, "policy.def", "map", ['map.put("%s", %s);' % (
        row["key"], ("{0} == null ? null : {0}.toMillis()" if row["kind"] == "duration" else "{0}").format(camel(row["key"]))) for row in rows])


def property_field(row):
    text = html.escape(row["meaning"], quote=False).replace("*/", "* /").replace("@", "&#64;")
    if row["null"]:
        text += " None: no limit."
    name = re.sub("_ms$", "", row["key"]).replace("_", "-")
    mark = ['@PropertyText(value = "%s", nullable = true)' % name] if row["null"] else ['@PropertyText("%s")' % name] if row["kind"] == "size" else []
    return ["/** %s */" % text, *mark, "private %s %s%s;" % (java_type(row), camel(row["key"]), java_default(row)), ""]


def make_properties(text, tables):
    rest = by_hand(text)
    rows = [row for row in tables["policy"] if not re.search(r"\b%s\b" % camel(row["key"]), rest)]
    text = fill(text, "policy.def", "fields", without_last(sum((property_field(row) for row in rows), [])))
    text = fill(text, "policy.def", "policy", ["policy.set%s(%s);" % (title(row["key"]), camel(row["key"])) for row in rows])
    made = [accessors(row, "PropertyTextConverter.value(%s)" if row["null"] else "%s") for row in rows]
    return fill(text, "policy.def", "accessors", without_last(sum(made, [])))


def result_accessor(row):
    forms = {"string": ("String", '(String) rest.get("%s")'), "boolean": ("boolean", 'Boolean.TRUE.equals(rest.get("%s"))'),
             "integer": ("long", 'number(rest.get("%s")).longValue()'), "number": ("double", 'number(rest.get("%s")).doubleValue()'),
             "": ("Object", 'rest.get("%s")')}
    if row["type"] not in forms or row["null"] and row["type"] not in ("string", ""):
        raise Unfit("%s: a member that is of the type %s; write it by hand in %s" % (row["key"], row["type"], RESULT))
    kind, value = forms[row["type"]]
    meaning = html.escape(row["meaning"].rstrip("."), quote=False).replace("@", "&#64;")
    if row["null"] and "null" not in meaning:
        meaning += ", or null"
    return ["/** @return %s */" % meaning, "public %s %s() {" % (kind, getter(row, kind)), "    return %s;" % (value % row["key"]), "}", ""]


def make_result(text, tables):
    rest = by_hand(text)
    rows = [row for row in tables["result"] if not re.search(r'"%s"' % row["key"], rest)]
    return fill(text, "result.def", "accessors", without_last(sum((result_accessor(row) for row in rows), [])))


MAKERS = {PYTHON: make_python, TYPESCRIPT: make_typescript, POLICY: make_policy, PROPERTIES: make_properties, RESULT: make_result}


def made(tables, root=ROOT):
    """Returns path → (the text of the file, the generated text)."""
    texts = {}
    for path, make in MAKERS.items():
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = file.read()
        texts[path] = (text, make(text, tables))
    return texts


def main(program, *options):
    tables = json.loads(subprocess.run([program, "policy", "--tables"], stdout=subprocess.PIPE, check=True).stdout)
    try:
        changed = {path: new for path, (old, new) in made(tables).items() if old != new}
    except Unfit as problem:
        sys.exit("client-types.py: %s" % problem)
    if "--check" in options:
        sys.exit("client-types.py: these files differ from the generated text: %s; run `make docs`" % ", ".join(changed) if changed else 0)
    for path, text in changed.items():
        with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
