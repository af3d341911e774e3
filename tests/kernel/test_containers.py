"""A container, a service manager or the kernel refuses system calls that the sandbox needs. The error and `doctor` then name
the layer and the option that makes it available, and nothing runs with less protection unless the caller allows it.

The profiles have the rules that Docker, Podman and systemd install, as seccomp filters of this file. Podman itself is tested
too, if it works here."""
import ctypes
import errno
import json
import os
import shutil
import struct
import subprocess

import pytest

from conftest import ORDINARY

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")

NUMBERS = {"clone": 56, "pivot_root": 155, "mount": 165, "umount2": 166, "sethostname": 170, "setdomainname": 171,
           "unshare": 272, "setns": 308, "seccomp": 317, "open_tree": 428, "move_mount": 429, "fsopen": 430,
           "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435, "openat2": 437, "mount_setattr": 442, "landlock_create_ruleset": 444}
NAMESPACES = 0x7e020000         # CLONE_NEW… flags, as in Docker's and systemd's filters
MOUNTS = ("mount", "umount2", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "pivot_root")
EVERY = "user_namespace,pid_namespace,mount_namespace,network_namespace,ipc_namespace,uts_namespace"
OPTIONS = ("--security-opt seccomp=unconfined", "securityContext.seccompProfile.type=Unconfined", "under systemd unset")


def refusing(calls, number):
    return [(NUMBERS[name], None, number) for name in calls]


RESTRICTED = [(56, NAMESPACES, errno.EPERM), *refusing(["clone3"], errno.ENOSYS), *refusing(["unshare", "setns"], errno.EPERM)]
PROFILES = {
    "docker": (RESTRICTED + refusing(MOUNTS + ("sethostname", "setdomainname"), errno.EPERM), EVERY),
    "podman": (refusing(("sethostname", "setdomainname"), errno.EPERM), "uts_namespace"),
    "systemd RestrictNamespaces": (RESTRICTED, EVERY),
    "systemd without @mount": (refusing(MOUNTS, errno.EPERM), "mount_namespace"),
    "AppArmor on namespaces": (refusing(["unshare"], errno.EACCES), EVERY),
    "AppArmor on mounts": (refusing(MOUNTS, errno.EACCES), "mount_namespace"),
    "no Landlock": (refusing(["landlock_create_ruleset"], errno.ENOSYS), "landlock"),
    "no seccomp": (refusing(["seccomp"], errno.EINVAL), "seccomp"),
}


# RestrictSUIDSGID= has this effect too: no layer is missing, but files can't be accessed.
WITHOUT_FILES = {"systemd RestrictSUIDSGID": (refusing(["openat2"], errno.ENOSYS), "")}


def filter_code(rules):
    """Returns the code of a seccomp filter from rows (number, mask of argument 0 or None, errno). It allows all other calls."""
    def instruction(code, value, yes=0, no=0):
        return struct.pack("HBBI", code, yes, no, value)
    load, equal, any_bit, give = 0x20, 0x15, 0x45, 0x06
    code = b""
    for number, mask, error in rules:
        answer = instruction(give, 0x00050000 | error)
        if mask:
            answer = instruction(load, 16) + instruction(any_bit, mask, 0, 1) + answer
        code += instruction(load, 0) + instruction(equal, number, 0, len(answer) // 8) + answer
    return code + instruction(give, 0x7fff0000)


def install(rules):
    """Installs such a filter in this process."""
    code = filter_code(rules)
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer)))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
        os._exit(99)


@pytest.fixture
def confined(_copy):
    """Runs the program under a profile, as an ordinary user or as root without capabilities."""
    def run(profile, *arguments, uid=ORDINARY):
        ids = {"user": uid, "group": uid, "extra_groups": []} if os.getuid() == 0 else {}
        return subprocess.run([_copy + "/pyexec", *arguments], capture_output=True, timeout=60, cwd="/", **ids,
                              preexec_fn=lambda: install({**PROFILES, **WITHOUT_FILES}[profile][0]),
                              env=dict(os.environ, PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3"))
    return run


@pytest.mark.parametrize("profile", PROFILES)
def test_the_error_names_the_layer_and_the_options(confined, profile, nothing_left):
    first = PROFILES[profile][1].split(",")[0]
    done = confined(profile, "run", "--json", "-c", "1")
    error = json.loads(done.stdout)
    assert (done.returncode, error["code"]) == (125, "sandbox_unavailable"), error
    assert "'%s'" % first in error["message"] and "--allow-missing" in error["hint"], error
    assert all(option in error["hint"] for option in OPTIONS), error


@pytest.mark.parametrize("profile", PROFILES)
def test_doctor_says_what_is_missing_and_what_to_do(confined, profile):
    missing = set(PROFILES[profile][1].split(","))
    done = confined(profile, "doctor", "--json")
    report = json.loads(done.stdout)
    layers = {layer["name"]: layer for layer in report["layers"]}
    assert done.returncode == 1 and not report["ok"], report
    assert {name for name, layer in layers.items() if layer["required"] and not layer["present"]} == missing, layers
    for name in missing:
        assert layers[name]["why"] and all(option in layers[name]["remedy"] for option in OPTIONS), layers[name]
    assert missing & set(confined(profile, "doctor").stdout.decode().split())


@pytest.mark.parametrize("profile", PROFILES)
def test_with_less_only_when_each_layer_is_named(confined, profile, nothing_left):
    names = PROFILES[profile][1]
    result = json.loads(confined(profile, "run", "--json", "--any-import", "--allow-missing", names, "-c",
                                 "import ctypes\nctypes.CDLL(None).open(b'/etc/passwd', 0)").stdout)
    assert (result["status"], result["last_value_repr"]) == ("ok", "-1"), result
    assert set(result["missing_layers"]) - {"time_namespace"} == set(names.split(",")), result


@pytest.mark.parametrize("profile", WITHOUT_FILES)
def test_a_call_that_files_need_is_named_when_it_is_refused(confined, profile, nothing_left):
    assert json.loads(confined(profile, "run", "--json", "-c", "6 * 7").stdout)["last_value_repr"] == "42"
    error = json.loads(confined(profile, "run", "--json", "--files", "full", "-c", "open('a', 'w')").stdout)
    assert error["code"] == "sandbox_unavailable" and "openat2" in error["message"], error
    assert "RestrictSUIDSGID=" in error["hint"], error


@pytest.mark.skipif(os.getuid() != 0, reason="a container's root is made from root")
@pytest.mark.parametrize("profile", ["docker", "podman"])
def test_root_of_a_container_is_told_the_same(_copy, profile):
    """Runs as root with Docker's default capabilities, which do not include CAP_SYS_ADMIN."""
    first = PROFILES[profile][1].split(",")[0]
    done = subprocess.run(["setpriv", "--bounding-set=-sys_admin,-sys_ptrace,-net_admin", "--inh-caps=-all", _copy + "/pyexec", "run",
                           "--json", "--python-bin", "/usr/bin/python3", "-c", "1"], capture_output=True, timeout=60, cwd="/",
                          preexec_fn=lambda: install(PROFILES[profile][0]))
    error = json.loads(done.stdout)
    assert error["code"] == "sandbox_unavailable" and "'%s'" % first in error["message"], error


def test_an_interpreter_that_does_not_start_leaves_layers_untried(own):
    report = json.loads(own.run("doctor", "--json", "--python-bin", "/bin/false").stdout)
    layers = {layer["name"]: layer for layer in report["layers"]}
    assert not report["ok"] and not layers["landlock"]["present"] and "not tried" in layers["landlock"]["why"]
    assert b"does not start as a Python interpreter" in own.run("doctor", "--python-bin", "/bin/false").stdout


@pytest.fixture(scope="module")
def podman(_copy):
    """Runs the program in Podman, with this machine's file tree, as a user of the container."""
    if os.getuid() != 0 or not shutil.which("podman"):
        pytest.skip("needs root and podman")

    def run(options, *arguments):
        # crun refuses a machine with both cgroup versions. In a mount namespace it sees only one of them.
        script = ("mount -t cgroup2 none /sys/fs/cgroup; exec podman --cgroup-manager cgroupfs run --rm --network none"
                  " --cgroups=disabled --ulimit nofile=1024:1024 --ulimit nproc=2048:2048 %s --rootfs /:O \"$@\"" % options)
        return subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", *arguments], capture_output=True, timeout=120)
    probe = run("", "/bin/true")
    if probe.returncode != 0:
        pytest.skip("podman can't run a container here: " + probe.stderr.decode()[-200:])
    return run


HARD = "--user 1000:1000 --cap-drop ALL --security-opt no-new-privileges"


@pytest.mark.parametrize("options", ["", HARD])
def test_podman_by_default(podman, _copy, options):
    done = podman(options, _copy + "/pyexec", "run", "--json", "-c", "6 * 7")
    answer = json.loads(done.stdout)
    if done.returncode == 125:          # otherwise the profile of this Podman allows all these calls
        assert answer["code"] == "sandbox_unavailable" and OPTIONS[0] in answer["hint"], answer
    else:
        assert (answer["last_value_repr"], answer["missing_layers"]) == ("42", []), answer


@pytest.mark.parametrize("options", ["", HARD])
def test_podman_with_the_documented_options(podman, _copy, options):
    done = podman(options + " --security-opt seccomp=unconfined", _copy + "/pyexec", "run", "--json", "-c", "6 * 7")
    result = json.loads(done.stdout)
    assert (result["last_value_repr"], result["missing_layers"]) == ("42", []), result
