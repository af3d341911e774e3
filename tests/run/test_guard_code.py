"""Code of the script under the interpreter's file names, and native code that it loads past the import policy: the guard knows
library code by its file name, so a script must not be able to give itself one."""
import pytest

from test_interpreters import BUILDS
from test_project_folders import make_venv

# Reaches what a whitelisted module has loaded, as scripts do that walk around the import policy.
REACH = "import random, json\nsys = random._os.sys\nmodules = sys.modules\n"
OPEN = "def _find_and_load(name):\n    return open(name)\n"
NAMES = ["'<frozen importlib._bootstrap>'", "'<frozen importlib._bootstrap_external>'", "json.__file__", "modules['encodings'].__file__"]
WAYS = {
    "compile": "code = compile(source, name, 'exec')\nexec(code, names)",
    "the syntax tree": "import _ast\ncode = compile(compile(source, 'x', 'exec', 0x400), name, 'exec')\nexec(code, names)",
    "replace": "exec(source, names)\nf = names['_find_and_load']\nf.__code__ = f.__code__.replace(co_filename=name)",
    "replace, a new function": "exec(source, names)\nf = names['_find_and_load']\nnames['_find_and_load'] = type(f)(f.__code__.replace(co_filename=name), names)",
    "renamed": "code = compile(source, 'x', 'exec')\nmodules['_imp']._fix_co_filename(code, name)\nexec(code, names)",
    "marshal": "marshal = modules['marshal']\nname_bytes = name.encode()\ndata = marshal.dumps(compile(source, 'N' * len(name), 'exec'))\n"
               "exec(marshal.loads(data.replace(b'N' * len(name), name_bytes)), names)",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", WAYS)
def test_a_name_of_the_interpreter_opens_no_file(pyexec, way, name):
    code = REACH + "name = %s\nsource = %r\nnames = {}\n%s\nnames['_find_and_load'](random._os.__file__)" % (name, OPEN, WAYS[way])
    result = pyexec.result(code, "--allow-import", "_ast")
    assert result["status"] == "error", result
    assert "open() disabled" in result["error_repr"] or "interpreter's own files" in result["error_repr"], result


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", WAYS)
def test_a_name_of_the_interpreter_imports_no_module(own, way, name):
    source = "def _find_and_load(name):\n    import subprocess\n    return subprocess\n"
    code = REACH + "name = %s\nsource = %r\nnames = {}\n%s\nnames['_find_and_load']('x')" % (name, source, WAYS[way])
    result = own.result(code, "--allow-import", "_ast")
    assert result["status"] == "error", result
    assert "'subprocess' not allowed" in result["error_repr"] or "interpreter's own files" in result["error_repr"], result


def test_code_of_the_import_system_with_other_names(own):
    """Uses a function of a module, whose globals lead to open()."""
    code = REACH + """
class Modules: get = staticmethod(open)
class System: modules = Modules
bootstrap = modules['_frozen_importlib']
names = {'sys': System, '_NEEDS_LOADING': 'r', '__builtins__': __builtins__}
copy = type(bootstrap._find_and_load)(bootstrap._find_and_load.__code__, names)
copy(random._os.__file__, None)"""
    result = own.result(code)
    assert result["status"] == "error" and "open() disabled" in result["error_repr"], result


@pytest.mark.skipif(not BUILDS, reason="no pyenv builds of 3.8 or later")
@pytest.mark.parametrize("python", BUILDS, ids=lambda path: str(path).split("/")[-3:][0])
def test_each_interpreter(own, python):
    for way in WAYS:
        code = REACH + "name = '<frozen importlib._bootstrap>'\nsource = %r\nnames = {}\n%s\nnames['_find_and_load'](random._os.__file__)" % (OPEN, WAYS[way])
        result = own.result(code, "--allow-import", "_ast", "--python-bin", python)
        assert result["status"] == "error" and ("open() disabled" in result["error_repr"] or "interpreter's own files" in result["error_repr"]), (way, result)
    code = "import datetime, decimal, json, uuid, hashlib, zoneinfo" if "3.8." not in python else "import datetime, decimal, json, uuid, hashlib"
    assert own.result(code, "--any-import", "--python-bin", python)["status"] == "ok"


def test_disowned_names_are_bounded(own):
    code = REACH + """
for i in range(3000):
    compile('1', '<frozen %d>' % i, 'exec')
names = {}
exec(compile(""" + repr(OPEN) + """, '<frozen importlib._bootstrap>', 'exec'), names)
names['_find_and_load'](random._os.__file__)"""
    result = own.result(code)
    assert result["status"] == "error" and "open() disabled" in result["error_repr"], result


def test_a_library_of_c_is_not_loaded_past_the_policy(pyexec):
    """In some versions uuid has loaded ctypes for itself; here a preloaded library has loaded it."""
    code = "import random\nctypes = random._os.sys.modules['_ctypes']\nctypes.dlopen(None, 2)"
    result = pyexec.result(code, "--preload-imports", "ctypes")
    assert "native libraries can't be loaded" in result["error_repr"], result
    assert [d["layer"] for d in result["denials"]] == ["imports"] and "ctypes" in result["denials"][0]["what"]
    wrapped = "import random\nrandom._os.sys.modules['ctypes'].CDLL(None)"
    assert "native libraries can't be loaded" in pyexec.result(wrapped, "--preload-imports", "ctypes")["error_repr"]
    assert pyexec.result("import ctypes\nctypes.CDLL(None).getpid() > 0", "--allow-import", "ctypes")["last_value_repr"] == "True"


@pytest.mark.parametrize("load", [
    "modules['_imp'].create_dynamic(spec('_ctypes'))",
    "modules['_frozen_importlib']._gcd_import('_ctypes')",
    "modules['_frozen_importlib']._find_and_load('_ctypes', __import__)",
    "modules['_frozen_importlib']._load(spec('_ctypes'))",
])
def test_an_extension_is_not_loaded_past_the_policy(pyexec, load):
    code = REACH + "def spec(name): return modules['_frozen_importlib']._find_spec(name, None)\n"
    result = pyexec.result(code + load)
    assert result["status"] == "error" and ("past the import policy" in result["error_repr"] or "not allowed" in result["error_repr"]), result


def test_what_libraries_do_stays_allowed(own, open_folder):
    """A library that loads native code when it is used, compiles a template beside it, and copies its own functions."""
    python, site = make_venv(open_folder / "venv")
    (site / "lib.py").write_text("""
import os, types
HERE = os.path.dirname(os.path.abspath(__file__))
def native():
    import ctypes
    return ctypes.CDLL(None) is not None
def lazily():
    import _ctypes, _decimal
    return True
def template():
    names = {}
    exec(compile("def render():\\n    import colorsys\\n    return 'rendered'", os.path.join(HERE, 'page.html'), 'exec'), names)
    return names['render']
def helper():
    import wave
    return 'helped'
def copied():
    return types.FunctionType(helper.__code__.replace(co_name='other'), globals())
""")
    code = "import lib\nlib.native(), lib.lazily(), lib.template()(), lib.copied()(), lib.helper()"
    result = own.result(code, "--allow-import", "lib", "--python-bin", str(python), "--isolate-site=false")
    assert result["last_value_repr"] == "(True, True, 'rendered', 'helped', 'helped')" and not result["denials"], result
