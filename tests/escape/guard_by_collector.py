# goal: find what the host holds among the interpreter's objects, frames and variables
# layer: no secrets in the interpreter
# expect: contained:ok
import gc
needle = "host-only" + "-value-" + "4711"
for thing in gc.get_objects():
    if type(thing) in (dict, list, tuple, set) and thing is not globals():
        try:
            tried("found", 0) if needle in repr(thing)[:1000000] and "needle" not in repr(thing) else None
        except BaseException:
            pass
tried("environment", 0 if any(needle in value for value in os.environ.values()) else -1)
for name in ("PYEXEC_BUILD", "SHELL", "SUDO_USER", "PYEXEC_POLICY_PYTHON_BIN", "PWD"):
    tried(name, 0 if name in os.environ else -1)
tried("arguments %r" % sys.argv, -1 if sys.argv == [""] else 0)
