"""Every interpreter of this machine, at every place where interpreters are installed; and those that pyexec refuses, with a message that
says what they are. `make nightly` also runs the core of the suite with each (docs/support.md has the result)."""
import glob
import json
import os
import re
import shlex
import shutil
import subprocess

import pytest

from conftest import BUILD, MUSL_GUEST, OPTIONAL, PARTS, ROOT
from debian_trees import Tree
from library import Executor, Failure
from test_arm64 import CORE

PYENV = os.path.expanduser("~/.pyenv")
BUILDS = sorted(path for path in glob.glob(PYENV + "/versions/*/bin/python3")
                if tuple(map(int, path.split("/")[-3].split(".")[:2])) >= (3, 8))
OLD = sorted(path for path in glob.glob(PYENV + "/versions/3.[0-7].*/bin/python3"))


def works(program, python, *flags):
    flags = ["--python-bin", python, *flags]
    assert program.result("6 * 7", *flags)["last_value_repr"] == "42"
    result = program.result("def f():\n    1 / 0\nf()", *flags)
    assert result["error"]["line"] == 2 and result["error"]["traceback"].count("<cell>") == 2
    assert "import 'os' not allowed" in program.result("import os", *flags)["error_repr"]
    code = ("import sqlite3, hashlib, json, ssl, ctypes, decimal, zoneinfo\n" if "3.8." not in python else "import sqlite3, ssl\n") + \
        "open('x', 'w').write('data')\nopen('x').read()"
    assert program.result(code, "--any-import", "--files", "full", *flags)["last_value_repr"] == "'data'"


def test_debians_python(pyexec):
    works(pyexec, "/usr/bin/python3")


@pytest.mark.skipif(not BUILDS, reason="no pyenv builds of 3.8 or later")
@pytest.mark.parametrize("python", BUILDS, ids=lambda path: str(path).split("/")[-3:][0])
def test_pyenv_build(own, python):
    works(own, python)


OPEN = {"use_import_whitelist": False, "banned_imports": [], "disable_open": False, "forkable": True, "auto_checkpoint": True, "timeout_ms": 20000,
        "cpu_time_seconds": 20}
ADD = [{"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}}]


@pytest.mark.skipif(not BUILDS, reason="no pyenv builds of 3.8 or later")
@pytest.mark.parametrize("python", BUILDS, ids=lambda path: str(path).split("/")[-3:][0])
def test_sessions_forks_tools_displays_and_limits(own, python):
    with Executor({**OPEN, "python_bin": python}) as executor:
        executor.tool = lambda params: params["arguments"]["a"] + params["arguments"]["b"]

        def value(session, code, **more):
            result = executor.call(session, code, **more)
            assert result["status"] == "ok", result
            return result["last_value_repr"]
        value("s", "import os, threading\nx = [1]\ndef f(): return x\nfor i in range(9): open('f%d' % i, 'w').close()\nfirst = os.listdir()")
        executor.fork("s", "a")
        assert value("a", "x.append(2)\nf(), os.listdir() == first") == "([1, 2], True)" and value("s", "f()") == "[1]"
        executor.call("s", "x.clear()\nos.remove('f1')")
        executor.undo("s")
        assert value("s", "f(), os.listdir() == first") == "([1], True)"
        assert value(None, "add(2, b=3)", tools=ADD) == "5"
        result = executor.call(None, "class A:\n    def _repr_html_(self): return '<b>'\ndisplay(A())\nA()")
        assert [item["data"].get("text/html") for item in result["display"]] == ["<b>", "<b>"], result
        assert executor.call(None, "while True: pass", policy={"timeout_ms": 300})["status"] == "timeout"
        assert executor.call(None, "bytearray(1 << 40)")["status"] == "memory_limit"
        most = "import threading\ne = threading.Event()\nn, x = 0, ''\ntry:\n    while n < 9: threading.Thread(target=e.wait, daemon=True).start(); n += 1\n" \
               "except RuntimeError as error: x = str(error)\ne.set()\nn, x"
        assert value(None, most, policy={"max_threads": 3}) == repr((3, "can't start new thread"))
        # A thread that starts at the limit waits for one that ends.
        again = "import threading\nfor _ in range(50):\n    for t in [threading.Thread(target=int) for _ in range(3)]: t.start(); t.join()\nt.is_alive()"
        assert value(None, again, policy={"max_threads": 2}) == "False"


# ---- Refused ----

STAND_IN = r"""
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    static char code[65536];
    snprintf(code, sizeof code, "%s\n%s", PRETEND, argv[argc - 1]);
    argv[0] = "/usr/bin/python3";
    argv[argc - 1] = code;
    execv(argv[0], argv);
    return 1;
}
"""
OTHERS = {
    "pypy for Python 3.11": "import sys, types; sys.implementation = types.SimpleNamespace(name='pypy')",
    "graalpy for Python 3.11": "import sys, types; sys.implementation = types.SimpleNamespace(name='graalpy')",
    "a free-threaded CPython 3.14": "import sys; sys.abiflags = 't'; sys.version_info = (3, 14, 2)",
    "CPython 3.7, older than 3.8": "import sys; sys.version_info = (3, 7, 9)",
}


def is_refused(error, python, name):
    assert error["code"] == "python_unsupported" and error["message"] == "python_bin: '%s' is %s, which pyexec can't use" % (python, name), error
    assert "python_bin" in error["hint"] and "CPython 3.8 to 3.15 with the GIL" in error["hint"], error


@pytest.fixture(scope="module", params=OTHERS)
def other(request, session_folder):
    """A program that answers as another interpreter. It is made of Debian's Python 3.11."""
    path = session_folder / ("other-%d" % list(OTHERS).index(request.param))
    code = OTHERS[request.param].replace('"', '\\"')
    subprocess.run(["gcc", "-w", "-x", "c", "-", "-DPRETEND=\"%s\"" % code, "-o", path], input=STAND_IN, text=True, check=True)
    os.chmod(path, 0o755)
    found = subprocess.run(["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True).stdout.strip()
    return str(path), request.param.replace("for Python 3.11", "for Python " + found)


def is_refused_by_every_front(pyexec, python, name, open_folder):
    is_refused(pyexec.error("print('it ran')", "--python-bin", python), python, name)
    os.chmod(open_folder, 0o777)
    words = ("is %s, which pyexec can't use" % name).encode(), b"CPython 3.8 to 3.15 with the GIL"
    for arguments in (["serve", "--listen", "unix:%s/s.sock" % open_folder], ["mcp"], ["repl"], ["run", "-c", "print('it ran')"]):
        done = pyexec.run(*arguments, "--python-bin", python)
        assert done.returncode and all(word in done.stderr for word in words) and b"it ran" not in done.stdout, (arguments, done)
    told = json.loads(pyexec.run("doctor", "--json", "--python-bin", python).stdout)
    assert not told["ok"] and not told["python"]["ok"]
    is_refused(told["python"]["error"], python, name)
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocol": 1, "policy": {"python_bin": python}}}
    is_refused(json.loads(pyexec.run("rpc", input=json.dumps(initialize).encode() + b"\n").stdout)["error"]["data"], python, name)


def test_another_interpreter_is_refused_by_every_front(pyexec, other, open_folder):
    is_refused_by_every_front(pyexec, *other, open_folder)


@pytest.mark.parametrize("executable", ["", "/usr/bin/python3"])
def test_another_implementation_behind_a_script_is_refused_by_every_front(pyexec, open_folder, executable):
    """GraalPy on a JVM is a script, and knows no program of its own, or names another one."""
    script = open_folder / "graalpy"
    script.write_text("""#!/bin/sh
for code; do :; done
exec /usr/bin/python3 -c "import sys, types; sys.implementation = types.SimpleNamespace(name='graalpy'); sys.executable = '%s'; sys.version_info = (3, 12, 8)
$code"
""" % executable)
    script.chmod(0o755)
    is_refused_by_every_front(pyexec, str(script), "graalpy for Python 3.12", open_folder)


def test_another_interpreter_is_refused_over_rpc(own, other):
    python, name = other
    with pytest.raises(Failure, match="python_unsupported.*is %s, which" % re.escape(name)):
        Executor({"python_bin": python})


REAL = [(shutil.which(program), name) for program, name in [
    ("pypy3", r"pypy for Python 3\.\d+"), ("graalpy", r"graalpy for Python 3\.\d+"), ("python3.13t", r"a free-threaded CPython 3\.13"),
    ("python3.14t", r"a free-threaded CPython 3\.14")] if shutil.which(program)]


@pytest.mark.skipif(not REAL, reason="no PyPy, GraalPy or free-threaded CPython in PATH")
@pytest.mark.parametrize("program, name", REAL)
def test_a_real_one_is_refused_by_every_front(own, program, name, open_folder):
    message = own.error("1", "--python-bin", program)["message"]
    found = re.search(" is (%s), which pyexec can't use" % name, message)
    assert found, message
    is_refused_by_every_front(own, program, found[1], open_folder)


@pytest.mark.skipif(not OLD, reason="no pyenv build older than 3.8")
@pytest.mark.parametrize("python", OLD, ids=lambda path: str(path).split("/")[-3:][0])
def test_too_old(own, python):
    error = own.error("1", "--python-bin", python)
    assert error["code"] == "python_unsupported" and "older than 3.8" in error["message"] and "3.8" in error["hint"]


@pytest.mark.skipif(not os.path.exists(PYENV + "/shims/python3"), reason="no pyenv shim")
def test_pyenv_shim(own):
    works(own, PYENV + "/shims/python3")


@pytest.mark.skipif(not os.path.exists(PYENV + "/shims/python3"), reason="no pyenv shim")
def test_pyenv_shim_in_path(own):
    environment = dict(os.environ, PATH=PYENV + "/shims:" + PYENV + "/bin:/usr/bin:/bin", PYEXEC_POLICY_PYTHON_BIN="python3")
    for code, value in (("6 * 7", "42"), ("import math\nmath.gcd(12, 18)", "6")):
        assert own.result(code, env=environment)["last_value_repr"] == value


@pytest.mark.skipif(os.getuid() != 0 or not BUILDS or os.stat("/root").st_mode & 0o077 != 0, reason="no interpreter hidden below a private /root")
def test_an_interpreter_hidden_from_its_user_is_named(pyexec):
    if pyexec.uid == 0:
        assert pyexec.result("6 * 7", "--python-bin", BUILDS[-1])["last_value_repr"] == "42"
    else:
        error = pyexec.error("6 * 7", "--python-bin", BUILDS[-1])
        assert error["code"] == "python_not_found" and BUILDS[-1] in error["message"] and error["hint"]


@pytest.fixture(scope="session")
def venv(session_folder):
    folder = session_folder
    subprocess.run(["/usr/bin/python3", "-m", "venv", folder / "v"], check=True, capture_output=True)
    return folder / "v"


def test_virtual_environment(pyexec, venv):
    package = venv / "lib" / ("python3.%d" % __import__("sys").version_info[1]) / "site-packages" / "mine.py"
    package.write_text("VALUE = 'from the environment'\n")
    os.chmod(package, 0o644)
    flags = ["--python-bin", str(venv / "bin" / "python3"), "--isolate-site=false", "--allow-import", "mine"]
    assert pyexec.result("import mine\nmine.VALUE", *flags)["last_value_repr"] == "'from the environment'"
    assert pyexec.result("import mine\nmine.VALUE", *flags, "--preload-imports", "mine")["status"] == "ok"
    works(pyexec, str(venv / "bin" / "python3"))


def test_virtual_environment_behind_a_link(pyexec, venv, open_folder):
    """As in deployments, current -> 2026-11 is a link. The packages read their own files by either name."""
    package = venv / "lib" / ("python3.%d" % __import__("sys").version_info[1]) / "site-packages" / "linked"
    package.mkdir()
    (package / "data.txt").write_text("data")
    (package / "__init__.py").write_text("import os\ndef data():\n    with open(os.path.join(os.path.dirname(__file__), 'data.txt')) as file: return file.read()\n"
                                         "def where(): return os.path.realpath(__file__) != __file__\n")
    (open_folder / "current").symlink_to(venv)
    flags = ["--python-bin", str(open_folder / "current" / "bin" / "python3"), "--isolate-site=false", "--allow-import", "linked"]
    for more in ([], ["--files", "full"], ["--preload-imports", "linked", "--files", "read"]):
        result = pyexec.result("import linked\nlinked.data(), linked.where()", *flags, *more)
        assert (result["last_value_repr"], result["denials"]) == ("('data', True)", []), result
    shutil.rmtree(package)


def pip(python, *packages):
    done = subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("pip can't install %s: %s" % (" ".join(packages), done.stderr.strip()[-200:]))


def test_a_package_from_pip(pyexec, venv):
    pip(venv / "bin" / "python3", "six")
    subprocess.run(["chmod", "-R", "a+rX", venv], check=True)
    flags = ["--python-bin", str(venv / "bin" / "python3"), "--allow-import", "six"]
    code = "import six\nsix.ensure_str(b'abc')"
    assert pyexec.result(code, "--isolate-site=false", *flags)["last_value_repr"] == "'abc'"
    assert "six" in pyexec.result(code, *flags)["error_repr"]      # -I -S: no site-packages


@pytest.mark.skipif(not BUILDS, reason="no pyenv builds of 3.8 or later")
def test_virtual_environment_of_a_pyenv_build(own, session_folder):
    folder = session_folder / "pyenv-venv"
    subprocess.run([BUILDS[-1], "-m", "venv", folder], check=True, capture_output=True)
    python = str(folder / "bin" / "python")
    pip(python, "six")
    works(own, python)
    result = own.result("import six\nsix.PY3", "--python-bin", python, "--isolate-site=false", "--allow-import", "six")
    assert result["last_value_repr"] == "True", result


@pytest.mark.skipif(os.getuid() != 0, reason="only root starts what another user's folder hides")
def test_python_below_a_private_home(own, venv, open_folder):
    home = open_folder / "home"
    home.mkdir()
    shutil.copytree(venv, home / "v", symlinks=True)
    for path, folders, files in os.walk(home):
        for name in [path] + [os.path.join(path, name) for name in files]:
            os.chown(name, 60124, 60124, follow_symlinks=False)
    os.chmod(home, 0o700)
    works(own, str(home / "v" / "bin" / "python3"))


# ---- The core of the suite, in the night ----

# Whole files, of which the tests of an ordinary user run, and the attacks of the core that runs on arm64.
WHOLE = ["run/test_runs.py", "run/test_limits.py", "run/test_files.py", "session/test_sessions.py", "kernel/test_branches.py",
         "fronts/test_rpc_tools.py", "kernel/test_kernel.py"]
ATTACKS = ["kernel/test_escape.py::" + name for name in CORE["test_escape.py"]]
# Makes a folder (of pyenv) below a private home one that everyone can reach, in a mount namespace of its own.
REACHABLE = """set -e; home=$1; folder=$2; kept=$3; shift 3
mkdir "$kept"; mount --bind "$folder" "$kept"; mount -t tmpfs -o mode=755 none "$home"; mkdir -p "$folder"; mount --move "$kept" "$folder"; exec "$@"
"""


def core_commands(tests, python="/usr/bin/python3"):
    """The pytest commands that run the core. `tests`: the folder."""
    pytest_command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", "--tb=short", "-rfE"]
    return [[*pytest_command, "-k", "not root and not unguarded", *(os.path.join(tests, path) for path in WHOLE)],
            [*pytest_command, *(os.path.join(tests, path) for path in ATTACKS)]]


def counts(name, output):
    """Prints how many tests passed with this interpreter, and fails if one did not."""
    found = {}
    for number, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", "\n".join(re.findall(r"^\d+ .* in [\d.]+s.*$", output, re.M))):
        found[word] = found.get(word, 0) + int(number)
    print("%s: %s" % (name, ", ".join("%d %s" % (number, word) for word, number in found.items())))
    assert found.get("passed", 0) >= 300 and set(found) <= {"passed", "skipped"}, output[-5000:]


@pytest.fixture
def night():
    if not os.environ.get("PYEXEC_NIGHTLY"):
        pytest.skip("the core with each interpreter takes many minutes: make nightly, or PYEXEC_NIGHTLY=1")
    if os.getuid() != 0 or os.environ.get("SANITIZE"):
        pytest.skip("needs root, and a build without sanitizers")


@pytest.mark.parametrize("python", ["/usr/bin/python3", *BUILDS])
def test_the_core_holds(night, python, open_folder):
    environment = {name: value for name, value in os.environ.items() if name != "PYEXEC_NIGHTLY"}
    environment.update(PYEXEC_POLICY_PYTHON_BIN=python, PYEXEC_BUILD=os.path.abspath(BUILD))
    prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", REACHABLE, "sh", os.path.expanduser("~"), PYENV, str(open_folder / "kept")]
    done = [subprocess.run([*(prefix if python in BUILDS else []), *command], env=environment, cwd="/", capture_output=True, text=True, timeout=3600)
            for command in core_commands(ROOT + "/tests")]
    counts(python, "".join(one.stdout for one in done))


@pytest.mark.parametrize("release", ["13", "sid"])
def test_the_core_holds_in_a_tree_of_debian(night, release):
    """With the C library of that Debian too: the whole suite is in the tree. sid has the newest versions of CPython. The tree is an overlay, which
    has no idmapped mounts, so temporary folders are in a tmpfs."""
    tree = Tree(release)
    try:
        shutil.copytree(ROOT + "/tests", tree.path("/src/tests"), symlinks=True)
        os.makedirs(tree.path("/src/build/tests"))
        for name in [*PARTS, *OPTIONAL, MUSL_GUEST, *(path[len(BUILD) + 1:] for path in glob.glob(BUILD + "/tests/pyexec_*"))]:
            if os.path.isfile(os.path.join(BUILD, name)):
                shutil.copy(os.path.join(BUILD, name), tree.path("/src/build/" + name))
        done = tree.run("apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-pytest gcc libc6-dev"
                        " libjansson4 libedit2 binutils $(apt-cache pkgnames python3.1 | grep -x 'python3[.][0-9]*')", user="root", network=True, timeout=900)
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
        pythons = tree.run("ls /usr/bin/python3.? /usr/bin/python3.?? 2>/dev/null").stdout.split()
        assert pythons
        for python in pythons:
            script = "mount -t tmpfs -o mode=1777 none /mnt; cd /src; export TMPDIR=/mnt PYTHONDONTWRITEBYTECODE=1 PYEXEC_BUILD=/src/build PYEXEC_POLICY_PYTHON_BIN=%s; " % python
            done = tree.run(script + "; ".join(" ".join(map(shlex.quote, command)) for command in core_commands("/src/tests")), user="root", network=True, timeout=3600)
            counts("debian-%s %s" % (release, python), done.stdout)
    finally:
        tree.close()
