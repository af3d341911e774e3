# SPDX-License-Identifier: Apache-2.0
"""Lines of a notebook that are IPython and not Python: `%magic`, `%%magic`, `!command`, `x = !command` and `name?`. The
session's compiler finds these lines, because a line inside a string can begin with % too. No code is parsed in this process."""
from __future__ import annotations

import re
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Callable, Optional

# Magics that do nothing here. The value is the reason, for the note to the user.
HARMLESS = {
    "matplotlib": "figures are shown anyway", "pylab": "import numpy and matplotlib.pyplot yourself; figures are shown anyway",
    "config": "there is no IPython to configure", "load_ext": "there are no extensions", "reload_ext": "there are no extensions",
    "unload_ext": "there are no extensions", "autoreload": "restart the kernel to load changed modules",
    "xmode": "tracebacks have one form", "colors": "the front end chooses colours", "precision": "use numpy.set_printoptions()",
    "pprint": "values are shown by their repr", "autosave": "the front end saves the notebook", "logstop": "there is no log",
}
ALONE = ("fork", "switch", "sessions", "undo")      # commands.py
INSTALLERS = ("pip", "conda", "mamba", "uv", "poetry")
NO_INSTALLING = ("Nothing can be installed from a notebook. Leave the line out; install the package for the interpreter of the "
                 "kernel (python -m pyexec.jupyter install --set python_bin=PATH).")
NO_SHELL = "A sandbox starts no programs. Use Python instead: os.listdir(), open(), shutil."
NO_NEGATION = " Or, if %s is a name of yours: Python negates it with `not %s`."
NO_SEARCH = "Use dir() and a comprehension: [name for name in dir(obj) if 'part' in name]."
KNOWN = ("This kernel knows %time, %%time, %timeit and %%timeit, %fork, %switch, %sessions and %undo, and ignores %matplotlib and the like. name? shows the signature "
         "and the docstring of name, name?? its source.")

LINE = re.compile(r"(?P<indent>[ \t]*)(?P<target>(?:(?:[^=!%#?]+=)+[ \t]*)?)(?P<sign>%|!)(?P<rest>.*)\Z")
# IPython accepts these names: dotted, with numbers as indices.
HELP = re.compile(r"(?P<indent>[ \t]*)(?P<before>\?{0,2})[ \t]*(?P<name>%{0,2}[\w*]*(?:\.[\w*]+|\[-?\d+\])*)(?P<after>\?{0,2})[ \t;]*\Z")
CELL = re.compile(r"\s*%%(?P<name>\w*)[ \t]*(?P<line>[^\n]*)(?:\n|\Z)")
MAY_HAVE_MAGIC = re.compile(r"^[ \t]*[%!?]|=[ \t]*[%!]|\?[ \t;]*$", re.M)

# Runs in the session before a cell that needs it. It adds functions to the builtins, as IPython does for its magics.
HELPERS = '''
def value_of(source, names):
    try:
        code = compile(source, "<timed>", "eval")
    except SyntaxError:
        exec(compile(source, "<timed>", "exec"), names)
    else:
        return eval(code, names)

def span(seconds):
    for unit, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit:
            return "%.3g %s" % (seconds / unit, name)
    return "%.3g ns" % (seconds * 1e9)

def measure(source, names):
    import time
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        return value_of(source, names)
    finally:
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print("CPU time: %s\\nWall time: %s" % (span(cpu), span(wall)))

def repeat(source, setup, names, loops, runs):
    import timeit
    timer = timeit.Timer(source, setup or "pass", globals=names)
    loops = loops or timer.autorange()[0]
    times = [total / loops for total in timer.repeat(runs, loops)]
    mean = sum(times) / runs
    deviation = (sum((each - mean) ** 2 for each in times) / runs) ** 0.5
    print("%s ± %s per loop (mean ± std. dev. of %d runs, %s loops each)" % (span(mean), span(deviation), runs, format(loops, ",")))

def first(*attempts):
    for attempt in attempts:
        try:
            found = attempt()
        except Exception:       # of the object's own methods, too
            continue
        if found:
            return found

def signature_of(obj, name):
    def by_inspect():
        import inspect
        return inspect.signature(obj)
    if callable(obj):
        signature = first(by_inspect, lambda: obj.__text_signature__)
        return (first(lambda: str(obj.__name__)) or name.rpartition(".")[2]) + str(signature) if signature else None

def documentation_of(obj):
    def by_inspect():
        import inspect
        return inspect.getdoc(obj)
    return first(by_inspect, lambda: obj.__doc__)

def source_of(obj):
    def by_inspect():
        import inspect
        return inspect.getsource(obj)
    return first(by_inspect)

def describe(obj, name, with_source):
    signature, source = signature_of(obj, name), source_of(obj) if with_source else None
    yield "Signature: %s" % signature if signature else None
    yield "Type: %s" % type(obj).__name__
    if not callable(obj) and not isinstance(obj, type(builtins)):
        value = first(lambda: repr(obj)) or ""
        yield "Value: %s" % (value if len(value) <= 300 else value[:300] + "…")
    if source:
        yield "Source:\\n%s" % source.rstrip()
    else:
        yield "Docstring:\\n%s" % (documentation_of(obj) or "none")

def tell(name, names, with_source=False, say_missing=True):
    try:
        obj = eval(name, names)
    except Exception:
        if say_missing:
            print("There is no %s in this session." % name)
    else:
        print("\\n".join(filter(None, describe(obj, name, with_source))))

builtins._pyexec_time, builtins._pyexec_timeit, builtins._pyexec_help = measure, repeat, tell
'''
HELPERS_CODE = "exec(%r, {'builtins': __builtins__})" % HELPERS


class UsageError(Exception):
    """Raised for a line that can't work here. The message says why, and what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass
class Cell:
    """A cell converted to Python. Its lines keep their numbers."""

    code: str
    timed: bool = False             # True for %%time: the times that the host measured are shown after the output
    needs_helpers: bool = False
    notes: list[str] = field(default_factory=list)


def failing_line_code(code: str) -> str:
    """Prints the number of the line at which this code stops being Python. Top-level await counts as
    Python."""
    return "try: compile(%r, '<cell>', 'exec', 0x2000)\nexcept SyntaxError as error: print(error.lineno)" % code


def help_code(name: str, with_source: bool) -> str:
    """Prints help for this name of the session, or nothing when the name does not exist."""
    return "%s\n__builtins__._pyexec_help(%r, globals(), %r, False)" % (HELPERS_CODE, name, with_source)


def _refuse(sign: str, rest: str) -> UsageError:
    words = rest.split()
    line = (sign + rest).strip()[:80]
    if words and (words[0].strip("!%") in INSTALLERS or words[:3] == ["python", "-m", "pip"]):
        return UsageError("%s: nothing can be installed" % line, NO_INSTALLING)
    if sign == "!" or (words and words[0] in ("bash", "sh", "script", "sx", "system", "%bash", "%sh")):
        return UsageError("%s: no shell command can run" % line, NO_SHELL)
    if words and words[0] in ALONE:
        return UsageError("%s: must be alone in its cell" % line, "Put it into a cell of its own, without a comment.")
    return UsageError("%s: this magic is not known" % line, KNOWN)


def _timeit_call(line: str, body: Optional[str]) -> str:
    found = re.match(r"((?:-[a-z]+\s*\d*\s*)*)(.*)\Z", line, re.S)
    options, statement = found.groups() if found is not None else ("", line)
    numbers = {name: int(value) for name, value in re.findall(r"-([nr])\s*(\d+)", options)}
    source, setup = (statement, "") if body is None else (body, statement)
    return "_pyexec_timeit(%r, %r, globals(), %d, %d)" % (source, setup, numbers.get("n", 0), max(1, min(numbers.get("r", 7), 100)))


def _magic_as_python(cell: Cell, target: str, sign: str, rest: str) -> str:
    name, _, line = rest.strip().partition(" ")
    if sign == "%" and name in HARMLESS:
        cell.notes.append("pyexec: %%%s does nothing here: %s\n" % (rest.strip()[:80], HARMLESS[name]))
        return "None" if target else "pass"
    if sign == "%" and name in ("time", "timeit") and line.strip():
        cell.needs_helpers = True
        return "_pyexec_time(%r, globals())" % line.strip() if name == "time" else _timeit_call(line.strip(), None)
    failure = _refuse(sign, rest)
    if target and sign == "!" and name.isidentifier():
        failure.hint += NO_NEGATION % (name[:80], name[:80])
    raise failure


def _help_as_python(cell: Cell, name: str, with_source: bool) -> str:
    if not name or name.startswith("%"):
        cell.notes.append("pyexec: %s\n" % KNOWN)
        return "pass"
    if "*" in name:
        raise UsageError("%s?: names can't be searched for" % name[:80], NO_SEARCH)
    cell.needs_helpers = True
    return "_pyexec_help(%r, {**globals(), **locals()}, %r)" % (name, with_source)


def _line_as_python(cell: Cell, line: str) -> Optional[str]:
    """Returns the line as Python, or None when it is not a line of IPython."""
    found = LINE.match(line)
    if found is not None and not (found["sign"] == "%" and line.rstrip().endswith("?")):
        return found["indent"] + found["target"] + _magic_as_python(cell, found["target"], found["sign"], found["rest"])
    found = HELP.match(line)
    if found is not None and (found["before"] or found["after"]):
        return found["indent"] + _help_as_python(cell, found["name"], "??" in (found["before"], found["after"]))
    return None


def _whole_cell(code: str) -> Cell:
    """Returns the cell without the %%magic in its first line."""
    found = CELL.match(code)
    if found is None or code.rstrip().endswith("?") and "\n" not in code.strip():
        return Cell(code)
    name, line, body = found["name"], found["line"], code[found.end():]
    if name == "time":
        return Cell("\n" * found.group().count("\n") + body, timed=True)
    if name == "timeit":
        return Cell(_timeit_call(line, body), needs_helpers=True)
    raise _refuse("%%", name + " " + line)


async def as_python(code: str, ask: Callable[[str], Awaitable[str]]) -> Cell:
    """Converts a cell to Python. Raises UsageError for a line that can't work here. `ask` runs code in the session and returns
    its output."""
    cell = _whole_cell(code)
    for _ in MAY_HAVE_MAGIC.findall(cell.code):
        number = (await ask(failing_line_code(cell.code))).strip()
        lines = cell.code.split("\n")
        at = int(number) - 1 if number.isdecimal() and len(number) < 9 else -1
        line = _line_as_python(cell, lines[at]) if 0 <= at < len(lines) else None
        if line is None:
            break
        lines[at] = line
        cell.code = "\n".join(lines)
    return cell


def span(milliseconds: float) -> str:
    return "%.3g s" % (milliseconds / 1000) if milliseconds >= 1000 else "%.3g ms" % milliseconds
