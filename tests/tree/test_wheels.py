# SPDX-License-Identifier: Apache-2.0
"""The wheels of tools/wheels.sh, installed as a user does: an ordinary user, in a home that nobody else may enter, without a
network."""
import json
import os
import re
import shutil
import subprocess
import tempfile
import zipfile

import pytest

from conftest import ORDINARY, ROOT
from secret_site import VALUE, operator, shown

RUNTIME = "pyexec_runtime-0.1.0-py3-none-manylinux_2_31_x86_64.whl"
MUSL = "pyexec_runtime-0.1.0-py3-none-musllinux_1_2_x86_64.whl"
CLIENT = "pyexec_client-0.1.0-py3-none-any.whl"
SIX_TIMES_SEVEN = "from pyexec import Pyexec\nwith Pyexec() as px: print(px.execute_once('6*7').last_value_repr)"


@pytest.fixture(scope="module")
def wheels():
    if os.environ.get("SANITIZE"):
        pytest.skip("wheels are not built with sanitizers; the plain build makes them")
    folder = tempfile.mkdtemp(prefix="pyexec-test-")
    done = subprocess.run([ROOT + "/tools/wheels.sh", "--without-server", folder], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    os.chmod(folder, 0o755)
    yield folder
    shutil.rmtree(folder)


class User:
    """Somebody with a home of mode 0700, and a virtual environment there."""

    def __init__(self, uid):
        self.uid = uid
        self.home = tempfile.mkdtemp(prefix="pyexec-test-")
        os.chown(self.home, uid, uid)
        os.chmod(self.home, 0o700)
        self.bin = self.home + "/venv/bin"

    def run(self, *command, **environment):
        environment = dict({"HOME": self.home, "PATH": self.bin + ":/usr/bin:/bin", "TMPDIR": self.home}, **environment)
        other = {} if self.uid == os.getuid() else {"user": self.uid, "group": self.uid, "extra_groups": []}
        return subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True, timeout=300,
                              stdin=subprocess.DEVNULL, **other)

    def output(self, *command, **environment):
        done = self.run(*command, **environment)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def user(wheels):
    user = User(ORDINARY if os.getuid() == 0 else os.getuid())
    try:
        user.output("/usr/bin/python3", "-m", "venv", user.home + "/venv")
        user.output("pip", "install", "-q", "--no-index", "%s/%s" % (wheels, RUNTIME), "%s/%s" % (wheels, CLIENT))
        yield user
    finally:
        shutil.rmtree(user.home)


def test_a_run_needs_nothing_but_the_two_wheels(user):
    assert user.output("python3", "-c", SIX_TIMES_SEVEN) == "42\n"


def test_the_command_is_on_the_path_of_the_environment(user):
    assert user.run("pyexec", "run", "-c", "print(6 * 7)").stdout == "42\n"
    assert json.loads(user.output("pyexec", "run", "--json", "-c", "6 * 7"))["last_value_repr"] == "42"
    report = user.run("pyexec", "doctor")
    assert report.returncode == 0, report.stdout + report.stderr
    assert user.run("pyexec", "run", "-c", "1 / 0").returncode == 1


def test_a_script_reaches_an_allowed_host_and_uses_a_secret_there(user):
    """The proxy in the wheel, with its own TLS."""
    with operator(user.uid) as place:
        site = place.site()
        code = ("import os, urllib.request\nrequest = urllib.request.Request('https://%s/', headers={'Authorization': os.environ['API_KEY']})\n"
                "(urllib.request.urlopen(request).headers['X-Echo'], os.environ['API_KEY'])" % site.host)
        run = ("pyexec", "run", "--json", "--any-import", "--timeout", "60s", "--cpu-time-seconds", "50", "--allow-host", site.host, "-c")
        result = json.loads(user.output(*run, code, **place.settings(api_key=(site.host, VALUE))))
        assert result["status"] == "ok", (result["error_repr"], result["denials"])
        echoed, placeholder = eval(result["last_value_repr"])
        assert echoed == "Bearer " + shown(placeholder) and site.got("/") == "Bearer " + VALUE
        denied = json.loads(user.output(*run, "import urllib.request\nurllib.request.urlopen('https://evil.example/')"))
        assert [denial["what"] for denial in denied["denials"]] == ["request to evil.example:443"], denied
        site.close()


def test_the_command_ends_as_the_program_does_when_nobody_reads_its_output(user):
    code = ("import subprocess, sys\nrun = subprocess.Popen(['pyexec', 'policy', '--markdown'], stdout=subprocess.PIPE)\n"
            "run.stdout.close()\nsys.exit(0 if run.wait() == -13 else 1)")
    user.output("python3", "-c", code)


def test_the_program_of_an_option_or_variable_comes_before_the_installed_one_and_that_before_the_path(user):
    other = user.home + "/other"
    os.mkdir(other)
    with open(other + "/pyexec", "w") as file:
        file.write("#!/bin/sh\nexit 7\n")
    os.chmod(other + "/pyexec", 0o755)
    assert user.output("python3", "-c", SIX_TIMES_SEVEN, PATH="%s:%s:/usr/bin:/bin" % (other, user.bin)) == "42\n"
    assert "ended with 7" in user.run("python3", "-c", SIX_TIMES_SEVEN, PYEXEC=other + "/pyexec").stderr
    named = SIX_TIMES_SEVEN.replace("Pyexec()", "Pyexec(program='%s/pyexec')" % other)
    assert "ended with 7" in user.run("python3", "-c", named).stderr


@pytest.mark.parametrize("system, machine, needed", [("linux", "x86_64", True), ("linux", "aarch64", True), ("linux", "riscv64", False),
                                                     ("darwin", "x86_64", False), ("darwin", "arm64", False), ("win32", "AMD64", False)])
def test_the_client_asks_for_the_program_only_where_there_is_a_wheel_of_it(user, system, machine, needed):
    code = ("import sys, importlib.metadata as metadata\nfrom pip._vendor.packaging.requirements import Requirement\n"
            "found = [Requirement(line) for line in metadata.requires('pyexec-client') if line.startswith('pyexec-runtime')]\n"
            "assert len(found) == 1 and str(found[0].specifier) == '==' + metadata.version('pyexec-client')\n"
            "print(found[0].marker.evaluate({'sys_platform': sys.argv[1], 'platform_machine': sys.argv[2]}))")
    assert user.output("python3", "-c", code, system, machine).strip() == str(needed)


@pytest.mark.parametrize("platform", ["win_amd64", "macosx_14_0_arm64", "musllinux_1_2_x86_64"])
def test_no_other_platform_gets_the_program(user, wheels, platform):
    arguments = ("pip", "download", "-q", "--no-index", "--no-deps", "--only-binary", ":all:", "--find-links", wheels, "-d", user.home + "/got",
                 "pyexec-runtime", "--platform")
    refused = user.run(*arguments, platform)
    assert refused.returncode != 0 and "No matching distribution" in refused.stderr
    assert user.run(*arguments, "manylinux_2_31_x86_64").returncode == 0


def test_there_is_one_wheel_of_each_and_no_source_distribution(wheels):
    assert sorted(os.listdir(wheels)) == sorted([RUNTIME, CLIENT])


def test_the_tag_is_what_auditwheel_finds(wheels):
    tools = os.environ.get("PYEXEC_WHEEL_BUILD", ROOT + "/build-wheels") + "/tools/bin"
    shown = subprocess.run([tools + "/auditwheel", "show", "%s/%s" % (wheels, RUNTIME)], capture_output=True, text=True, timeout=120,
                           env=dict(os.environ, PATH="%s:/usr/bin:/bin" % tools))
    words = shown.stdout.replace("\n", " ")
    found = words.split("platform tag: \"manylinux_")[1].split("_x86_64")[0]
    assert shown.returncode == 0 and tuple(map(int, found.split("_"))) <= (2, 31), shown.stdout + shown.stderr


def test_the_same_tree_makes_the_same_wheels(wheels):
    again = tempfile.mkdtemp(prefix="pyexec-test-")
    try:
        done = subprocess.run([ROOT + "/tools/wheels.sh", "--without-server", again], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        for name in (RUNTIME, CLIENT):
            with open("%s/%s" % (wheels, name), "rb") as one, open("%s/%s" % (again, name), "rb") as other:
                assert one.read() == other.read(), name
    finally:
        shutil.rmtree(again)


@pytest.fixture(scope="module")
def musl_wheels(wheels):
    folder = tempfile.mkdtemp(prefix="pyexec-test-")
    done = subprocess.run([ROOT + "/tools/wheels.sh", "--without-server", "--musl", folder], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    os.chmod(folder, 0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_system_with_musl_gets_its_own_wheel(user, musl_wheels):
    assert sorted(os.listdir(musl_wheels)) == sorted([MUSL, CLIENT])
    arguments = ("pip", "download", "-q", "--no-index", "--no-deps", "--only-binary", ":all:", "--find-links", musl_wheels, "-d", user.home + "/musl",
                 "pyexec-runtime", "--platform")
    assert user.run(*arguments, "manylinux_2_31_x86_64").returncode != 0
    assert user.run(*arguments, "musllinux_1_2_x86_64").returncode == 0 and os.listdir(user.home + "/musl") == [MUSL]


def test_the_program_of_the_wheel_for_musl_is_static_and_has_the_guest_for_musl(musl_wheels, open_folder):
    with zipfile.ZipFile("%s/%s" % (musl_wheels, MUSL)) as wheel:
        wheel.extractall(open_folder)
    program = open_folder / "pyexec_runtime" / "program"
    guest = "pyexec_guest_musl.abi3.so"
    needs = {name: re.findall(r"NEEDED.*\[(.*)\]", subprocess.run(["readelf", "-dW", program / name], capture_output=True, text=True, check=True).stdout)
             for name in os.listdir(program)}
    assert needs == {"pyexec": [], "pyexec-launch": [], "pyexec-egress": [], guest: ["libc.so"]}


def test_the_program_in_the_wheel_is_executable_and_has_its_licence(wheels):
    with zipfile.ZipFile("%s/%s" % (wheels, RUNTIME)) as wheel:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in wheel.infolist()}
    assert {modes["pyexec_runtime/program/" + name] for name in ("pyexec", "pyexec-launch", "pyexec-egress")} == {0o755}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in modes)


def test_without_the_program_the_client_says_that_it_is_remote_only(user):
    code = ("import sys\nfrom pyexec import Pyexec, ProgramNotFoundError\nsys.platform = sys.argv[1]\nsys.modules['pyexec_runtime'] = None\n"
            "try: Pyexec().start()\nexcept ProgramNotFoundError as failure: print(failure.hint)")
    for system in ("darwin", "win32"):
        hint = user.output(user.bin + "/python3", "-c", code, system, PATH="/usr/bin:/bin")
        assert "Linux only" in hint and "remote only" in hint and "Pyexec.connect(" in hint
    hint = user.output(user.bin + "/python3", "-c", code, "linux", PATH="/usr/bin:/bin")
    assert "pyexec-runtime" in hint and "remote only" in hint
