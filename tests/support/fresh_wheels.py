#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tries the wheels of tools/wheels.sh on fresh trees of Debian: tests/support/fresh_wheels.py WHEELS TREE...

Each TREE is a folder that debootstrap made, with python3-venv. In it an ordinary user with a home of mode 0700, and no network,
installs the wheels into a virtual environment, and runs what the documentation shows. It needs root. Prints a line for each step with
its time."""
import glob
import os
import shutil
import subprocess
import sys
import time

USER = 60123
HOME = "/home/somebody"
STEPS = [
    ("environment", "python3 -m venv ~/venv"),
    ("install", "pip install -q --no-index /wheels/*.whl"),
    ("from Python", """test "$(python3 -c "from pyexec import Pyexec; print(Pyexec().execute_once('6*7').last_value_repr)")" = 42"""),
    ("doctor", "pyexec doctor >~/doctor"),
    ("run", 'test "$(pyexec run -c "print(6 * 7)")" = 42'),
    ("allowed_hosts", r'''pyexec run --json --any-import --timeout 60s --allow-host a.example -c "import urllib.request; urllib.request.urlopen('https://evil.example/')" >~/denied
grep -q "request to evil.example:443" ~/denied'''),
    ("serve", r'''python3 - <<'END'
import http.client, json, os, socket, subprocess
path = os.path.expanduser("~/socket")
server = subprocess.Popen(["pyexec", "serve", "--listen", "unix:" + path], stderr=subprocess.PIPE, text=True)
try:
    assert "listening" in server.stderr.readline()
    client = http.client.HTTPConnection("localhost")
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.connect(path)
    client.request("POST", "/v1/execute", json.dumps({"code": "6*7"}))
    assert json.loads(client.getresponse().read())["last_value_repr"] == "42"
    client.request("GET", "/openapi.json")
    assert b"/v1/execute" in client.getresponse().read()
finally:
    server.terminate()
    assert server.wait() == 0
END'''),
    ("the programs with libcurl", r'''python3 - <<'END'
import os, pyexec_runtime, subprocess
for name in ("pyexec-mcp-http", "pyexec-otlp"):
    program = os.path.join(os.path.dirname(pyexec_runtime.program()), name)
    done = subprocess.run([program], input=b"not a first line\n", capture_output=True)
    assert done.returncode in range(0, 127) and b"GLIBC" not in done.stderr and b"shared libraries" not in done.stderr, done
END'''),
]


def enter(tree, command):
    """Runs a command of the user in the tree, with process and network namespaces of its own."""
    with open(tree + "/step", "w") as file:
        file.write(command + "\n")
    inside = ["bwrap", "--bind", tree, "/", "--dev", "/dev", "--proc", "/proc", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--die-with-parent", "--cap-add", "ALL",
              "setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "--inh-caps=-all", "env", "-i", "HOME=" + HOME,
              "PATH=%s/venv/bin:/usr/bin:/bin" % HOME, "LANG=C.UTF-8", "/bin/sh", "-ec", "cd; . /step"]
    return subprocess.run(inside, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)


def try_tree(tree, wheels):
    tree = os.path.abspath(tree)
    shutil.rmtree(tree + HOME, ignore_errors=True)
    shutil.rmtree(tree + "/wheels", ignore_errors=True)
    os.makedirs(tree + HOME)
    os.chown(tree + HOME, USER, USER)
    os.chmod(tree + HOME, 0o700)
    os.mkdir(tree + "/wheels")
    for path in wheels:
        shutil.copy(path, tree + "/wheels")
    failed = 0
    for name, command in STEPS:
        start = time.monotonic()
        done = enter(tree, command)
        print("%-10s %-24s %6.1f s  %s" % (os.path.basename(tree), name, time.monotonic() - start, "ok" if done.returncode == 0 else "FAILED"), flush=True)
        if done.returncode != 0:
            print(done.stdout[-2000:] + done.stderr[-2000:])
            failed += 1
    return failed


def main(folder, *trees):
    wheels = glob.glob(folder + "/pyexec_runtime-*.whl") + glob.glob(folder + "/pyexec_client-*.whl")
    for path in wheels:
        print("%s: %.1f MB" % (os.path.basename(path), os.path.getsize(path) / 1e6))
    assert len(wheels) == 2, "one wheel of each must be in " + folder
    return sum(try_tree(tree, wheels) for tree in trees)


if __name__ == "__main__":
    if len(sys.argv) < 3 or os.getuid() != 0:
        sys.exit(__doc__)
    sys.exit(1 if main(*sys.argv[1:]) else 0)
