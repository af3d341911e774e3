# SPDX-License-Identifier: Apache-2.0
# Tools as the script sees them: one function for each tool, with the signature of its JSON Schema, and the
# module `tools`. It has the same functions and, in `tools.aio`, their awaitable forms.

RESULT, ERROR, DENIED, ENDED = 0, 1, 2, 3
ARGUMENTS_MAX = 8 << 20
ANNOTATIONS = {"string": str, "integer": int, "number": float, "boolean": bool, "array": list, "object": dict, "null": None}

offered = {}  # the definitions of this run's tools, or the Tools that were made of them, by name
searched = []  # the definitions
tool_modules = {}  # the modules of tools, by name
published = {}  # the functions that were added to the script's names, by name
watched = {}  # how many calls wait in each event loop


class ToolError(RuntimeError):
    """A tool's own error: `tool` is its name, `data` what the caller sent with it, or None."""

    def __init__(self, message, tool=None, data=None):
        super().__init__(message)
        self.tool, self.data = tool, data


ToolError.__module__ = "tools"


class Omitted:
    """The default of an optional parameter whose schema has no default."""

    def __repr__(self):
        return "..."


omitted = Omitted()


def wire_name(definition):
    """The name of the tool in messages to the host."""
    return "%s.%s" % (definition["module"], definition["name"]) if "module" in definition else definition["name"]


class Tool:
    def __init__(self, definition):
        schema = definition.get("parameters") or {}
        self.name = definition["name"]
        self.module = definition.get("module")
        self.wire = wire_name(definition)
        self.description = definition.get("description", "")
        self.returns = definition.get("returns")
        self.properties = {key: value if isinstance(value, dict) else {}
                           for key, value in (schema.get("properties") or {}).items()}
        self.required = [key for key in schema.get("required", ()) if isinstance(key, str)]
        for key in self.required:
            self.properties.setdefault(key, {})
        named = [key for key in self.properties if is_name(key)]
        # In Python, a parameter without a default must come first.
        self.parameters = ([key for key in named if key in self.required] +
                           [key for key in named if key not in self.required])
        more = schema.get("additionalProperties")
        self.more = more is True or isinstance(more, dict)
        self.others = [key for key in self.properties if not is_name(key)]
        self.defaults = tuple([self.properties[key].get("default", omitted)
                               for key in self.parameters if key not in self.required])


# Letters that Python does not change in names. (It treats some different spellings as one name.) src/policy/tool_types.c has the
# same rule, for stubs.
LETTERS = ((0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0xFF), (0x391, 0x3A1),
           (0x3A3, 0x3A9), (0x3B1, 0x3C9), (0x401, 0x401), (0x410, 0x44F), (0x451, 0x451), (0x3041, 0x3096),
           (0x30A1, 0x30FA), (0x30FC, 0x30FC), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3))


def is_letter(character):
    return any(first <= ord(character) <= last for first, last in LETTERS)


def is_name(key):
    # The letters of an ASCII name are not examined here, because that would write to memory that the processes of scripts share.
    spelled = key.isidentifier() if key.isascii() else all(is_letter(c) or i and "0" <= c <= "9" for i, c in enumerate(key))
    return (spelled and 0 < len(key) <= 100 and not load("keyword").iskeyword(key) and key != "__debug__" and
            not key.startswith("_pyexec_"))


# ---- Checking the arguments ----

def kind_of(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    for kind, name in ((int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object")):
        if isinstance(value, kind):
            return name
    return None


def is_of(kind, value):
    found = kind_of(value)
    return (found == kind or kind == "number" and found == "integer" or
            kind == "integer" and isinstance(value, float) and value.is_integer())


def shown(value):
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


BOUNDS = (("minimum", lambda value, bound: value >= bound, "at least", (int, float)),
          ("maximum", lambda value, bound: value <= bound, "at most", (int, float)),
          ("exclusiveMinimum", lambda value, bound: value > bound, "more than", (int, float)),
          ("exclusiveMaximum", lambda value, bound: value < bound, "less than", (int, float)),
          ("minLength", lambda value, bound: len(value) >= bound, "of length at least", str),
          ("maxLength", lambda value, bound: len(value) <= bound, "of length at most", str),
          ("minItems", lambda value, bound: len(value) >= bound, "of length at least", list),
          ("maxItems", lambda value, bound: len(value) <= bound, "of length at most", list))

BOUND_WORDS = frozenset(bound[0] for bound in BOUNDS)


def check(where, value, schema):
    """Checks the most used keywords of JSON Schema. The caller of the sandbox checks all of them."""
    if not isinstance(schema, dict):
        return
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(kinds, list) and not any(is_of(kind, value) for kind in kinds):
        raise TypeError("%s must be %s, not %s" % (where, " or ".join(map(str, kinds)), shown(value)))
    choices = schema.get("enum")
    if isinstance(choices, list) and value not in choices:
        raise ValueError("%s must be one of %s, not %s" % (where, ", ".join(map(shown, choices[:20])), shown(value)))
    for word, holds, text, kind in () if BOUND_WORDS.isdisjoint(schema) else BOUNDS:
        bound = schema.get(word)
        if isinstance(bound, (int, float)) and isinstance(value, kind) and not isinstance(value, bool) and not holds(value, bound):
            raise ValueError("%s must be %s %s, not %s" % (where, text, bound, shown(value)))
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for i, item in enumerate(value):
            check("%s[%d]" % (where, i), item, schema["items"])
    if isinstance(value, dict):
        check_members(where, value, schema)


def check_members(where, value, schema):
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    for key in schema.get("required") or ():
        if key not in value:
            raise TypeError("%s lacks %s" % (where, shown(key)))
    for key, item in value.items():
        if key in properties:
            check("%s[%s]" % (where, shown(key)), item, properties[key])
        elif schema.get("additionalProperties") is False:
            raise TypeError("%s has an unknown key %s" % (where, shown(key)))


def takes_null(schema):
    kinds = schema.get("type")
    return kinds is None or kinds == "null" or isinstance(kinds, list) and "null" in kinds


def arguments_of(tool, given, more):
    """Checks the arguments of a call and returns them as JSON text."""
    for key in more:
        if not tool.more and key not in tool.others:
            raise TypeError("%s() got an unexpected keyword argument %r" % (tool.wire, key))
    given.update(more)
    for key in tool.others:
        if key in tool.required and key not in given:
            raise TypeError("%s() needs the argument %r: pass it as **{%r: ...}" % (tool.wire, key, key))
    # Generated code often passes None for a value that it does not have.
    for key, value in list(given.items()):
        if value is omitted or value is None and key not in tool.required and not takes_null(tool.properties.get(key, {})):
            del given[key]
    plain, text = given, plain_json(given, ARGUMENTS_MAX)
    if text is None:
        plain, text = encode_arguments(tool, given)
    for key, value in plain.items():
        check("%s(): %s" % (tool.wire, key), value, tool.properties.get(key))
    return text


def encode_arguments(tool, given):
    """The arguments as plain values, which are then checked, and their JSON text."""
    try:
        text = encode(given, "records", ARGUMENTS_MAX)
    except Unrepresentable as error:
        why = "more than 8 MiB of JSON" if str(error).startswith("too large") else str(error)
        raise TypeError("%s(): the arguments can't be written as JSON: %s" % (tool.wire, why)) from None
    except RecursionError:
        raise TypeError("%s(): the arguments can't be written as JSON: nested too deeply" % tool.wire) from None
    if any(kind_of(value) is None or isinstance(value, (list, dict)) for value in given.values()):
        return load("json").loads(text), text
    return given, text


# ---- Calling ----

scanners = []  # scanners of the module json, when one was needed


def parse_json(text):
    """Does the same as json.loads(), for text of the host. It calls one function and not four, so it writes to fewer of the memory
    pages that the processes of scripts share."""
    if not scanners:
        scanners.append(load("json").JSONDecoder().scan_once)
    decoded = text.decode("utf-8", "surrogatepass") if isinstance(text, bytes) else text
    try:
        value, end = scanners[0](decoded, 0)
    except StopIteration:
        end = None
    return value if end == len(decoded) else load("json").loads(text)


def result_of(name, answer):
    kind, text = answer
    if kind == ENDED:
        raise ToolError("tool %r: the execution that offered it has ended" % name, name)
    value = parse_json(text)
    if kind == RESULT:
        return value
    if kind == ERROR:
        raise ToolError(value["message"], name, value["data"])
    tool_denied("%s()" % name, value["hint"])
    raise PermissionError("tool %r denied: %s" % (name, value["reason"]))


def current(name):
    tool = offered.get(name)
    if tool is None:
        raise ToolError("tool %r is not offered to this execution" % name, name)
    if not isinstance(tool, Tool):
        tool = offered[name] = Tool(tool)
    return tool


def call(name, given, more=()):
    text = arguments_of(current(name), given, dict(more))
    return result_of(name, tool_call(name, text))


def deliver_to(loop, future):
    def put(answer):
        if not future.done():
            future.set_result(answer)

    def deliver(kind, text):
        try:
            loop.call_soon_threadsafe(put, (kind, text))
        except RuntimeError:
            pass  # the loop is closed, so nothing waits
    return deliver


def watch(loop):
    watched[loop] = watched.get(loop, 0) + 1
    if watched[loop] == 1:
        loop.add_reader(tool_channel(), tool_read)


def unwatch(loop):
    left = watched.get(loop, 0) - 1
    if left > 0:
        watched[loop] = left
    elif watched.pop(loop, None):
        loop.remove_reader(CHANNEL)


CHANNEL = 3


async def call_async(name, given, more=()):
    text = arguments_of(current(name), given, dict(more))
    loop = load("asyncio").get_running_loop()
    number, answer = 0, None
    watch(loop)
    try:
        while number == 0:
            future = loop.create_future()
            number = tool_start(name, text, deliver_to(loop, future))
            answer = (ENDED, None) if number is None else await future
            if answer[0] == ENDED:
                break
    except BaseException:
        if number:
            tool_abandon(number)
        raise
    finally:
        unwatch(loop)
    return result_of(name, answer)


# ---- input() ----

INPUT_TOOL = "input"
input_replaced = []  # (module, name, the old value, the new value), while a run offers the tool `input`


def ask_for_line(prompt, password):
    try:
        load("sys").stdout.flush()
    except Exception:
        pass
    text = encode({"prompt": str(prompt), "password": password}, "records", ARGUMENTS_MAX)
    try:
        return str(result_of(INPUT_TOOL, tool_call(INPUT_TOOL, text)))
    except ToolError as error:
        if error.data == "EOF":
            raise EOFError(str(error)) from None
        raise


def replace_for_run(module, name, function):
    input_replaced.append((module, name, getattr(module, name), function))
    setattr(module, name, function)


def input_begin():
    def input(prompt="", /):
        """Asks the caller for a line of text."""
        return ask_for_line(prompt, False)

    def getpass(prompt="Password: ", stream=None):
        """Asks the caller for a text that is not shown."""
        return ask_for_line(prompt, True)
    input.__module__ = "builtins"
    replace_for_run(load("builtins"), "input", input)
    replace_for_run(load("getpass"), "getpass", getpass)


def input_end():
    for module, name, before, ours in input_replaced:
        if getattr(module, name, None) is ours:
            setattr(module, name, before)
    input_replaced.clear()


# ---- Functions ----

def annotation(schema):
    kind = schema.get("type") if isinstance(schema, dict) else None
    return ANNOTATIONS.get(kind, omitted) if isinstance(kind, str) else omitted


def source_of(tool, is_async):
    """Makes a real function, so that Python itself reports errors in a call's arguments."""
    optional = len(tool.defaults)
    parts = [key if i < len(tool.parameters) - optional else key + "=None" for i, key in enumerate(tool.parameters)]
    more = tool.more or tool.others
    if more:
        parts.append("**_pyexec_more")
    given = "{%s}" % ", ".join(["%r: %s" % (key, key) for key in tool.parameters])
    return "%sdef %s(%s):\n    return %s_pyexec_call(%r, %s%s)\n" % (
        "async " if is_async else "", tool.name, ", ".join(parts), "await " if is_async else "", tool.wire, given,
        ", _pyexec_more" if more else "")


def docstring(tool):
    lines = [tool.description] if tool.description else []
    described = ["    %s: %s" % (key, self["description"]) for key, self in tool.properties.items()
                 if isinstance(self.get("description"), str)]
    if described:
        lines.append("Args:\n" + "\n".join(described))
    if tool.others:
        lines.append("Arguments whose names are not identifiers. Pass them as **{name: value}: " +
                     ", ".join(map(repr, tool.others)))
    if isinstance(tool.returns, dict) and isinstance(tool.returns.get("description"), str):
        lines.append("Returns:\n    " + tool.returns["description"])
    return "\n\n".join(lines) or None


def make_functions(tools, is_async):
    names = {"_pyexec_call": call_async if is_async else call, "__name__": "tools", "__builtins__": __builtins__}
    exec(compile("".join([source_of(tool, is_async) for tool in tools]), "<pyexec>", "exec"), names)
    functions = {}
    for tool in tools:
        function = names[tool.name]
        function.__doc__ = docstring(tool)
        function.__defaults__ = tool.defaults or None
        kinds = {key: annotation(tool.properties[key]) for key in tool.parameters}
        kinds["return"] = annotation(tool.returns)
        function.__annotations__ = {key: kind for key, kind in kinds.items() if kind is not omitted}
        function.__module__ = (tool.module or "tools") + (".aio" if is_async else "")
        functions[tool.name] = function
    return functions


def make_module(name, doc, functions):
    module = type(load("sys"))(name, doc)
    module.__dict__.update(functions)
    module.__all__ = list(functions)
    return module


def make_aio(tools):
    """The functions of tools.aio are made when a script asks for one of them: most scripts use none."""
    module = type(load("sys"))("tools.aio", "The caller's tools, as functions to await.")

    def build(wanted):
        if wanted not in module.__all__:
            raise AttributeError("module 'tools.aio' has no attribute %r" % wanted)
        module.__dict__.update(make_functions(tools, True))
        return module.__dict__[wanted]
    module.__getattr__ = build
    module.__all__ = [tool.name for tool in tools]
    module.__dir__ = lambda: sorted({*module.__dict__, *module.__all__} - {"__getattr__", "__dir__"})
    return module


# ---- Modules of tools ----

def make_tool_module(name, doc, definitions, is_async):
    """The functions of a module are made when a script asks for one of them: there may be many, and a script uses few."""
    module = type(load("sys"))(name, doc)
    names = [definition["name"] for definition in definitions]

    def build(wanted):
        if wanted not in names:
            raise AttributeError("module %r has no tool %r; tools.search('words') finds tools" % (name, wanted))
        module.__dict__.update(make_functions([Tool(definition) for definition in definitions], is_async))
        return module.__dict__[wanted]
    module.__getattr__ = build
    module.__all__ = names
    module.__dir__ = lambda: sorted({*module.__dict__, *names} - {"__getattr__", "__dir__"})
    return module


def make_tool_modules(definitions):
    """Returns a dict from names to modules. Each module has `aio`, the same tools as functions to await."""
    of = {}
    for definition in definitions:
        of.setdefault(definition["module"], []).append(definition)
    made = {}
    for name, own in of.items():
        module = make_tool_module(name, "Tools of the MCP server %r." % name, own, False)
        module.aio = make_tool_module(name + ".aio", "The tools of %r, as functions to await." % name, own, True)
        module.__path__ = []
        made[name], made[name + ".aio"] = module, module.aio
    return made


def signature_text(tool):
    def kind(schema):
        found = annotation(schema)
        return "" if found is omitted else getattr(found, "__name__", repr(found))
    first_default = len(tool.parameters) - len(tool.defaults)
    parts = []
    for i, key in enumerate(tool.parameters):
        text, hint = key, kind(tool.properties[key])
        text += ": " + hint if hint else ""
        parts.append(text + (" = " + shown(tool.defaults[i - first_default]) if i >= first_default else ""))
    if tool.more or tool.others:
        parts.append("**_pyexec_more")
    returns = kind(tool.returns)
    return "%s(%s)%s" % (tool.wire, ", ".join(parts), " -> " + returns if returns else "")


class Found(list):
    """The tools that a search found, each with its signature and the first line of its description."""

    def __repr__(self):
        return "\n".join(self) or "no tool has these words; there are %s" % ", ".join(
            "%s (%d tools)" % (name, len(module.__all__)) for name, module in tool_modules.items() if "." not in name)


def search(words, limit=10):
    """Finds tools by words of their names and descriptions: the best first, at most `limit`."""
    wanted = str(words).lower().replace("_", " ").split()
    scores = []
    for i, definition in enumerate(searched):
        name = ("%s %s" % (definition.get("module", ""), definition["name"])).lower().replace("_", " ")
        described = definition.get("description", "").lower()
        score = sum(3 * (word in name) + (word in described) for word in wanted)
        if score or not wanted:
            scores.append((-score, i))
    found = Found()
    for _, i in sorted(scores)[:limit]:
        tool = Tool(searched[i])
        line = tool.description.strip().split("\n")[0]
        found.append(signature_text(tool) + ("\n    " + line if line else ""))
    return found


search.__module__ = "tools"


def remove_published(names):
    """Removes the tools of the run before."""
    sys = load("sys")
    for name, value in {**published, "ToolError": ToolError}.items():
        if names.get(name) is value:
            del names[name]
    if getattr(sys.modules.get("tools"), "ToolError", None) is ToolError:
        sys.modules.pop("tools", None)
        sys.modules.pop("tools.aio", None)
    for name, module in tool_modules.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]
    for kept in (offered, published, tool_modules, searched):
        kept.clear()


def is_input(definition):
    return definition["name"] == INPUT_TOOL and "module" not in definition


def tools_begin(text, names):
    """Called before the script's code. If the script gave a name another value, the name keeps it. Returns the names of the modules."""
    sys = load("sys")
    remove_published(names)
    input_end()
    if not text:
        return frozenset()
    everything = parse_json(text)
    definitions = [definition for definition in everything if not is_input(definition)]
    if len(definitions) < len(everything):
        input_begin()
    if not definitions:
        return frozenset()
    searched.extend(definitions)
    offered.update({wire_name(definition): definition for definition in definitions})
    tools = [Tool(definition) for definition in definitions if "module" not in definition]
    published.update(make_functions(tools, False))
    tool_modules.update(make_tool_modules([definition for definition in definitions if "module" in definition]))
    aio = make_aio(tools)
    module = make_module("tools", "The caller's tools.", {"search": search, **published, "ToolError": ToolError})
    module.aio = aio
    module.__path__ = []
    sys.modules.update({"tools": module, "tools.aio": aio, **tool_modules})
    published.update({name: made for name, made in tool_modules.items() if "." not in name})
    if tool_modules:
        published.setdefault("tools", module)
    for name, value in [*published.items(), ("ToolError", ToolError)]:
        names.setdefault(name, value)
    return frozenset(name for name in tool_modules if "." not in name)


def tools_end():
    for loop in list(watched):
        try:
            loop.remove_reader(CHANNEL)
        except Exception:
            pass
    watched.clear()


def tools_warm():
    """Called in the zygote: does the first steps of a run with tools, so that all children share the memory that these need. They
    are repeated, because an interpreter writes to the code of a function until the function was called often enough."""
    for _ in range(30):
        names = {}
        tools_begin('[{"name": "warm", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}}]', names)
        try:
            names["warm"](n=1)
        except ToolError:
            pass
        tools_begin("", names)
