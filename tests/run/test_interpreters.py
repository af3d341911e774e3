"""Every interpreter of this machine, at every place where interpreters are installed."""
import glob
import os
import shutil
import subprocess

import pytest

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
