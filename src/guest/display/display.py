# SPDX-License-Identifier: Apache-2.0
# How objects are shown: their representations become forms of a display.
#
# This runs inside the interpreter with global names of its own (guest/embedded_python.c). `send`, `explain`,
# `fired`, `load` and `loaded` are C functions. Nothing here is imported by a statement, and as far as Python
# allows it, nothing is looked up in modules that the script can change. Where the script can still change
# something, it changes only its own run. The methods that are called belong to the script or to a library and
# may do anything; the limits of the run hold for them too.

METHODS = (
    ("_repr_html_", "text/html"),
    ("_repr_markdown_", "text/markdown"),
    ("_repr_svg_", "image/svg+xml"),
    ("_repr_png_", "image/png"),
    ("_repr_jpeg_", "image/jpeg"),
    ("_repr_pdf_", "application/pdf"),
    ("_repr_latex_", "text/latex"),
    ("_repr_json_", "application/json"),
    ("_repr_javascript_", "application/javascript"),
)
CANARY = "_ipython_canary_method_should_not_exist_"


def attempt(what, function, *arguments):
    """Returns the call's value, or None if it raised: then the traceback is printed. An exception that
    ends the run is raised again."""
    before = fired()
    try:
        return function(*arguments)
    except NotImplementedError:
        return None
    except Exception as error:
        if fired() != before or isinstance(error, MemoryError):
            raise
        explain(what, error)
        return None


def attribute(obj, name):
    """Returns the attribute, or None. An exception of the lookup is not reported."""
    before = fired()
    try:
        return getattr(obj, name, None)
    except Exception as error:
        if fired() != before or isinstance(error, MemoryError):
            raise
        return None


def method_of(obj, name):
    if isinstance(obj, type):
        return None
    method = attribute(obj, name)
    return method if callable(method) else None


def answers_to_anything(obj):
    """True for an object that has every attribute, like a mock. Its representations mean nothing."""
    return attribute(obj, CANARY) is not None


def split_metadata(value):
    if isinstance(value, tuple) and len(value) == 2:
        return value
    return value, None


def type_name(obj):
    return type(obj).__name__


def ask(obj, name, *arguments):
    """Calls the method of this name. Returns data and metadata."""
    method = method_of(obj, name)
    if method is None:
        return None, None
    return split_metadata(attempt("%s of %s" % (name, type_name(obj)), method, *arguments))


def ask_bundle(obj, data, metadata):
    method = method_of(obj, "_repr_mimebundle_")

    def call():
        bundle, about = split_metadata(method(include=None, exclude=None))
        data.update(bundle or {})
        metadata.update(about or {})
    if method is not None:
        attempt("_repr_mimebundle_ of " + type_name(obj), call)


def rich_forms(obj):
    """Returns all forms except plain text: a dict of data by MIME type, and one of metadata."""
    data, metadata = {}, {}
    for matches, form in FORMATTERS:
        if matches(obj):
            attempt(type_name(obj), form, obj, data, metadata)
    if answers_to_anything(obj):
        return data, metadata
    ask_bundle(obj, data, metadata)
    for name, mime in METHODS:
        # One picture is enough, so a PNG makes the JPEG unnecessary.
        if mime in data or (mime == "image/jpeg" and "image/png" in data):
            continue
        value, about = ask(obj, name)
        if value is not None:
            data[mime] = value
            if about:
                metadata[mime] = about
    return data, metadata


def to_bytes(mime, value):
    """Returns the data of one form as the bytes that the host expects."""
    kind = mime_kind(mime)
    if kind == "json":
        if mime == "application/json" and isinstance(value, str):
            try:
                value = load("json").loads(value)
            except ValueError:
                pass
        return encode(value, "records", None).encode("utf-8")
    if kind == "text":
        if isinstance(value, (bytes, bytearray)):
            return bytes(value)
        return str.encode(value, "utf-8", "backslashreplace")
    if isinstance(value, str):
        return from_base64(value)
    return bytes(memoryview(value))


def from_base64(text):
    binascii = load("binascii")
    text = "".join(text.split())
    data = binascii.a2b_base64(text + "=" * (-len(text) % 4))
    # a2b_base64 skips characters that are not base64, so the result is compared with the input.
    if binascii.b2a_base64(data, newline=False).decode("ascii").rstrip("=") != text.rstrip("="):
        raise ValueError("not base64")
    return data


def wanted(mime, include, exclude):
    return (include is None or mime in include) and (exclude is None or mime not in exclude)


def publish(data, metadata, last, include=None, exclude=None):
    forms = []
    for mime, value in data.items():
        if not wanted(mime, include, exclude):
            continue
        if not isinstance(mime, str) or mime_kind(mime) is None:
            notice("a display has no form %.100r: that is no MIME type" % (mime,))
            continue
        form = attempt("the data of %s" % mime, to_bytes, mime, value)
        if form is not None:
            forms.append((mime, form))
    about = attempt("metadata", encode, metadata, "records", None) if metadata else None
    if forms:
        send(forms, (about or "").encode("utf-8"), last)


def display(*objects, include=None, exclude=None, metadata=None, raw=False, **ignored):
    """Show objects by their richest forms: HTML, images, and their repr as text."""
    for obj in objects:
        if raw:
            publish(dict(obj), metadata, False, include, exclude)
            continue
        data, about = rich_forms(obj)
        if "text/plain" not in data:
            text = attempt("__repr__ of " + type_name(obj), repr, obj)
            if text is not None:
                data["text/plain"] = text
        if metadata:
            about.update(metadata)
        publish(data, about, False, include, exclude)


def last_value(obj, text):
    """Shows the value of the last expression if it has another form than `text`, its repr."""
    data, metadata = rich_forms(obj)
    if data:
        data.setdefault("text/plain", text)
        publish(data, metadata, True)
