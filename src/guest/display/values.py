# SPDX-License-Identifier: Apache-2.0
# Values as JSON, by the table in docs/results.md, and JSON as values.

DEPTH_MAX = 100
INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1


class Unrepresentable(Exception):
    pass


class Encoder:
    """Writes one value. Each element adds at least one byte, so the limit ends every value, however
    large."""

    def __init__(self, tables, limit):
        self.tables = tables
        self.limit = limit
        self.parts = []
        self.length = 0
        self.open = set()

    def put(self, text):
        self.length += len(text)
        if self.limit is not None and self.length > self.limit:
            raise Unrepresentable("too large: more than max_value_bytes=%d bytes of JSON" % self.limit)
        self.parts.append(text)

    def put_string(self, text):
        # A lone surrogate can't be written as UTF-8, so it becomes a backslash escape.
        if self.limit is not None and len(text) > self.limit:
            self.put(" " * (self.limit + 1))
        self.put(quote(text.encode("utf-8", "backslashreplace").decode("utf-8")))

    def put_float(self, value):
        self.put(float.__repr__(value) if value - value == 0 else "null")

    def put_int(self, value):
        if INT_MIN <= value <= INT_MAX:
            self.put(int.__repr__(value))
        else:
            # The time to convert a large int grows with the square of its digits. An int that can't fit the
            # limit is refused before it is converted.
            if value.bit_length() > 4 * (self.limit or 1 << 20):
                self.put(" " * ((self.limit or 0) + 1))
            self.put('"%s"' % digits(value))

    def put_items(self, items, put):
        self.put("[")
        comma = ""
        for item in items:
            self.put(comma)
            put(item)
            comma = ","
        self.put("]")

    def put_object(self, pairs):
        self.put("{")
        seen = set()
        for key, value in pairs:
            name = key_text(key)
            if name in seen:
                raise Unrepresentable("two keys become %.100r" % name)
            self.put("," if seen else "")
            seen.add(name)
            self.put_string(name)
            self.put(":")
            self.put_value(value)
        self.put("}")

    def put_list(self, value):
        kinds = set(map(type, value)) if type(value) in (list, tuple) else None
        if kinds == {float}:
            self.put("[" + ",".join([repr(x) if x - x == 0 else "null" for x in value]) + "]")
        else:
            self.put_items(value, self.put_value)

    def put_value(self, value):
        kind = type(value)
        if value is None or value is True or value is False:
            self.put("null" if value is None else "true" if value else "false")
        elif kind is str:
            self.put_string(value)
        elif kind is int:
            self.put_int(value)
        elif kind is float:
            self.put_float(value)
        else:
            if id(value) in self.open:
                raise Unrepresentable("it contains itself")
            if len(self.open) >= DEPTH_MAX:
                raise Unrepresentable("nested more than %d deep" % DEPTH_MAX)
            self.open.add(id(value))
            self.put_other(value)
            self.open.discard(id(value))

    def put_other(self, value):
        put = EXACT.get(type(value))
        if put:
            return put(self, value)
        for matches, put in WRITERS:
            if matches(value):
                return put(self, value)
        raise Unrepresentable("not representable: %s" % full_name(type(value)))


def digits(value):
    sys = load("sys")
    before = getattr(sys, "get_int_max_str_digits", int)()
    if before:
        sys.set_int_max_str_digits(0)
    try:
        return int.__repr__(value)
    finally:
        if before:
            sys.set_int_max_str_digits(before)


def quote(text):
    # Calls the C function itself: the module json would also import re, and the script may have changed json.
    return load("_json").encode_basestring(text)


def full_name(kind):
    name = getattr(kind, "__qualname__", "?")
    module = getattr(kind, "__module__", None)
    return name if module in (None, "builtins", "__main__") else "%s.%s" % (module, name)


def is_missing(value):
    """True for NaT and for pandas' NA."""
    pandas = loaded("pandas")
    return pandas is not None and (value is pandas.NaT or value is getattr(pandas, "NA", pandas.NaT))


def key_text(key):
    """Returns the key as the json module writes it; for other types of keys, their text."""
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or key is True or key is False:
        return "null" if key is None else "true" if key else "false"
    if isinstance(key, float):
        return float.__repr__(key)
    if is_missing(key):
        return "null"
    if hasattr(key, "isoformat"):
        return key.isoformat()
    return str(key)


# ---- Kinds of values ----

def is_a(kinds):
    return lambda value: isinstance(value, kinds)


def of_module(module, *names):
    """Makes a function that tells whether a value is of these classes of a module. If the module has not
    been imported, no value is."""
    def matches(value):
        there = loaded(module)
        kinds = tuple([kind for kind in (getattr(there, name, None) for name in names)
                       if isinstance(kind, type)]) if there else ()
        return isinstance(value, kinds)
    return matches


def put_bytes(encoder, value):
    encoder.put('"%s"' % load("binascii").b2a_base64(memoryview(value), newline=False).decode("ascii"))


def put_enum(encoder, value):
    encoder.put_value(value.value)


def put_as(convert):
    return lambda encoder, value: encoder.put_string(convert(value))


def put_date(encoder, value):
    encoder.put_string(value.isoformat())


def put_seconds(encoder, value):
    encoder.put_float(value.total_seconds())


def is_record(value):
    return isinstance(value, tuple) and hasattr(type(value), "_fields")


def put_record(encoder, value):
    encoder.put_object(zip(type(value)._fields, value))


def is_dataclass(value):
    return hasattr(type(value), "__dataclass_fields__")


def put_dataclass(encoder, value):
    encoder.put_object([(field, getattr(value, field)) for field in type(value).__dataclass_fields__])


def is_mapping(value):
    return isinstance(value, dict) or of_module("collections.abc", "Mapping")(value)


def put_mapping(encoder, value):
    encoder.put_object(value.items())


# ---- numpy and pandas ----

def put_scalar(encoder, value):
    """Writes a numpy scalar."""
    kind = value.dtype.kind
    if kind in "mM":
        if value != value:
            encoder.put("null")
        elif kind == "M":
            encoder.put_string(str(value))
        else:
            numpy = load("numpy")
            encoder.put_float(float(value / numpy.timedelta64(1, "s")))
    elif kind == "f":
        encoder.put_float(float(value))
    elif kind == "V":
        encoder.put_list(value.tolist())
    else:
        encoder.put_value(value.item())


def put_array(encoder, value):
    if encoder.limit is not None and value.size > encoder.limit:
        encoder.put(" " * (encoder.limit + 1))
    if value.dtype.kind in "mM" or value.dtype.itemsize > 8 and value.dtype.kind == "f":
        if value.ndim == 0:
            put_scalar(encoder, value[()])
        else:
            encoder.put_items(value, encoder.put_value)
        return
    plain = value.tolist()
    if value.ndim:
        encoder.put_list(plain)
    else:
        encoder.put_value(plain)


def put_null(encoder, value):
    encoder.put("null")


def is_plain_index(index):
    return type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1 and index.name is None


def index_columns(index, default):
    """Returns the column names for the levels of the index, and one tuple of labels for each row."""
    if index.nlevels > 1:
        return [default + "_%d" % i if name is None else name for i, name in enumerate(index.names)], index
    return [default if index.name is None else index.name], [(label,) for label in index]


def check_size(encoder, cells):
    if encoder.limit is not None and cells > encoder.limit:
        encoder.put(" " * (encoder.limit + 1))


def columns_of(frame):
    return [frame.iloc[:, i].tolist() for i in range(frame.shape[1])]


def put_frame(encoder, frame):
    check_size(encoder, frame.shape[0] * max(frame.shape[1], 1))
    names, columns = list(frame.columns), columns_of(frame)
    if encoder.tables == "split":
        encoder.put_object([("columns", names), ("index", list(frame.index)),
                            ("data", [list(row) for row in zip(*columns)] if columns else [[] for _ in frame.index])])
        return
    labels = [()] * len(frame.index)
    if not is_plain_index(frame.index):
        above, labels = index_columns(frame.index, "index")
        names = above + names
    rows = zip(*columns) if columns else [()] * len(frame.index)
    encoder.put_items(zip(labels, rows), lambda row: encoder.put_object(zip(names, (*row[0], *row[1]))))


def put_series(encoder, series):
    check_size(encoder, series.shape[0])
    if encoder.tables == "split":
        encoder.put_object([("name", series.name), ("index", list(series.index)), ("data", series.tolist())])
        return
    above, labels = index_columns(series.index, "index")
    names = above + ["value" if series.name is None else series.name]
    encoder.put_items(zip(labels, series.tolist()), lambda row: encoder.put_object(zip(names, (*row[0], row[1]))))


WRITERS = (
    (is_missing, put_null),
    (of_module("enum", "Enum"), put_enum),
    (is_a(bool), lambda encoder, value: encoder.put("true" if value else "false")),
    (of_module("numpy", "generic"), put_scalar),
    (is_a(str), lambda encoder, value: encoder.put_string(str.__str__(value))),
    (is_a(int), lambda encoder, value: encoder.put_int(int(value))),
    (is_a(float), lambda encoder, value: encoder.put_float(float(value))),
    (is_a(complex), put_as(str)),
    (is_a((bytes, bytearray, memoryview)), put_bytes),
    (is_record, put_record),
    (is_dataclass, put_dataclass),
    (is_a((list, tuple, set, frozenset, range)), Encoder.put_list),
    (is_mapping, put_mapping),
    (of_module("collections", "deque"), Encoder.put_list),
    (of_module("collections.abc", "KeysView", "ValuesView", "ItemsView"), Encoder.put_list),
    (of_module("pandas", "Timedelta"), put_seconds),
    (of_module("datetime", "date", "time"), put_date),
    (of_module("datetime", "timedelta"), put_seconds),
    (of_module("decimal", "Decimal"), put_as(str)),
    (of_module("fractions", "Fraction"), put_as(str)),
    (of_module("uuid", "UUID"), put_as(str)),
    (of_module("pathlib", "PurePath"), put_as(str)),
    (of_module("ipaddress", "_IPAddressBase"), put_as(str)),
    (of_module("numpy", "ndarray"), put_array),
    (of_module("pandas", "DataFrame"), put_frame),
    (of_module("pandas", "Series"), put_series),
    (of_module("pandas", "Index"), Encoder.put_list),
    (of_module("pandas.api.extensions", "ExtensionArray"), Encoder.put_list),
    (of_module("pandas", "Period", "Interval"), put_as(str)),
)


EXACT = {list: Encoder.put_list, tuple: Encoder.put_list, set: Encoder.put_list, dict: put_mapping, bytes: put_bytes}


def encode(value, tables, limit):
    return encode_with(Encoder(tables, limit), value)


def encode_with(encoder, value):
    limit = encoder.limit
    encoder.put_value(value)
    text = "".join(encoder.parts)
    if limit is not None and len(text.encode("utf-8")) > limit:
        encoder.put(" " * (limit + 1))
    return text


def value_json(value, tables, limit):
    """Returns the value as JSON and None, or None and the reason why it has no JSON."""
    return try_encode(Encoder(tables, limit), value)


def try_encode(encoder, value):
    before = fired()
    try:
        return encode_with(encoder, value), None
    except Unrepresentable as error:
        return None, str(error)
    except RecursionError:
        return None, "nested too deeply"
    except Exception as error:
        if fired() != before or isinstance(error, MemoryError):
            raise
        return None, ("not representable: %s: %s" % (type(error).__name__, error))[:500]


def variables(text):
    """Returns the request's `inputs` as a dict: names and values."""
    return load("json").loads(text)
