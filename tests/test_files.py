"""Files: three depths, by every way in, with the guard and without it (ctypes)."""
import base64
import os
import stat

import pytest

ANY = ["--any-import"]
LIBC = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
WAYS = {
    "open": "open({path!r}, {mode!r})",
    "os.open": "import os\nos.open({path!r}, os.O_RDONLY if {mode!r} == 'r' else os.O_WRONLY | os.O_CREAT)",
    "io.FileIO": "import io\nio.FileIO({path!r}, {mode!r})",
    "pathlib": "import pathlib\npathlib.Path({path!r}).open({mode!r})",
    "sqlite3": "import sqlite3\nsqlite3.connect({path!r}).execute('select 1')",
}


CASES = [
    ("none", "r", "f", "open() disabled"), ("none", "w", "f", "open() disabled"),
    ("none", "r", "/etc/passwd", "open() disabled"), ("none", "r", "/usr/lib/python3.11/os.py", "open() disabled"),
    ("read", "r", "f", None), ("read", "w", "g", "write forbidden"), ("read", "r", "/etc/passwd", "outside sandbox"),
    ("read", "r", "../etc/passwd", "outside sandbox"), ("full", "r", "f", None), ("full", "w", "g", None),
    ("full", "w", "/tmp/x", "outside sandbox"), ("full", "r", "/etc/passwd", "outside sandbox"),
    ("full", "r", "../../etc/passwd", "outside sandbox"),
]


# sqlite3.connect has no mode, and f is no database.
@pytest.mark.parametrize("way, files, mode, path, phrase", [
    (way, *case) for way in WAYS for case in CASES
    if way != "sqlite3" or (case[3] != "write forbidden" and case[2] != "f")])
def test_every_way_to_open(own, tmp_path, way, files, mode, path, phrase):
    flags = [*ANY, "--files", files]
    if files != "none":
        source = tmp_path / "f"
        source.write_text("data")
        flags += ["--file", "%s:f" % source]
    result = own.result(WAYS[way].format(path=path, mode=mode) + "\nNone", *flags)
    if phrase is None:
        assert result["status"] == "ok", result
    else:
        assert result["status"] == "error" and phrase in result["error_repr"], result
        assert result["denials"][0]["layer"] == "files" and result["error"]["hint"]


@pytest.mark.parametrize("files, path, flags, works", [
    ("none", b"/workspace/f", 0o101, False), ("none", b"/etc/passwd", 0, False), ("none", b"/tmp/f", 0o101, False),
    ("read", b"/workspace/f", 0o101, False), ("read", b"/etc/shadow", 0, False), ("full", b"/workspace/f", 0o101, True),
    ("full", b"/f", 0o101, False), ("full", b"/etc/passwd", 0, False), ("full", b"/proc/self/environ", 0, False),
    ("full", b"/sys/kernel", 0, False), ("full", b"/dev/null", 1, True), ("full", b"/dev/sda", 0, False),
    ("full", b"/root", 0, None), ("full", b"/home", 0, False), ("full", b"/dev/shm/x", 0o101, False),
])
def test_the_kernel_alone(pyexec, files, path, flags, works):
    result = pyexec.result(LIBC + "libc.open(%r, %d, 0o600)" % (path, flags), *ANY, "--files", files)
    if works is not None:
        assert (int(result["last_value_repr"]) >= 0) == works, result


def test_changes_are_listed_and_returned(pyexec, tmp_path, nothing_left):
    os.chmod(tmp_path, 0o755)
    for name in ("keep", "change", "remove"):
        (tmp_path / name).write_text(name)
    flags = ["--files", "full"]
    for name in ("keep", "change", "remove"):
        os.chmod(tmp_path / name, 0o644)
        flags += ["--file", "%s:d/%s" % (tmp_path / name, name)]
    code = ("import os\nopen('d/change', 'a').write('d')\nos.remove('d/remove')\nos.makedirs('a/b')\n"
            "open('a/b/new', 'wb').write(b'\\x00\\xff')\nos.symlink('/etc/passwd', 'link')\nopen('d/keep').read()")
    result = pyexec.result(code, *ANY, *flags, "--return-files", "*new")
    assert result["last_value_repr"] == "'keep'", result
    assert [(f["path"], f["change"], f["bytes"]) for f in result["files"]] == [
        ("a/b/new", "created", 2), ("d/change", "modified", 7), ("d/remove", "deleted", 0)]
    assert base64.b64decode(result["files"][0]["content_base64"]) == b"\x00\xff"
    assert result["files"][1]["content_base64"] is None


def test_output_folder(own, tmp_path):
    os.chmod(tmp_path, 0o755)
    done = own.run("run", "--files", "full", *ANY, "--output", str(tmp_path), "-c",
                   "import os\nos.mkdir('s')\nopen('s/t', 'w').write('hi')\nos.symlink('/etc', 'e')\nNone")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "s" / "t").read_text() == "hi" and not (tmp_path / "e").exists()


def test_quota_is_the_kernels(pyexec):
    code = LIBC + ("fd = libc.open(b'/workspace/f', 0o101, 0o600)\nn = 0\n"
                   "while libc.write(fd, b'x' * 65536, 65536) > 0: n += 1\nn * 65536, ctypes.get_errno()")
    result = pyexec.result(code, *ANY, "--files", "full", "--workspace-bytes", "1M")
    assert result["last_value_repr"] in ("(1048576, 28)", "(1048576, 27)"), result
    code = "n = 0\ntry:\n    while True: open('f%d' % n, 'w').close(); n += 1\nexcept OSError as e: print(e.errno)\nn < 2000"
    result = pyexec.result(code, *ANY, "--files", "full", "--workspace-bytes", "1M", "--max-open-files", "16")
    assert (result["stdout"], result["last_value_repr"]) == ("28\n", "True"), result


def test_tempfile_and_sqlite_work_in_the_workspace(own):
    code = ("import tempfile, sqlite3, os\nwith tempfile.TemporaryDirectory() as d:\n    open(d + '/x', 'w').write('1')\n"
            "c = sqlite3.connect('db')\nc.execute('create table t(x)')\nc.execute('insert into t values(1)')\nc.commit()\n"
            "c.execute('select count(*) from t').fetchone()")
    assert own.result(code, *ANY, "--files", "full")["last_value_repr"] == "(1,)"


@pytest.mark.parametrize("path", ["..", "a/../..", "/tmp", "/"])
def test_working_dir_stays_inside(own, path):
    error = own.error("1", "--working-dir", path)
    assert error["code"] == "invalid_request" and "outside sandbox" in error["message"]


def test_working_dir_is_made(own):
    result = own.result("import os\nos.getcwd()", *ANY, "--files", "full", "--working-dir", "a/b")
    assert result["last_value_repr"] == "'/workspace/a/b'"
    assert own.result("1", "--working-dir", "a/b")["last_value_repr"] == "1"


@pytest.fixture
def folder(pyexec, tmp_path_factory):
    path = tmp_path_factory.mktemp("host")
    os.chmod(path.parent.parent, 0o755)
    os.chmod(path.parent, 0o755)
    os.chown(path, pyexec.uid, pyexec.uid)
    return path


def test_host_workspace(pyexec, folder, nothing_left):
    (folder / "in").write_text("data")
    os.chown(folder / "in", pyexec.uid, pyexec.uid)
    code = "import os\nopen('out', 'w').write(open('in').read() * 2)\nos.getcwd()"
    result = pyexec.result(code, *ANY, "--files", "full", "--workspace", str(folder))
    assert result["last_value_repr"] == repr(str(folder)), result
    assert (folder / "out").read_text() == "datadata"
    assert (folder / "out").stat().st_uid == pyexec.uid and stat.S_IMODE((folder / "out").stat().st_mode) & 0o077 == 0
    assert [f["path"] for f in result["files"]] == ["out"]
    result = pyexec.result(LIBC + "libc.open(b'%s/x', 0o101, 0o600)" % folder, *ANY, "--files", "read", "--workspace", str(folder))
    assert result["last_value_repr"] == "-1" and not (folder / "x").exists(), result


def test_links_out_of_a_host_workspace_lead_nowhere(pyexec, folder):
    (folder / "etc").symlink_to("/etc")
    error = pyexec.error("1", "--files", "full", "--workspace", str(folder), "--working-dir", "etc/new")
    assert error["code"] == "invalid_request" and "outside sandbox" in error["message"]
    result = pyexec.result("open('etc/passwd')", "--files", "full", "--workspace", str(folder))
    assert result["status"] == "error" and not os.path.exists("/etc/new")


def test_files_need_file_access(own, tmp_path):
    os.chmod(tmp_path, 0o755)
    (tmp_path / "f").write_text("x")
    done = own.run("run", "--file", str(tmp_path / "f"), "-c", "1")
    assert done.returncode == 125 and b"--files" in done.stderr
