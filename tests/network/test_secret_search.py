# SPDX-License-Identifier: Apache-2.0
"""The value of a secret is in the proxy alone: it is looked for in every readable byte of every other process, in results, logs, metrics, traces and
on the disk, and in core files; and the proxy can't be read by others of its user."""
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys

import pytest

from collector import collecting
from conftest import BUILD, is_alive
from secret_site import OTHER_VALUE, VALUE, operator, shown
from serving import serving
from waiting import wait_until

pytestmark = pytest.mark.skipif(not os.path.exists(os.path.join(BUILD, "pyexec-egress")), reason="the build has no pyexec-egress")
VALUES = (VALUE.encode(), OTHER_VALUE.encode())
USE = """
import os, urllib.request
def ask(variable, url):
    request = urllib.request.Request(url, headers={"Authorization": "Bearer " + os.environ[variable]})
    answer = urllib.request.urlopen(request)
    return os.environ[variable], answer.headers["X-Echo"], answer.read().decode()
found = [ask("API_KEY", "https://%(first)s/"), ask("OTHER", "https://%(second)s/")]
with open("seen", "w") as file: file.write(repr(found))
print(found)
found
"""


def holds(data):
    return [value.decode() for value in VALUES if value in data]


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def memory_of(pid):
    """Every readable byte of a process. None: this user may not read it. Nothing if it has ended, as a warm child does while others are searched."""
    found = []
    try:
        with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", buffering=0) as memory:
            for line in maps:
                first, last = (int(text, 16) for text in line.split()[0].split("-"))
                if line.split()[1][0] == "r" and "[v" not in line:
                    with contextlib.suppress(OSError, ValueError, OverflowError):
                        memory.seek(first)
                        found.append(memory.read(last - first))
    except PermissionError:
        return None
    except (FileNotFoundError, ProcessLookupError):
        assert not is_alive(pid), pid
    return b"".join(found)


def family_of(pid):
    """The ids of a process and of all that it started, with their command lines."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open("/proc/%s/stat" % name) as file:
            parents[int(name)] = int(file.read().rsplit(")", 1)[1].split()[1])
    family = [pid]
    for one in family:
        family += [child for child, parent in parents.items() if parent == one]
    return {one: read("/proc/%d/cmdline" % one).replace(b"\0", b" ").decode() for one in family if is_alive(one)}


def proxy_of(server):
    pid, = (pid for pid, command in family_of(server.process.pid).items() if "pyexec-egress" in command)
    return pid


@pytest.fixture(scope="module")
def place(pyexec):
    with operator(pyexec.uid) as made:
        made.work = os.path.join(made.folder, "work")
        os.mkdir(made.work)
        os.chown(made.work, pyexec.uid, pyexec.uid)
        yield made


@contextlib.contextmanager
def used(place, pyexec, **more):
    """A server whose session `s` has used both secrets and sleeps now: yields it, the collector, and everything that callers got."""
    first, second = place.site(), place.site()
    settings = place.settings(api_key={"host": first.host, "environment": "REAL_KEY"}, other=(second.host, OTHER_VALUE))
    with collecting() as collector:
        env = {**settings, "REAL_KEY": VALUE, "PYEXEC_EGRESS_LOCAL_SECRETS": "api_key,other", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
               "OTEL_BSP_SCHEDULE_DELAY": "20"}
        with serving(pyexec, "--any-import", "--allow-host", first.host + "," + second.host, "--timeout", "200s", "--cpu-time-seconds", "100", "--files", "full",
                     "--audit-log", "FOLDER/audit", "--state-dir", "FOLDER", config="[session]\nworkspace_root = %s\n" % place.work, env=env, **more) as server:
            code = USE % {"first": first.host, "second": second.host}
            answers = [server.execute(code, "s", timeout=120), server.execute(code + "\nraise SystemError(str(found))", timeout=120),
                       server.execute(code + "\nimport ctypes; ctypes.string_at(0)", timeout=120),
                       server.execute("import urllib.request\nurllib.request.urlopen('http://%s/')" % first.host, timeout=120)]
            results = [answer.json() for answer in answers]
            assert results[0]["status"] == "ok" and results[1]["status"] == results[3]["status"] == "error" and results[2]["status"] != "ok", results
            for value, (key, echoed, body) in zip((VALUE, OTHER_VALUE), eval(results[0]["last_value_repr"])):
                assert echoed == "Bearer " + shown(key, value) and body.startswith(echoed), (key, echoed, body)
            assert [request.fields["authorization"] for request in first.requests] == ["Bearer " + VALUE] * 3
            assert [request.fields["authorization"] for request in second.requests] == ["Bearer " + OTHER_VALUE] * 3
            yield server, collector, answers
    for site in (first, second):
        site.close()


def test_no_result_log_metric_trace_or_file_has_a_value(place, pyexec, nothing_left):
    with used(place, pyexec) as (server, collector, answers):
        collector.wait_for("POST /v1/execute", 3)
        server.wait_for_line(msg="request") if server.lines(msg="request") else None
        texts = {"answer %d" % i: answer.body + str(answer.headers).encode() for i, answer in enumerate(answers)}
        for path in ("/metrics", "/v1/sessions", "/v1/sessions/s", "/v1/sessions/s/files/seen", "/openapi.json"):
            texts[path] = server.ask("GET", path).body
        assert b"pyexec-secret-API_KEY-" in texts["/v1/sessions/s/files/seen"], "the search would find what is there"
        in_workspaces = [os.path.join(folder, name) for folder, _, names in os.walk(place.work) for name in names]
        assert "seen" in map(os.path.basename, in_workspaces), in_workspaces
        texts.update((name, read(name)) for name in in_workspaces)
        server.stop()
        for folder, _, names in os.walk(server.folder):
            texts.update((os.path.join(folder, name), read(os.path.join(folder, name))) for name in names if not os.path.islink(os.path.join(folder, name)))
        texts["traces"] = json.dumps([collector.bodies, collector.requests]).encode()
    assert len(collector.bodies) and len(read(server.folder)) == 0
    named = {os.path.basename(name) for name in texts}
    assert {"audit", "log"} <= named and any(b'"localhost"' in text or b"localhost" in text for name, text in texts.items() if name.endswith("audit")), named
    assert {name: holds(text) for name, text in texts.items() if holds(text)} == {}


def test_no_process_but_the_proxy_has_a_value(place, pyexec):
    """Host, supervisor, zygotes, the session's process and the exporter of traces, while the session lives."""
    if os.environ.get("SANITIZE"):
        pytest.skip("a program with sanitizers has terabytes of address space, which can't be searched")
    with used(place, pyexec) as (server, _, _):
        family = family_of(server.process.pid)
        assert len(family) >= 5, family
        holders, unreadable = [], []
        for pid, command in family.items():
            for name in ("cmdline", "environ", "maps", "status", "mountinfo"):
                assert not holds(read("/proc/%d/%s" % (pid, name))), (command, name)
            memory = memory_of(pid)
            if memory is None:
                unreadable.append(command)
            elif holds(memory):
                holders.append(command)
            for fd in (os.listdir("/proc/%d/fd" % pid) if memory else []):
                with contextlib.suppress(OSError):
                    link = os.readlink("/proc/%d/fd/%s" % (pid, fd))
                    assert pid == server.process.pid or not re.search("memfd:(secret|authority)", link), (command, link)
        if os.getuid() == 0:
            assert unreadable == [] and len(holders) == 1 and "pyexec-egress" in holders[0], (holders, unreadable)
        else:
            assert holders == [] and any("pyexec-egress" in command for command in unreadable), (holders, unreadable)
            pytest.skip("only root can read the memory of: %s. The others had no value" % ", ".join(command.split(" ")[0] for command in unreadable))


READERS = r"""
import ctypes, os, shutil, subprocess, sys
pid, opened = int(sys.argv[1]), []
libc = ctypes.CDLL(None, use_errno=True)
for name in ("mem", "environ", "maps", "auxv", "fd", "io", "stack", "map_files"):
    try:
        path = "/proc/%d/%s" % (pid, name)
        os.listdir(path) if name in ("fd", "map_files") else open(path, "rb").read(1)
        opened.append(name)
    except PermissionError:
        pass
    except OSError:     # there is nothing at address 0
        opened.append(name)
for name, request in (("PTRACE_ATTACH", 16), ("PTRACE_SEIZE", 0x4206)):
    if libc.ptrace(request, pid, None, None) == 0:
        opened.append(name)
class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
ours = ctypes.create_string_buffer(8)
if libc.process_vm_readv(pid, ctypes.byref(Iovec(ctypes.addressof(ours), 8)), 1, ctypes.byref(Iovec(0x400000, 8)), 1, 0) >= 0 or ctypes.get_errno() != 1:
    opened.append("process_vm_readv")
handle = libc.syscall(434, pid, 0)
if handle >= 0 and libc.syscall(438, handle, 0, 0) >= 0:
    opened.append("pidfd_getfd")
if shutil.which("gcore") and "aved corefile" in subprocess.run(["gcore", "-o", sys.argv[2], str(pid)], capture_output=True, text=True).stdout:
    opened.append("gcore")
print(opened)
"""


def attempts(pid, folder, uid):
    become = {"user": uid, "group": uid, "extra_groups": []} if uid != os.getuid() else {}
    done = subprocess.run([sys.executable if uid == os.getuid() else "/usr/bin/python3", "-c", READERS, str(pid), os.path.join(folder, "core")], capture_output=True, text=True,
                          timeout=100, cwd="/", **become)
    assert done.returncode == 0, done.stderr
    return eval(done.stdout)


def test_others_of_its_user_can_not_read_the_proxy(place, pyexec, open_folder):
    if os.environ.get("SANITIZE"):
        pytest.skip("the leak checker of the sanitizers must be able to read the proxy, so it is dumpable in such a build")
    with used(place, pyexec) as (server, _, _):
        proxy = proxy_of(server)
        uid = int(re.search(r"^Uid:\s+(\d+)", read("/proc/%d/status" % proxy).decode(), re.M)[1])
        assert pyexec.uid == uid or pyexec.uid == 0 and uid != 0
        os.chmod(open_folder, 0o777)
        assert attempts(proxy, str(open_folder), uid) == []
        with subprocess.Popen(["sleep", "100"], **({"user": uid, "group": uid, "extra_groups": []} if uid != os.getuid() else {})) as other:
            try:
                assert "mem" in attempts(other.pid, str(open_folder), uid), "another process of this user can be read"
            finally:
                other.kill()


def test_there_is_no_core_file_of_proxy_and_script(place, pyexec, open_folder):
    """With no limit for core files in the server."""
    if os.environ.get("SANITIZE"):
        pytest.skip("sanitizers take the signals that would leave a core file")
    def no_limit():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.chmod(open_folder, 0o777)
    cores = lambda *folders: {os.path.join(folder, name) for top in folders for folder, _, names in os.walk(top) for name in names if name.startswith("core")}
    subprocess.run(["sh", "-c", "kill -SEGV $$"], cwd=open_folder, preexec_fn=no_limit)
    if not cores(open_folder):
        pytest.skip("this machine writes core files elsewhere, or none: " + read("/proc/sys/kernel/core_pattern").decode().strip())
    shutil.rmtree(open_folder, ignore_errors=True)
    os.mkdir(open_folder)
    os.chmod(open_folder, 0o777)
    at_root = {name for name in os.listdir("/") if name.startswith("core")}
    with used(place, pyexec, preexec_fn=no_limit, cwd=str(open_folder)) as (server, _, _):
        proxy = proxy_of(server)
        for pid, command in family_of(server.process.pid).items():
            limit = re.search(r"Max core file size +(\w+)", read("/proc/%d/limits" % pid).decode())[1]
            assert pid != proxy or limit == "0", command
        for signal_number in (signal.SIGSEGV, signal.SIGABRT):
            os.kill(proxy_of(server), signal_number)
            wait_until(lambda: not is_alive(proxy), "the proxy lives")
            assert server.result("1", "s")["status"] == "ok"
            proxy = proxy_of(server)
        found = cores(open_folder, server.folder)
    assert found == set() and {name for name in os.listdir("/") if name.startswith("core")} == at_root
