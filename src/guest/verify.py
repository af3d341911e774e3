# SPDX-License-Identifier: Apache-2.0
# The calls of verify: finds a function of the solution, gives it its arguments, and writes its value as JSON that keeps
# what plain JSON loses (docs/verify.md, Values). Nothing here knows which value is expected.

NAMES_SHOWN = 30
WARM = 20   # so often that the interpreter has adapted this code (PEP 659)


class TypedEncoder(Encoder):
    """Writes values with the forms {"$tuple": [...]}, {"$set": [...]}, {"$dict": [[key, value], ...]},
    {"$int": "digits"}, {"$float": "nan"} and {"$bytes": "base64"}. A key of a dict that begins with "$" gets another
    "$"."""

    def put_float(self, value):
        if value - value == 0:
            self.put(float.__repr__(value))
        else:
            self.put('{"$float":"%s"}' % float.__repr__(value))

    def put_int(self, value):
        if INT_MIN <= value <= INT_MAX:
            self.put(int.__repr__(value))
        else:
            self.put('{"$int":')
            Encoder.put_int(self, value)
            self.put("}")

    def put_list(self, value):
        self.put_items(value, self.put_value)

    def put_form(self, name, value):
        self.put('{"%s":' % name)
        self.put_items(value, self.put_value)
        self.put("}")

    def put_object(self, pairs):
        pairs = list(pairs)
        if not all(type(key) is str for key, value in pairs):
            return self.put_form("$dict", pairs_of(pairs))
        Encoder.put_object(self, [("$" + key if key[:1] == "$" else key, value) for key, value in pairs])

    def put_other(self, value):
        kind = type(value)
        if isinstance(value, tuple):
            self.put_form("$tuple", value)
        elif isinstance(value, (set, frozenset)):
            self.put_form("$set", value)
        elif kind is bytes or kind is bytearray:
            self.put('{"$bytes":')
            put_bytes(self, value)
            self.put("}")
        elif isinstance(value, list):
            self.put_list(value)
        elif kind.__name__ in ("generator", "map", "filter", "zip") or kind.__name__.endswith("_iterator"):
            raise Unrepresentable("it is a %s, which can be read only once: return a list" % kind.__name__)
        else:
            Encoder.put_other(self, value)


def pairs_of(pairs):
    return [[key, value] for key, value in pairs]


FORMS = {
    "$tuple": tuple,
    "$set": set,
    "$dict": dict,
    "$int": int,
    "$float": float,
    "$bytes": lambda text: load("binascii").a2b_base64(text),
}


def typed(members):
    """Turns a form into its value. For json.JSONDecoder."""
    for key in members:
        if key[:1] == "$":
            break
    else:
        return members
    if len(members) == 1 and key in FORMS:
        return FORMS[key](members[key])
    return {key[1:] if key[:1] == "$" else key: value for key, value in members.items()}


def prepare_calls(names):
    """Called before the solution runs, so that it is not done again for each test. The solution is loaded as a module is: a block
    of `if __name__ == "__main__"` does not run."""
    global decoder
    names["__name__"] = "solution"
    modules = load("sys").modules
    modules["solution"] = modules["__main__"]
    decoder = load("json").JSONDecoder(object_hook=typed)
    load("_json")
    # What runs for the first time writes to many more pages than later, and each test would copy them.
    for i in range(WARM):
        given = decoder.decode('{"call":"str","args":[1,-2.5,"a",[true,null]],"kwargs":{"b":{"$tuple":[1]}}}')
        try_encode(TypedEncoder("records", 4096), (given, [1.5, {"a"}], "b", None, True))


def names_of(names):
    return [name for name, value in names.items()
            if type(name) is str and name[:1] != "_" and callable(value)]


def find(names, target):
    """Finds `f`, `module.f` or `Solution().f`."""
    value = None
    for i, part in enumerate(target.split(".")):
        made = part[-2:] == "()"
        name = part[:-2] if made else part
        if i:
            value = getattr(value, name)
        elif name in names:
            value = names[name]
        else:
            known = names_of(names)
            more = ", ..." if len(known) > NAMES_SHOWN else ""
            raise NameError("the solution defines no '%s'; it defines %s" % (
                name, ", ".join(known[:NAMES_SHOWN]) + more if known else "no function and no class"))
        if made:
            value = value()
    return value


def call_function(names, text, limit):
    """Returns the value as JSON and None, or None and the reason why it has no JSON."""
    given = decoder.decode(text)
    function = find(names, given["call"])
    value = function(*given["args"], **given["kwargs"])
    if type(value).__name__ == "coroutine":
        value = await_value(value)
    return try_encode(TypedEncoder("records", limit), value)
