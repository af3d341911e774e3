"""The Debian packages: they are built from a copy of the tree, checked by lintian, installed into a machine with a real
systemd, and used there in the same way as by users."""
import glob
import json
import os
import re
import shutil
import subprocess
import threading
from xml.etree import ElementTree

import pytest

import artifacts
from conftest import BUILD, ORDINARY, ROOT
from machine import Machine, impossible
from nats_fleet import server_program
from serving import Connection, token_line
from waiting import wait_until

SOCKET = "/run/pyexec/pyexec.sock"
# Opens a file of the host. Only a sandbox without isolation allows this.
PROBE = "import ctypes\nctypes.CDLL(None).open(b'/etc/passwd', 0)"


@pytest.fixture(scope="module")
def debs():
    return artifacts.debs()


@pytest.fixture(scope="module")
def machine(debs):
    if why := impossible():
        pytest.skip("no machine of its own for systemd: " + why)
    machine = Machine(debs.values())
    try:
        assert machine.wait() == "running", machine.run("systemctl", "--failed").stdout
        yield machine
    finally:
        machine.close()


def ask(machine, method, path, body=None, headers={}):
    """Returns status and body. The socket is reached through the machine's own file tree."""
    connection = Connection(machine.path(SOCKET))
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def run(machine, code, **fields):
    status, text = ask(machine, "POST", "/v1/execute", dict(fields, code=code))
    assert status == 200, text
    return json.loads(text)


def unit(machine, *names):
    text = machine.run("systemctl", "show", "pyexec.service", *["--property=" + name for name in names]).stdout
    return dict(line.split("=", 1) for line in text.splitlines())


def reset(machine):
    """Makes only the socket's unit active, as after the installation."""
    machine.run("systemctl", "stop", "pyexec.service", "pyexec.socket")
    machine.run("systemctl", "reset-failed", "pyexec.service", "pyexec.socket")     # so many starts in ten seconds
    assert machine.run("systemctl", "start", "pyexec.socket").returncode == 0


def configure(machine, text):
    with open(machine.path("/etc/pyexec/pyexec.conf"), "a") as file:
        file.write("\n" + text)
    reset(machine)


# ---- The packages themselves ----

def test_lintian_finds_no_error(debs):
    if not shutil.which("lintian"):
        pytest.skip("needs lintian")
    changes = glob.glob(BUILD + "/deb/*.changes")
    done = subprocess.run(["lintian", "--fail-on", "error", *changes], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout
    assert set(re.findall(r"^[EW]: \S+: (\S+)", done.stdout, re.M)) <= {"initial-upload-closes-no-bugs"}, done.stdout


def test_the_program_needs_none_of_the_servers_libraries(debs):
    depends = {name: subprocess.run(["dpkg-deb", "-f", path, "Depends"], capture_output=True, text=True).stdout
               for name, path in debs.items()}
    assert set(depends) == {"pyexec", "pyexec-server", "pyexec-worker", "pyexec-runtime", "libpyexec0", "libpyexec-dev"}
    for library in ("libmicrohttpd", "libarchive"):
        assert library in depends["pyexec-server"]
        assert not any(library in text for name, text in depends.items() if name != "pyexec-server"), depends
    assert not any("libsystemd" in text for text in depends.values()), depends
    assert [name for name, text in depends.items() if "libnats" in text] == ["pyexec-worker"], depends
    for name in ("pyexec-runtime", "libpyexec0", "libpyexec-dev"):          # in `pyexec` the proxy of allowed_hosts needs it
        assert "libssl" not in depends[name], depends


def test_the_configuration_is_a_conffile_with_every_key_commented(debs, tmp_path):
    subprocess.run(["dpkg-deb", "-R", debs["pyexec"], str(tmp_path)], check=True)
    assert (tmp_path / "DEBIAN/conffiles").read_text().split() == ["/etc/pyexec/pyexec.conf"]
    lines = (tmp_path / "etc/pyexec/pyexec.conf").read_text().splitlines()
    assert all(not line or line[0] in "#[" for line in lines)
    assert sum(line.startswith("#") and " =" in line for line in lines) > 40


def test_unpacked_anywhere_it_runs_and_says_which_package_is_missing(debs, open_folder):
    for name in ("pyexec", "pyexec-runtime", "libpyexec0"):
        subprocess.run(["dpkg-deb", "-x", debs[name], str(open_folder)], check=True)
    program = str(open_folder / "usr/bin/pyexec")
    environment = dict(os.environ, LD_LIBRARY_PATH=":".join(glob.glob(str(open_folder / "usr/lib/*"))),
                       PYEXEC_LIBEXECDIR=str(open_folder / "usr/libexec/pyexec"), PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3")
    ids = {"user": ORDINARY, "group": ORDINARY, "extra_groups": []} if os.getuid() == 0 else {}
    done = subprocess.run([program, "run", "-c", "6 * 7"], capture_output=True, text=True, env=environment, cwd="/", timeout=60, **ids)
    assert (done.stdout, done.returncode) == ("42\n", 0), done.stderr
    done = subprocess.run([program, "serve", "--listen", "unix:/nowhere/socket"], capture_output=True, text=True,
                          env=environment, cwd="/", timeout=60, **ids)
    assert done.returncode == 125 and "Install the Debian package pyexec-server" in done.stderr, done.stderr
    done = subprocess.run([program, "worker", "--nats", "nats://127.0.0.1:1"], capture_output=True, text=True, env=environment, cwd="/", timeout=60, **ids)
    assert done.returncode == 125 and "Install the package pyexec-worker" in done.stderr, done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make such a tree")
@pytest.mark.parametrize("restricted", ["0", "1"])
def test_the_profile_is_installed_where_ubuntu_restricts_namespaces(debs, open_folder, restricted):
    """The maintainer scripts, in a mount namespace with that setting and a stand-in for apparmor_parser."""
    subprocess.run(["dpkg-deb", "-R", debs["pyexec-runtime"], str(open_folder / "deb")], check=True)
    (open_folder / "apparmor_parser").write_text("#!/bin/sh\necho \"$@\" > %s/parsed\n" % open_folder)
    os.chmod(open_folder / "apparmor_parser", 0o755)
    os.makedirs(open_folder / "etc/apparmor.d")
    script = """set -e; cd "$0"; mount -t tmpfs none /proc/sys; mkdir /proc/sys/kernel
        echo "$1" > /proc/sys/kernel/apparmor_restrict_unprivileged_userns; mount --bind etc /etc
        mkdir -p deb/usr/share; mount --bind deb/usr/share /usr/share; PATH=$0:$PATH
        sh deb/DEBIAN/postinst configure; ls /etc/apparmor.d; sh deb/DEBIAN/postrm purge; ls /etc/apparmor.d"""
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(open_folder), restricted],
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "pyexec-launch\n" if restricted == "1" else ""), done
    assert (open_folder / "parsed").exists() == (restricted == "1")


def test_the_development_package_needs_no_other_librarys_development_files(debs, open_folder):
    for name in ("libpyexec0", "libpyexec-dev"):
        subprocess.run(["dpkg-deb", "-x", debs[name], str(open_folder)], check=True)
    folder, = glob.glob(str(open_folder / "usr/lib/*/pkgconfig"))
    environment = dict(os.environ, PKG_CONFIG_LIBDIR=folder, PKG_CONFIG_SYSROOT_DIR=str(open_folder))
    done = subprocess.run(["pkg-config", "--cflags", "--libs", "libpyexec"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "-lpyexec" in done.stdout.split(), done.stderr
    program = str(open_folder / "once")
    subprocess.run(["gcc", "-Wl,--allow-shlib-undefined", "-o", program, ROOT + "/examples/run_once.c", *done.stdout.split(),
                    "-I%s/usr/include" % open_folder, "-L" + os.path.dirname(folder)], check=True)


def test_the_container_and_the_bootstrap_have_what_the_package_is_built_with():
    with open(ROOT + "/packaging/debian/control") as file:
        field = re.search(r"^Build-Depends: (.*(?:\n .*)*)", file.read(), re.M)[1]
    needs = [re.match(r"\s*([a-z0-9-]+)([^,]*)", entry).groups() for entry in field.split(",")]
    with open(ROOT + "/packaging/Containerfile") as file:
        container = file.read()
    with open(ROOT + "/tools/bootstrap.sh") as file:
        bootstrap = file.read().replace("pkg-config", "pkgconf")
    for name, more in needs:
        name = name.replace("debhelper-compat", "debhelper")
        assert re.search(r"\s%s\s" % name, container) or "<!nocheck>" in more, name
        assert re.search(r"[\s\"]%s[\s\"]" % name, bootstrap), name


# ---- Installed, under systemd ----

def test_an_ordinary_user_runs_code_with_the_installed_program(machine):
    done = machine.run("setpriv", "--reuid=60123", "--regid=60123", "--clear-groups", "pyexec", "run", "--json", "-c", "6 * 7")
    result = json.loads(done.stdout)
    assert (result["last_value_repr"], result["missing_layers"]) == ("42", []), result


def test_a_program_is_compiled_against_the_installed_library(machine):
    with open(machine.path("/tmp/once.c"), "w") as file, open(ROOT + "/examples/run_once.c") as example:
        file.write(example.read())
    done = machine.run("sh", "-c", "gcc -o /tmp/once /tmp/once.c $(pkg-config --cflags --libs libpyexec) && /tmp/once")
    assert done.stdout.strip() == "42", done.stderr


def test_the_units_are_correct(machine):
    done = machine.run("systemd-analyze", "verify", "--man=no", "pyexec.service", "pyexec.socket", "pyexec-worker.service", "pyexec-gateway.service")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    for name, most in (("pyexec", 30), ("pyexec-worker", 30), ("pyexec-gateway", 20)):
        done = machine.run("systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold=%d" % most, name + ".service")
        assert done.returncode == 0, done.stdout


def test_a_node_and_a_gateway_start_when_they_are_configured(machine):
    if not server_program():
        pytest.skip("nats-server is not installed")
    names = ["pyexec-worker.service", "pyexec-gateway.service"]
    assert machine.run("systemctl", "is-enabled", *names).stdout.split() == ["disabled", "disabled"]
    assert machine.run("systemctl", "start", "pyexec-gateway.service").returncode != 0         # nobody has said where NATS is
    assert machine.run("systemd-run", "--unit=nats", server_program(), "-a", "127.0.0.1", "-p", "4222", "-js", "-sd", "/tmp/js").returncode == 0
    with open(machine.path("/etc/default/pyexec-worker"), "w") as file:
        file.write('FLAGS="--nats nats://127.0.0.1:4222 --node one"\n')
    with open(machine.path("/etc/default/pyexec-gateway"), "w") as file:
        file.write('NATS_URL=nats://127.0.0.1:4222\nFLAGS="--listen unix:/run/pyexec-gateway/second.sock"\n')
    try:
        done = machine.run("systemctl", "start", *names)
        assert done.returncode == 0, machine.run("journalctl", "--lines=40").stdout
        for socket in ("pyexec", "second"):
            connection = Connection(machine.path("/run/pyexec-gateway/%s.sock" % socket))
            connection.request("POST", "/v1/execute", json.dumps({"code": PROBE, "policy": {"use_import_whitelist": False, "banned_imports": []}}))
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status == 400 and "use_import_whitelist" in text, text        # the node has the ceiling
            connection.request("POST", "/v1/execute", json.dumps({"code": "6 * 7"}))
            result = json.loads(connection.getresponse().read())
            connection.close()
            assert (result["last_value_repr"], result["missing_layers"]) == ("42", []), result
        assert os.path.isdir(machine.path("/var/lib/pyexec-worker"))
        assert machine.run("systemctl", "stop", *names).returncode == 0
        # A service that does not end in time is killed, and its result is "timeout".
        assert machine.run("systemctl", "show", "--property=Result", "--value", *names).stdout.split() == ["success", "success"]
    finally:
        machine.run("systemctl", "stop", "nats", *names)


def test_the_socket_is_enabled_and_the_first_call_starts_the_server(machine):
    reset(machine)
    assert machine.run("systemctl", "is-enabled", "pyexec.socket", "pyexec.service").stdout.split() == ["enabled", "disabled"]
    assert unit(machine, "ActiveState")["ActiveState"] == "inactive"
    assert run(machine, "6 * 7")["last_value_repr"] == "42"
    state = unit(machine, "ActiveState", "Type", "MainPID")
    assert (state["ActiveState"], state["Type"]) == ("active", "notify")
    with open(machine.path("/proc/%s/status" % state["MainPID"])) as file:
        facts = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    assert facts["NoNewPrivs"] == "1" and int(facts["CapBnd"], 16) == 0 and facts["Uid"].split()[0] != "0"


def test_the_installed_server_has_the_playground(machine):
    status, text = ask(machine, "GET", "/")
    assert status == 200 and "<title>pyexec playground</title>" in text


def test_the_hardened_unit_takes_no_layer_away(machine):
    configure(machine, "[policy]\nuse_import_whitelist = false\nbanned_imports =\n")
    result = run(machine, PROBE)
    assert (result["status"], result["last_value_repr"], result["missing_layers"]) == ("ok", "-1", []), result
    # `doctor` tries each layer and an escape from each, under all of the unit's own settings.
    folder = machine.path("/run/systemd/system/")
    shutil.copy(machine.path("/lib/systemd/system/pyexec.service"), folder + "look.service")
    os.mkdir(folder + "look.service.d")
    with open(folder + "look.service.d/doctor.conf", "w") as file:
        file.write("[Service]\nType=oneshot\nRestart=no\nStandardOutput=file:/run/doctor.json\n"
                   "ExecStart=\nExecStart=/usr/bin/pyexec doctor --json\n")
    machine.run("systemctl", "daemon-reload")
    done = machine.run("systemctl", "start", "look.service")
    with open(machine.path("/run/doctor.json")) as file:
        report = json.load(file)
    assert done.returncode == 0 and report["ok"], report
    assert not [layer for layer in report["layers"] if layer["required"] and not layer["present"]], report["layers"]


def test_sessions_and_their_folders_work_below_the_state_directory(machine):
    os.mkdir(machine.path("/var/lib/pyexec/sessions"))
    owner = os.stat(machine.path("/var/lib/pyexec"))
    os.chown(machine.path("/var/lib/pyexec/sessions"), owner.st_uid, owner.st_gid)
    configure(machine, "[policy]\ndisable_open = false\n[session]\nworkspace_root = /var/lib/pyexec/sessions\n"
                       "[serve]\naudit_log = /var/log/pyexec/audit.log\n")
    status, text = ask(machine, "POST", "/v1/sessions", {"id": "s"})
    assert status == 201, text
    status, text = ask(machine, "POST", "/v1/sessions/s/execute", {"code": "open('kept', 'w').write('here')"})
    assert json.loads(text)["last_value_repr"] == "4", text
    assert ask(machine, "GET", "/v1/sessions/s/files/kept") == (200, "here")
    assert ask(machine, "DELETE", "/v1/sessions/s")[0] in (200, 204)
    with open(machine.path("/var/log/pyexec/audit.log")) as file:
        assert json.loads(file.readline())["principal"] == "local"
    assert oct(os.stat(machine.path("/var/log/pyexec/audit.log")).st_mode & 0o777) == "0o600"


@pytest.mark.parametrize("end", ["restart", "kill"])
def test_clients_of_the_installed_server_are_told_of_its_restart(machine, end):
    # In memory: a folder of a killed server's session stays, and its id is refused while it is there.
    path = machine.path("/etc/pyexec/pyexec.conf")
    with open(path) as file:
        lines = [line for line in file if not line.startswith("workspace_root")]
    with open(path, "w") as file:
        file.writelines(lines)
    reset(machine)
    session = "s-" + end
    assert json.loads(ask(machine, "POST", "/v1/sessions/%s/execute" % session, {"code": "1"})[1])["session"]["restarted"] is None
    state = machine.path("/var/lib/pyexec/pyexec-sessions")
    wait_until(lambda: os.path.exists(state) and "+ local/%s\n" % session in open(state).read(), "the session is not written down")
    if end == "kill":
        machine.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", "pyexec.service")
    else:
        machine.run("systemctl", "restart", "pyexec.service")
    answers = []

    def told():
        status, text = ask(machine, "POST", "/v1/sessions/%s/execute" % session, {"code": "1"})
        answers.append(text)
        return status == 200 and json.loads(text)["session"]["restarted"]
    try:
        assert wait_until(told, "it is not told") == "host_restart"
    except AssertionError:
        print(answers[0], answers[-1], machine.run("journalctl", "--unit=pyexec.service", "--lines=30").stdout, sep="\n")
        raise


def test_reload_reads_the_tokens_again(machine):
    tokens, headers = machine.path("/etc/pyexec/tokens"), {"Authorization": "Bearer secret"}
    open(tokens, "w").close()
    configure(machine, "[serve]\ntoken_file = /etc/pyexec/tokens\n")
    assert ask(machine, "GET", "/v1/sessions", headers=headers)[0] == 401
    pid = unit(machine, "MainPID")
    with open(tokens, "w") as file:
        file.write(token_line("alice", "secret") + "\n")
    assert machine.run("systemctl", "reload", "pyexec.service").returncode == 0
    wait_until(lambda: ask(machine, "GET", "/v1/sessions", headers=headers)[0] == 200, "the new token is not known")
    assert unit(machine, "MainPID") == pid


def test_stop_waits_for_what_runs_and_leaves_nothing(machine):
    reset(machine)
    run(machine, "1")
    answers = []
    caller = threading.Thread(target=lambda: answers.append(run(machine, "import time\ntime.sleep(2)\n'done'")))
    caller.start()
    wait_until(lambda: "\npyexec_running 1\n" in ask(machine, "GET", "/metrics")[1], "it does not run")
    assert machine.run("systemctl", "stop", "pyexec.service").returncode == 0
    caller.join()
    assert (answers[0]["status"], answers[0]["last_value_repr"]) == ("ok", "'done'")
    assert unit(machine, "Result", "ActiveState") == {"Result": "success", "ActiveState": "inactive"}
    assert machine.run("pgrep", "-u", "pyexec").stdout == ""
    # The socket is still there, and starts the next one.
    assert run(machine, "6 * 7")["last_value_repr"] == "42"


def test_an_upgrade_restarts_the_server_and_keeps_the_socket_and_the_configuration(machine):
    configure(machine, "[policy]\nmax_threads = 3\n")
    run(machine, "1")
    pid, inode = unit(machine, "MainPID"), os.stat(machine.path(SOCKET)).st_ino
    done = machine.run("sh", "-c", "dpkg --force-unsafe-io -i /debs/*.deb", timeout=120)
    assert done.returncode == 0, done.stderr
    assert unit(machine, "ActiveState")["ActiveState"] == "active" and unit(machine, "MainPID") != pid
    assert run(machine, "6 * 7")["last_value_repr"] == "42"
    assert os.stat(machine.path(SOCKET)).st_ino == inode
    with open(machine.path("/etc/pyexec/pyexec.conf")) as file:
        assert file.read().endswith("max_threads = 3\n")


def test_removed_it_is_gone_and_purged_its_configuration_too(machine):
    assert machine.run("dpkg", "-r", "pyexec-worker", "pyexec-server", timeout=120).returncode == 0
    assert machine.run("pgrep", "-u", "pyexec").stdout == ""
    assert machine.run("systemctl", "is-active", "pyexec.socket").stdout.strip() != "active"
    done = machine.run("dpkg", "-P", "pyexec-worker", "pyexec-server", "pyexec", "libpyexec-dev", "libpyexec0", "pyexec-runtime", timeout=120)
    assert done.returncode == 0, done.stderr
    assert not os.path.exists(machine.path("/etc/pyexec/pyexec.conf")) and not os.path.exists(machine.path("/usr/libexec/pyexec"))


def test_the_java_bom_lists_every_published_module():
    space = "{http://maven.apache.org/POM/4.0.0}"
    parent = ElementTree.parse(os.path.join(ROOT, "clients", "java", "pom.xml"))
    modules = [one.text for one in parent.find(space + "modules") if one.text.startswith("ali-langengine-pyexecutor")]
    bom = ElementTree.parse(os.path.join(ROOT, "clients", "java", "ali-langengine-pyexecutor-bom", "pom.xml"))
    listed = [one.text for one in bom.iterfind(".//{0}dependency/{0}artifactId".format(space))]
    assert sorted(listed + ["ali-langengine-pyexecutor-bom"]) == sorted(modules)
