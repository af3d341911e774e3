"""CPython for musl (tools/musl-python.sh): the core of the suite with it, and the wheel for musl in a tree without a file of glibc."""
import glob
import os
import shutil
import subprocess
import tempfile

import pytest

from conftest import BUILD, MUSL_GUEST, ORDINARY, PARTS, ROOT

# The tests without the guard are left out: tools/bundle.sh builds no such guest.
CORE = ["run/test_runs.py", "run/test_limits.py", "run/test_files.py", "session/test_sessions.py", "kernel/test_branches.py", "fronts/test_rpc_tools.py",
        "kernel/test_kernel.py"]


def output(*command, **keywords):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **keywords)
    assert done.returncode == 0, (command, done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout


@pytest.fixture(scope="module")
def python():
    if not os.environ.get("PYEXEC_NIGHTLY"):
        pytest.skip("CPython for musl takes minutes to build: make nightly, or PYEXEC_NIGHTLY=1")
    if os.environ.get("SANITIZE"):
        pytest.skip("the guest and the artifacts are built without sanitizers; the plain build tests them")
    if not shutil.which("musl-gcc"):
        pytest.skip("needs musl-gcc (Debian: musl-tools)")
    output(ROOT + "/tools/musl-python.sh", BUILD + "/musl-python", timeout=3000)
    return BUILD + "/musl-python/python"


@pytest.fixture(scope="module")
def wheels(python):
    folder = tempfile.mkdtemp(prefix="pyexec-test-")
    output(ROOT + "/tools/wheels.sh", "--musl", folder, timeout=900)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("file", CORE)
def test_the_core_holds_with_musl(python, wheels, open_folder, file):
    for name in PARTS + glob.glob("pyexec-*", root_dir=BUILD):
        if os.path.isfile(os.path.join(BUILD, name)):
            shutil.copy(os.path.join(BUILD, name), open_folder)
    output("unzip", "-q", "-j", *glob.glob(wheels + "/pyexec_runtime-*"), "*/" + MUSL_GUEST, "-d", open_folder)
    shutil.copytree(python, open_folder / "python")
    environment = dict(os.environ, PYEXEC_BUILD=str(open_folder), PYEXEC_POLICY_PYTHON_BIN=str(open_folder / "python" / "bin" / "python3"))
    print(output("/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not unguarded", ROOT + "/tests/" + file, env=environment, timeout=1800))


# Runs in the tree, by its Python, which is for musl.
STEPS = """import os, subprocess, sys
user = int(sys.argv[1])
os.setgroups([]); os.setgid(user); os.setuid(user)
os.chdir("/home")
os.environ.clear()
os.environ.update(PATH="/home/venv/bin:/python/bin:/bin", HOME="/home")
def out(*command, **keywords): return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **keywords).stdout
out("python3", "-m", "venv", "/home/venv")
out("/bin/sh", "-c", "pip install -q --no-index /wheels/*.whl")
assert out("python3", "-c", "from pyexec import Pyexec; print(Pyexec().execute_once('6*7').last_value_repr)") == "42\\n"
assert out("pyexec", "run", "-c", "print(6 * 7)") == "42\\n"
assert "All required layers hold." in out("pyexec", "doctor")
code = "import urllib.request; urllib.request.urlopen('http://evil.example/')"
denied = subprocess.run(["pyexec", "run", "--any-import", "--timeout", "60s", "--allow-host", "a.example", "-c", code], capture_output=True, text=True)
assert "pyexec refused evil.example:80" in denied.stderr, denied
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes a tree in which two users work")
@pytest.mark.parametrize("user", [0, ORDINARY])
def test_the_wheel_works_where_no_file_is_of_glibc(python, wheels, open_folder, user):
    for name in ("bin", "lib", "tmp", "proc", "dev", "home", "etc"):
        (open_folder / name).mkdir()
    shutil.copy(shutil.which("busybox"), open_folder / "bin" / "busybox")
    (open_folder / "bin" / "sh").symlink_to("busybox")
    libc, = glob.glob("/usr/lib/*-linux-musl/libc.so")
    shutil.copy(libc, open_folder / "lib" / ("ld-musl-%s.so.1" % os.uname().machine))
    shutil.copytree(python, open_folder / "python")
    shutil.copytree(wheels, open_folder / "wheels")
    (open_folder / "steps.py").write_text(STEPS)
    os.chmod(open_folder / "wheels", 0o755)
    os.chmod(open_folder / "tmp", 0o1777)
    os.chown(open_folder / "home", user, user)
    assert not [path for path in open_folder.rglob("*") if "ld-linux" in path.name or path.name == "libc.so.6"]
    output("bwrap", "--bind", open_folder, "/", "--dev", "/dev", "--proc", "/proc", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--die-with-parent",
           "--cap-add", "ALL", "/python/bin/python3", "/steps.py", str(user), timeout=600)
