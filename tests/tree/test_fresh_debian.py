"""On a fresh Debian, which has only Python, an ordinary user installs an artifact and runs the lines of the README without a
network; and where there are no user namespaces, the program says what is missing and how to get it.

`make test` uses Debian 13, because this machine is a Debian 12; `make nightly` uses both."""
import glob
import json
import os
import re
import shlex

import pytest

import artifacts
from conftest import ORDINARY, ROOT
from debian_trees import RELEASES, Tree
from test_containers import PROFILES, filter_code

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can make such a tree")

# Runs a command of an ordinary user behind a filter of system calls (its code in hexadecimal).
FILTERED = """import ctypes, os, sys
code = bytes.fromhex(sys.argv[1]); buffer = ctypes.create_string_buffer(code)
program = (len(code) // 8).to_bytes(8, "little") + ctypes.addressof(buffer).to_bytes(8, "little")
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.create_string_buffer(program), 0, 0) == 0
os.execvp(sys.argv[2], sys.argv[2:])"""
# Runs a command in a user namespace that maps all ids and forbids more user namespaces, as a rootless container can.
FORBIDDEN = """import ctypes, os, sys
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    assert ctypes.CDLL(None).unshare(0x10000000) == 0
    os.write(ready[1], b"1"); os.read(go[0], 1)
    os.setgid(0); os.setuid(0)
    with open("/proc/sys/user/max_user_namespaces", "w") as file: file.write("0")
    user = int(sys.argv[1]); os.setgroups([]); os.setgid(user); os.setuid(user)
    os.execvp(sys.argv[2], sys.argv[2:])
os.read(ready[0], 1)
for kind in ("uid_map", "gid_map"):
    with open("/proc/%d/%s" % (child, kind), "w") as file: file.write("0 0 100000")
os.write(go[1], b"1")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"""

# Sends messages to `pyexec rpc` and prints as many answers. At the end of its input the program cancels what runs.
TALK = """import subprocess, sys
server = subprocess.Popen(["pyexec", "rpc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
server.stdin.write("\\n".join(sys.argv[1:]) + "\\n"); server.stdin.flush()
for _ in sys.argv[1:]: print(server.stdout.readline(), end="")
server.stdin.close(); sys.exit(server.wait())"""


@pytest.fixture(scope="module", params=RELEASES if os.environ.get("PYEXEC_NIGHTLY") else ["13"], ids="debian-{}".format)
def release(request):
    return request.param


@pytest.fixture(scope="module")
def with_tarball(release):
    """A tree in which alice has installed the tarball in her home folder."""
    tree = Tree(release)
    try:
        tree.copy(artifacts.tarball(), "/tmp/")
        done = tree.run("cd && tar -xzf /tmp/pyexec-*.tar.gz && pyexec-*/install.sh")
        assert done.returncode == 0 and "a first script ran in the sandbox" in done.stdout, done
        yield tree
    finally:
        tree.close()


@pytest.fixture(scope="module")
def with_packages(release):
    """A tree in which root has installed the Debian packages with apt, which got their libraries from the mirror."""
    tree = Tree(release)
    try:
        os.mkdir(tree.path("/debs"))
        for name in ("pyexec", "pyexec-server", "pyexec-runtime", "libpyexec0"):
            tree.copy(artifacts.debs()[name], "/debs/")
        done = tree.run("apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"
                        " /debs/*.deb", user="root", network=True, timeout=600)
        if done.returncode and re.search("fetch|resolve", done.stderr):
            pytest.skip("the packages' libraries can't be fetched: " + done.stderr[-200:])
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
        yield tree
    finally:
        tree.close()


def matches(pattern, text):
    """True if the text begins as the README shows it, where … stands for anything."""
    return re.match(".*".join(map(re.escape, pattern.split("…"))), text, re.S) is not None


def shell_examples():
    """Returns the README's lines `pyexec run -c …` with the output that it shows."""
    with open(ROOT + "/README.md") as file:
        lines = [line.strip() for line in file]
    return [(line[2:], lines[i + 1]) for i, line in enumerate(lines) if line.startswith("$ pyexec run -c ")]


def rpc_example():
    """Returns the README's messages to `pyexec rpc`, and its answers."""
    with open(ROOT + "/README.md") as file:
        text = file.read()
    return re.findall(r"^ +> (\{.*)$", text, re.M), re.findall(r"^ +< (\{.*)$", text, re.M)


def use_it(tree, path):
    examples = shell_examples()
    assert len(examples) >= 2
    for command, shown in examples:
        done = tree.run(path + command)
        assert matches(shown, done.stdout + done.stderr), (command, done)
    asked, answers = rpc_example()
    assert len(asked) == len(answers) >= 3
    done = tree.run(path + "python3 -c " + " ".join(map(shlex.quote, [TALK, *asked])))
    given = {json.loads(line)["id"]: line for line in done.stdout.splitlines()}
    assert done.returncode == 0, done
    for shown in answers:
        number = int(re.search(r'"id":(\d+)', shown)[1])
        # The parts that the README shows, in whichever order the answer has them.
        assert all(part in given[number] for part in re.findall(r'"(?:protocol|last_value_repr|status)":"[^"…]+"', shown)), (shown, given)
    done = tree.run(path + "pyexec run --json --files full -c 'open(\"a\", \"w\").write(\"b\")'")
    result = json.loads(done.stdout)
    assert (result["last_value_repr"], result["missing_layers"]) == ("1", []), result
    assert tree.run(path + "pyexec doctor").returncode == 0


def test_a_user_installs_the_tarball_and_runs_the_readme_offline(with_tarball):
    use_it(with_tarball, "PATH=$HOME/.local/bin:$PATH; ")


def test_a_user_runs_the_readme_offline_with_the_debian_packages(with_packages):
    use_it(with_packages, "")
    # What the README asks of the server, with Python because a fresh Debian has no curl.
    ask = """import http.client, json, socket, sys
class Local(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX); self.sock.connect("/tmp/pyexec.sock")
local = Local("localhost"); local.request("POST", "/v1/execute", json.dumps({"code": "6 * 7"}))
print(json.loads(local.getresponse().read())["last_value_repr"])"""
    done = with_packages.run("pyexec serve --listen unix:/tmp/pyexec.sock & server=$!; i=0;"
                             " until [ -S /tmp/pyexec.sock ] || [ $i = 300 ]; do sleep 0.1; i=$((i + 1)); done;"
                             " python3 -c %s; kill $server; wait $server" % shlex.quote(ask))
    assert done.stdout == "42\n" and done.returncode == 0, done


def test_the_profile_is_read_by_apparmors_own_parser(with_packages, release):
    """Debian 12's AppArmor is older than the rule for user namespaces; its kernel does not restrict them either."""
    if release == "12":
        pytest.skip("AppArmor 3 has no rule for user namespaces")
    done = with_packages.run("apparmor_parser -QK /usr/share/pyexec/apparmor/pyexec-launch", user="root")
    assert done.returncode == 0 and "error" not in done.stderr.lower(), done
    done = with_packages.run("sed s/userns,/usernames,/ /usr/share/pyexec/apparmor/pyexec-launch | apparmor_parser -QK", user="root")
    assert done.returncode != 0, done
    # Nothing was put in place, because this kernel does not restrict namespaces.
    assert not os.path.exists(with_packages.path("/etc/apparmor.d/pyexec-launch"))


def without_namespaces(tree, how, command):
    if how == "sysctl":
        return tree.run("python3 -c %s %d %s" % (shlex.quote(FORBIDDEN), ORDINARY, command), user="root")
    return tree.run("python3 -c %s %s %s" % (shlex.quote(FILTERED), filter_code(PROFILES["docker"][0]).hex(), command))


@pytest.mark.parametrize("how, remedy", [("sysctl", "user.max_user_namespaces"), ("filter", "seccomp=unconfined")])
def test_without_user_namespaces_it_says_what_is_missing_and_how_to_get_it(with_tarball, how, remedy):
    program = "/home/alice/.local/bin/pyexec"
    done = without_namespaces(with_tarball, how, program + " run -c 6*7")
    assert done.returncode == 125 and "'user_namespace'" in done.stderr and remedy in done.stderr, done
    assert "--allow-missing" in done.stderr
    done = without_namespaces(with_tarball, how, program + " doctor")
    assert done.returncode == 1 and "user_namespace" in done.stdout and remedy in done.stdout, done
    done = without_namespaces(with_tarball, how, program + " run --allow-missing container -c 6*7")
    assert (done.stdout, done.returncode) == ("42\n", 0), done


@pytest.mark.parametrize("how", ["sysctl", "filter"])
def test_the_installer_says_that_no_script_can_run_yet(with_tarball, how):
    script, = glob.glob(with_tarball.path("/home/alice/pyexec-*/install.sh"))
    script = script[script.index("/home/"):]
    done = without_namespaces(with_tarball, how, "%s --prefix /tmp/of-%s" % (script, how))
    assert done.returncode == 0 and "no script can run yet" in done.stdout and "'user_namespace'" in done.stdout, done
