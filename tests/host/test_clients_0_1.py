"""The clients of version 0.1, with the tests that were released with them, work with this program and its servers.

They come from the history. The Java client's tests that need Spring or an agent framework are left out, and so are
the Python client's."""
import glob
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree

import pytest

from conftest import BUILD, ROOT

RELEASE = "ce7ca67"             # 0.1.0
PROGRAM = os.path.abspath(BUILD) + "/pyexec"

# Tests of 0.1 for behaviour that was changed on purpose since then: name → reason. There are none yet.
PYTHON_CHANGED = {}
JAVA_CHANGED = {}
# Its fixture also counts processes that a server of other tests starts for its pool. So it runs alone.
ALONE = "tests/test_client.py::test_a_server_that_is_not_there_ran_nothing"


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Returns the folder with the released files."""
    if os.environ.get("SANITIZE"):
        pytest.skip("the plain build runs them")
    folder = tmp_path_factory.mktemp("released")
    archive = subprocess.run(["git", "-C", ROOT, "archive", RELEASE, "java", "python", "tests"], capture_output=True)
    if archive.returncode != 0:
        pytest.skip("the history of 0.1 is not here (a shallow clone or an archive): " + archive.stderr.decode(errors="replace").strip())
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def test_the_python_client_of_0_1(released):
    made = subprocess.run([ROOT + "/tools/python-venv.sh", BUILD], capture_output=True, text=True)
    if made.returncode == 77:
        pytest.skip("the client's packages can't be had: " + made.stderr[-300:])
    python = made.stdout.strip()
    # The client that is installed in the environment is the new one.
    environment = dict(os.environ, PYEXEC_BUILD=os.path.abspath(BUILD), PYTHONPATH=str(released / "python" / "src"))
    where = subprocess.run([python, "-c", "import pyexec; print(pyexec.__file__)"], env=environment, capture_output=True, text=True, check=True).stdout
    assert where.startswith(str(released)), where
    deselected = [part for name in [ALONE, *PYTHON_CHANGED] for part in ("--deselect", name)]
    for least, chosen in ((50, [*deselected, "tests/test_client.py", "tests/test_aio.py"]), (1, [ALONE])):
        done = subprocess.run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", "--tb=short", *chosen],
                              cwd=released / "python", env=environment, capture_output=True, text=True)
        passed = re.search(r"(\d+) passed", done.stdout)
        assert done.returncode == 0 and int(passed.group(1)) >= least, done.stdout[-5000:] + done.stderr[-1000:]


def java_results(folder):
    """Returns test → "ok" or the failure."""
    results = {}
    for path in glob.glob(str(folder / "**" / "surefire-reports" / "TEST-*.xml"), recursive=True):
        for case in xml.etree.ElementTree.parse(path).iter("testcase"):
            problem = [part for part in case if part.tag in ("failure", "error")]
            if not [part for part in case if part.tag == "skipped"]:
                results[case.get("classname").rpartition(".")[2] + "." + case.get("name")] = (problem[0].text or "failed")[:1500] if problem else "ok"
    return results


def test_the_java_client_of_0_1(released):
    if not shutil.which("mvn"):
        pytest.skip("there is no Maven")
    done = subprocess.run(["mvn", "-q", "-B", "-f", str(released / "java"), "-pl", "ali-langengine-pyexecutor", "test", "-Dpyexec.bundle.skip=true",
                           "-Dpyexec.executable=" + PROGRAM, "-Dpyexec.server=" + PROGRAM, "-Dtest=CallsTest,ParityTest,SessionTest"],
                          capture_output=True, text=True)
    results = java_results(released / "java")
    if not results and "Could not transfer" in done.stdout:
        pytest.skip("the client's packages can't be had: " + done.stdout[-300:])
    failed = {name: problem for name, problem in results.items() if problem != "ok" and name not in JAVA_CHANGED}
    assert failed == {} and len(results) >= 40, (failed, done.stdout[-3000:])
