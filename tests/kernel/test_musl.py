"""CPython for musl (tools/musl-python.sh): the core of the suite with it, and the wheel and the npm package for musl in a tree without a file of glibc."""
import glob
import os
import shutil
import subprocess
import tempfile

import pytest

import musl_tree
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
    output(ROOT + "/tools/wheels.sh", "--musl", folder, timeout=1800)
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


def run_steps(tree, user):
    os.chown(tree / "home", user, user)
    output(*musl_tree.command(tree, user), timeout=600)


def make_tree(folder, python, steps, musl):
    """`musl`: 1.2.3 is that of Debian 12, 1.2.5 that of Debian 13."""
    libc = glob.glob("/usr/lib/*-linux-musl/libc.so")[0] if musl == "1.2.3" else output(ROOT + "/tools/musl-library.sh", BUILD + "/musl-library").strip()
    musl_tree.make(folder, os.uname().machine, python, libc, shutil.which("busybox"), steps)


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes a tree in which two users work")
@pytest.mark.parametrize("musl", ["1.2.3", "1.2.5"])
@pytest.mark.parametrize("user", [0, ORDINARY])
def test_the_wheel_works_where_no_file_is_of_glibc(python, wheels, open_folder, user, musl):
    make_tree(open_folder, python, musl_tree.WHEEL, musl)
    shutil.copytree(wheels, open_folder / "wheels")
    os.chmod(open_folder / "wheels", 0o755)
    run_steps(open_folder, user)


@pytest.fixture(scope="module")
def packages():
    folder = tempfile.mkdtemp(prefix="pyexec-test-")
    output(ROOT + "/tools/npm-package.sh", folder, BUILD, timeout=900)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes a tree in which two users work")
@pytest.mark.parametrize("user", [0, ORDINARY])
def test_npm_takes_the_package_for_musl_and_it_works(python, packages, open_folder, user):
    make_tree(open_folder, python, musl_tree.NPM, "1.2.5")
    musl_tree.add_node(open_folder, os.uname().machine)
    shutil.copytree(packages, open_folder / "npm")
    os.chmod(open_folder / "npm", 0o755)
    run_steps(open_folder, user)
