"""A .pth file or an editable install lets a script read a part of a project folder: the files that can be imported, and no others.

Each test opens files by native code (open(2) through ctypes), which bypasses the guard, because the file tree of the run itself must
be right."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from test_interpreters import BUILDS
from test_layers import LAYERS, NOT_USED

READABLE = ["pkg/__init__.py", "pkg/data.txt", "pkg/sub/__init__.py", "pkg/sub/table.csv", "mixed/__init__.py", "mixed/data.txt", "mixed/deep/more.txt",
            "single.py", "secrets.py", "ns/inner/module.py", "ns/regular/__init__.py", "proj.egg-info/PKG-INFO", "inside.py"]
HIDDEN = [".env", ".env.local", ".git/config", ".hg/hgrc", ".ssh/id_rsa", "notes.txt", "key.pem", "data/table.csv", "pyproject.toml",
          "not-a-module.py", "1digit.py", "mixed/.env", "mixed/.git/config", "mixed/deep/.env", "ns/readme.txt", "ns/.env", "ns/inner/key.pem",
          "venv/pyvenv.cfg", "venv/bin/tool.py", "other_repo/.git/config", "other_repo/setup.py", "outside.py", "outside_pkg/secret.txt",
          "mixed/outside.txt", "env.py", "mixed/env.txt"]
LOOK = """
import ctypes
libc = ctypes.CDLL(None)
def opens(folder, names): return sorted(name for name in names if libc.open((folder + '/' + name).encode(), 0) >= 0)
"""


def make_project(folder, outside):
    """A project of every kind of file: {READABLE} and {HIDDEN}, and links."""
    links = {"inside.py": "pkg/sub/__init__.py", "outside.py": outside / "outside.py", "outside_pkg": outside / "package", "mixed/outside.txt": outside / "secret.txt",
             "env.py": ".env", "mixed/env.txt": ".env"}
    for name in READABLE + HIDDEN:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name not in links and not name.startswith("outside_pkg/"):
            path.write_text("value = %r\n" % name if name.endswith(".py") else "data of %s\n" % name)
    (folder / "outside_pkg").rmdir()
    (folder / "pkg" / "__init__.py").write_text("import os\nwith open(os.path.join(os.path.dirname(__file__), 'data.txt')) as file: data = file.read()\n")
    (folder / "proj.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: proj\nVersion: 4.7\n")
    (outside / "package").mkdir(parents=True)
    (outside / "package" / "__init__.py").write_text("")
    for name in ("outside.py", "package/secret.txt", "secret.txt"):
        (outside / name).write_text("secret = 1\n")
    for name, target in links.items():
        (folder / name).symlink_to(target)


def make_venv(folder, python="/usr/bin/python3"):
    """Makes what `python -m venv --without-pip` makes, but faster: the interpreter and its site-packages."""
    version = ".".join(os.path.basename(os.path.realpath(python)).lstrip("python").split("."))
    site = folder / "lib" / ("python" + version) / "site-packages"
    site.mkdir(parents=True, exist_ok=True)
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "python3").symlink_to(python)
    (folder / "pyvenv.cfg").write_text("home = %s\ninclude-system-site-packages = false\n" % os.path.dirname(python))
    return folder / "bin" / "python3", site


@pytest.fixture
def project(open_folder):
    make_project(open_folder / "proj", open_folder / "outside")
    return open_folder / "proj"


@pytest.fixture
def venv(open_folder):
    return make_venv(open_folder / "venv")


def flags(python, *more):
    return ["--any-import", "--python-bin", str(python), "--isolate-site=false", *more]


def check(program, python, folder, code="import pkg, mixed.deep, single, secrets, ns.inner.module, ns.regular, inside\n"):
    result = program.result(LOOK + code + "opens(%r, %r)" % (str(folder), READABLE + HIDDEN), *flags(python))
    assert result["status"] == "ok", result["error"] or result
    assert eval(result["last_value_repr"]) == sorted(READABLE)


def test_a_pth_file_gives_what_can_be_imported(pyexec, project, venv):
    python, site = venv
    (site / "project.pth").write_text("%s\n" % project)
    check(pyexec, python, project)


def test_a_line_of_a_pth_file_that_runs_code(pyexec, project, venv):
    python, site = venv
    (site / "project.pth").write_text("import sys; sys.path.insert(0, %r)\n" % str(project))
    check(pyexec, python, project)


def test_a_folder_behind_a_link_and_with_dots(pyexec, project, venv):
    python, site = venv
    (project.parent / "link").symlink_to(project)
    (site / "project.pth").write_text("%s\n" % (project.parent / "outside" / ".." / "link"))
    check(pyexec, python, project.parent / "link")


def test_a_virtual_environment_in_the_project_folder_itself(pyexec, project):
    python, site = make_venv(project)
    (site / "project.pth").write_text("%s\n" % project)
    (site / "installed.py").write_text("")
    check(pyexec, python, project, "import pkg, installed\n")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make folders of /usr/src")
def test_a_project_below_the_prefix_of_the_interpreter(pyexec, venv, open_folder):
    """/usr/src/app, where Docker images have the project, does not count as part of the standard library of /usr."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pyexec-folder-", dir="/usr/src"))
    try:
        os.chmod(folder, 0o755)
        make_project(folder, open_folder / "outside")
        python, site = venv
        (site / "project.pth").write_text("%s\n" % folder)
        check(pyexec, python, folder)
    finally:
        shutil.rmtree(folder)


def test_a_src_folder_gives_nothing_above_it(pyexec, open_folder, venv):
    python, site = venv
    make_project(open_folder / "repo" / "src", open_folder / "outside")
    for name in (".env", "setup.py", "top.py"):
        (open_folder / "repo" / name).write_text("")
    (site / "project.pth").write_text("%s\n" % (open_folder / "repo" / "src"))
    check(pyexec, python, open_folder / "repo" / "src", "import pkg\nassert not opens(%r, ['.env', 'setup.py', 'top.py'])\n" % str(open_folder / "repo"))


def editable(site, mapping, namespaces={}):
    """As `pip install -e` does with setuptools 64 and later, from its own template."""
    code = "import setuptools.command.editable_wheel as e, json, sys\nprint(e._finder_template('p-1', *json.loads(sys.argv[1])))"
    done = subprocess.run(["/usr/bin/python3", "-c", code, json.dumps([{k: str(v) for k, v in mapping.items()}, namespaces])], check=True, capture_output=True, text=True)
    (site / "__editable___p_1_finder.py").write_text(done.stdout)
    (site / "__editable__.p-1.pth").write_text("import __editable___p_1_finder; __editable___p_1_finder.install()")


def test_an_editable_install_gives_its_packages(pyexec, project, venv):
    python, site = venv
    editable(site, {"pkg": project / "pkg", "renamed": project / "mixed", "single": project / "single", "spaced.regular": project / "ns" / "regular"},
             {"spaced": [str(project / "ns")]})
    code = LOOK + "import pkg, renamed.deep, single, spaced.regular, spaced.inner.module\nopens(%r, %r)" % (str(project), READABLE + HIDDEN)
    result = pyexec.result(code, *flags(python))
    assert result["status"] == "ok", result["error"] or result
    other = ("secrets.py", "proj.egg-info/PKG-INFO", "inside.py")
    assert eval(result["last_value_repr"]) == sorted(set(READABLE) - set(other))


def test_an_editable_install_of_hatchling_and_pdm(pyexec, project, venv):
    """The package "editables": the paths are in the finder's class."""
    python, site = venv
    (site / "editables_finder.py").write_text("""
import importlib.abc, importlib.util
class RedirectingFinder(importlib.abc.MetaPathFinder):
    _redirections = {'renamed': %r, 'single': %r}
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if not path and fullname in cls._redirections:
            return importlib.util.spec_from_file_location(fullname, cls._redirections[fullname])
""" % (str(project / "mixed" / "__init__.py"), str(project / "single.py")))
    (site / "project.pth").write_text("import sys, editables_finder; sys.meta_path.append(editables_finder.RedirectingFinder)")
    result = pyexec.result(LOOK + "import renamed.deep, single\nopens(%r, %r)" % (str(project), READABLE + HIDDEN), *flags(python))
    assert result["status"] == "ok", result["error"] or result
    assert eval(result["last_value_repr"]) == ["mixed/__init__.py", "mixed/data.txt", "mixed/deep/more.txt", "single.py"]


@pytest.mark.skipif(not BUILDS, reason="no pyenv builds of 3.8 or later")
@pytest.mark.parametrize("python", BUILDS, ids=lambda path: str(path).split("/")[-3:][0])
def test_each_interpreter(own, project, open_folder, python):
    python, site = make_venv(open_folder / "venv", python)
    (site / "project.pth").write_text("%s\n" % project)
    editable(site, {"renamed": project / "mixed"})
    check(own, python, project, "import pkg, mixed.deep, renamed, single, ns.inner.module, ns.regular\n")


def test_folders_of_the_system_and_homes_are_never_shown(pyexec, project, venv):
    python, site = venv
    folders = ["/", "/etc", "/home", "/root", "/usr", "/tmp", "/var", "/proc", "/dev"]
    (site / "project.pth").write_text("\n".join(folders))
    editable(site, {"whole%d" % i: folder for i, folder in enumerate(folders)}, {"all": folders})
    (project / "__init__.py").write_text("")
    looks = ["etc/passwd", "etc/hostname", "root/.bashrc", "proc/self/status", "proc/self/environ", "var/lib/dpkg/status", "usr/bin/env", "dev/kmsg",
             *(str(project / name)[1:] for name in READABLE + HIDDEN)]
    result = pyexec.result(LOOK + "opens('/', %r)" % looks, *flags(python))
    assert (result["status"], result["last_value_repr"]) == ("ok", "[]"), result


def test_an_extension_in_a_project_folder_does_not_bring_the_folder(pyexec, project, venv):
    """Folders of mapped libraries are visible, but in this folder only the libraries."""
    python, site = venv
    source = project.parent / "native.c"
    source.write_text('#include <Python.h>\nstatic PyModuleDef m = {PyModuleDef_HEAD_INIT, "native", 0, -1};\nPyMODINIT_FUNC PyInit_native(void) { return PyModule_Create(&m); }\n')
    include = subprocess.run(["/usr/bin/python3", "-c", "import sysconfig; print(sysconfig.get_paths()['include'])"], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["gcc", "-shared", "-fPIC", "-I", include, source, "-o", project / "native.so"], check=True)
    (site / "project.pth").write_text("%s\n" % project)
    result = pyexec.result(LOOK + "import native\nopens(%r, %r)" % (str(project), READABLE + HIDDEN + ["native.so"]), *flags(python, "--preload-imports", "native"))
    assert result["status"] == "ok", result["error"] or result
    assert eval(result["last_value_repr"]) == sorted(READABLE + ["native.so"])


def test_landlock_alone_keeps_the_rest_of_the_project_away(bare, project, venv):
    python, site = venv
    (site / "project.pth").write_text("%s\n" % project)
    left_out = [name for name in LAYERS if name not in ("landlock", "user_namespace", "privileges", "workspace_quota", NOT_USED)]
    result = bare.result(LOOK + "import pkg, mixed.deep, single\nopens(%r, %r)" % (str(project), READABLE + HIDDEN), *flags(python, "--allow-missing", ",".join(left_out)))
    assert result["status"] == "ok" and "mount_namespace" in result["missing_layers"], result["error"] or result
    assert eval(result["last_value_repr"]) == sorted(READABLE)


def test_doctor_and_policy_list_what_is_added(pyexec, project, venv):
    python, site = venv
    chosen = ["--python-bin", str(python), "--isolate-site=false"]
    assert b"readable by scripts" not in pyexec.run("policy", "--origin", *chosen).stdout
    (site / "project.pth").write_text("%s\n" % project)
    wanted = {str(project / name) for name in ("pkg", "mixed", "single.py", "secrets.py", "ns/inner/module.py", "ns/regular", "inside.py")}
    found = json.loads(pyexec.run("doctor", "--json", *chosen).stdout)["python"]
    assert (set(found["importable"]), found["importable_more"]) == (wanted, 0)
    for command in (["doctor"], ["policy", "--origin"]):
        out = pyexec.run(*command, *chosen).stdout.decode()
        assert "readable by scripts" in out and wanted < {line.strip() for line in out.splitlines()}, out
    assert b"readable by scripts" not in pyexec.run("policy", "--origin", "--python-bin", str(python)).stdout


def test_more_than_can_be_listed_is_counted(own, venv, open_folder):
    python, site = venv
    (open_folder / "many").mkdir()
    for i in range(300):
        (open_folder / "many" / ("module_with_a_long_name_%d.py" % i)).write_text("")
    (site / "project.pth").write_text("%s\n" % (open_folder / "many"))
    found = json.loads(own.run("doctor", "--json", "--python-bin", str(python), "--isolate-site=false").stdout)["python"]
    assert len(found["importable"]) + found["importable_more"] == 300 and 0 < found["importable_more"] < 300
    assert own.result("import module_with_a_long_name_299", *flags(python))["status"] == "ok"


def test_a_workspace_in_the_project_folder_is_the_script_s(own, project, venv):
    """Its modules are not library code, which may import what the script may not."""
    python, site = venv
    (site / "project.pth").write_text("%s\n" % project)
    work = project / "work"
    work.mkdir()
    code = ("import sys\nopen('mine.py', 'w').write('import subprocess')\nsys.path.insert(0, %r)\nimport mine" % str(work))
    result = own.result(code, "--python-bin", str(python), "--isolate-site=false", "--files", "full", "--workspace", str(work),
                        "--allow-import", "sys", "--allow-import", "mine")
    assert "import 'subprocess' not allowed" in (result["error_repr"] or ""), result


def test_the_version_of_a_package_from_its_metadata(pyexec, project, venv):
    python, site = venv
    (site / "project.pth").write_text("%s\n" % project)
    (project / "pkg" / "sub" / "__init__.py").write_text("import importlib.metadata\nversion = importlib.metadata.version('proj')\n")
    result = pyexec.result("import pkg.sub\npkg.sub.version, pkg.data", "--allow-import", "pkg", "--python-bin", str(python), "--isolate-site=false")
    assert result["last_value_repr"] == "('4.7', 'data of pkg/data.txt\\n')" and not result["denials"], result


def test_of_a_folder_with_a_loaded_library_libraries_alone_are_seen(own, project, venv, open_folder):
    """Earlier, files with similar names (x.sock, x.sops.json) were visible too, and also the target of a link with such a name."""
    python, site = venv
    subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "/dev/null", "-o", str(project / "libown.so")], check=True)
    shutil.copy(project / "libown.so", project / "libother.so.1.2")
    (project / "libother.so.1").symlink_to("libother.so.1.2")
    (project / "liboutside.so").symlink_to(open_folder / "outside" / "secret.txt")
    for name in ("keys.sops.json", "agent.sock", "libown.so.pem", "not.so"):
        (project / name).write_text("secret")
    (project / "loads.py").write_text("import ctypes\nlibrary = ctypes.CDLL(%r)\n" % str(project / "libown.so"))
    (site / "project.pth").write_text(str(project) + "\n")
    names = ["libown.so", "libother.so.1", "libother.so.1.2", "keys.sops.json", "agent.sock", "libown.so.pem", "not.so", "liboutside.so",
             "../outside/secret.txt"]
    result = own.result(LOOK + "opens(%r, %r)" % (str(project), names), *flags(python, "--preload-imports", "loads"))
    assert result["status"] == "ok", result
    seen = set(eval(result["last_value_repr"]))
    assert seen & {"libown.so", "libother.so.1", "libother.so.1.2"} == {"libown.so", "libother.so.1", "libother.so.1.2"}, seen
    # is_module_name() shows not.so as a module of the folder: "modules (*.py, *.pyc, *.so) directly in the folder".
    assert seen <= {"libown.so", "libother.so.1", "libother.so.1.2", "not.so"}, seen
