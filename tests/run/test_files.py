"""Files: three levels of access, with every way to open a file, with the guard and without it (ctypes)."""
import base64
import json
import os
import stat

import pytest

from peak_memory import PeakMemory

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


# sqlite3.connect has no mode, and f is not a database.
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


def reach(path):
    """Gives every user access to this folder of pytest and the folders above it."""
    for folder in (path, path.parent, path.parent.parent):
        os.chmod(folder, 0o755)


@pytest.mark.parametrize("files, path, flags, works", [
    ("none", b"/workspace/f", 0o101, False), ("none", b"/etc/passwd", 0, False), ("none", b"/tmp/f", 0o101, False),
    ("read", b"/workspace/f", 0o101, False), ("read", b"/etc/shadow", 0, False), ("full", b"/workspace/f", 0o101, True),
    ("full", b"/f", 0o101, False), ("full", b"/etc/passwd", 0, False), ("full", b"/proc/self/environ", 0, False),
    ("full", b"/sys/kernel", 0, False), ("full", b"/dev/null", 1, True), ("full", b"/dev/sda", 0, False),
    ("full", b"/root", 0, None), ("full", b"/var/log", 0, False), ("full", b"/dev/shm/x", 0o101, False),
])
def test_the_kernel_alone(pyexec, files, path, flags, works):
    result = pyexec.result(LIBC + "libc.open(%r, %d, 0o600)" % (path, flags), *ANY, "--files", files)
    if works is not None:
        assert (int(result["last_value_repr"]) >= 0) == works, result


def test_changes_are_listed_and_returned(pyexec, tmp_path, nothing_left):
    reach(tmp_path)
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
def folder(pyexec, open_folder):
    path = open_folder / "host"
    path.mkdir()
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


# ---- names, links and other tricks ----

@pytest.mark.parametrize("name", ["a..b", "..a", "a..", "...", "..a/b", "new\nline", "ü", " ", "-", "x" * 255])
def test_odd_names_are_ordinary(own, name):
    code = "import os\nname = %r\nif '/' in name: os.mkdir(name.split('/')[0])\nopen(name, 'w').write('x')\nopen(name).read()" % name
    result = own.result(code, *ANY, "--files", "full")
    assert (result["status"], result["last_value_repr"]) == ("ok", "'x'"), result
    assert [f["path"] for f in result["files"]] == [name]


def test_a_name_that_is_not_utf8_is_still_json(own):
    result = own.result("import os\nos.close(os.open(b'\\xff', os.O_CREAT))", *ANY, "--files", "full")
    assert result["status"] == "ok" and len(result["files"]) == 1, result


@pytest.mark.parametrize("call", [
    "os.rename('f', 'g')", "os.remove('f')", "os.mkdir('d')", "os.truncate('f', 0)", "os.chmod('f', 0o777)",
    "os.utime('f')", "os.link('f', 'g')", "os.symlink('f', 'g')", "os.rmdir('d')", "shutil.copy('f', 'g')",
    "os.replace('f', 'g')", "os.makedirs('a/b')", "pathlib.Path('f').unlink()", "pathlib.Path('g').touch()",
    "open('f', 'a')", "open('f', 'r+')", "open('g', 'x')", "os.open('f', os.O_RDWR)", "os.open('f', os.O_TRUNC)",
    "sqlite3.connect('g').execute('create table t(x)')",
])
def test_read_mode_forbids_every_change(pyexec, tmp_path, call):
    (tmp_path / "f").write_text("data")
    os.chmod(tmp_path / "f", 0o644)
    reach(tmp_path)
    result = pyexec.result("import os, shutil, pathlib, sqlite3\n" + call, *ANY, "--files", "read",
                           "--file", str(tmp_path / "f"))
    assert result["status"] == "error" and result["files"] == [], result
    if "sqlite3" not in call:
        assert "PermissionError: write forbidden" in result["error_repr"], result
        assert result["denials"][0]["layer"] == "files" and result["denials"][0]["line"] == 2


@pytest.mark.parametrize("call", [
    "os.listdir('/')", "list(os.scandir('/usr'))", "os.remove('/etc/passwd')", "os.rename('f', '/tmp/f')",
    "os.mkdir('/tmp/d')", "os.link('/etc/passwd', 'g')", "os.chdir('/')", "open('/proc/self/maps')",
    "shutil.copy('/etc/passwd', 'g')", "os.truncate('/etc/passwd', 0)", "os.chmod('/etc', 0)",
    "sqlite3.connect('/tmp/x.db')", "sqlite3.connect('file:/tmp/x.db', uri=True)", "open('/usr/lib/python3.11/os.py')",
    "open(os.__file__)", "pathlib.Path('/etc/hostname').read_text()", "open('/dev/mem', 'rb')", "os.utime('/etc')",
])
def test_full_mode_ends_at_the_workspace(own, call):
    result = own.result("import os, shutil, pathlib, sqlite3\nopen('f', 'w').close()\n" + call, *ANY, "--files", "full")
    assert result["status"] == "error" and "outside sandbox" in result["error_repr"], result
    assert result["denials"][0]["layer"] == "files" and result["denials"][0]["line"] == 3, result
    assert result["denials"][0]["hint"]


@pytest.mark.parametrize("call", ["os.listdir('.')", "os.mkdir('d')", "os.remove('f')", "os.rename('f', 'g')",
                                  "list(os.scandir())", "os.listdir('/')", "open(os.__file__)", "os.symlink('a', 'b')",
                                  "import tempfile\ntempfile.TemporaryFile()", "import glob\nassert glob.glob('/*')"])
def test_none_is_none(pyexec, call):
    result = pyexec.result("import os\n" + call, *ANY)
    assert result["status"] == "error", result
    if "glob" not in call and "tempfile" not in call:
        assert result["error_repr"].startswith("PermissionError: open() disabled"), result


@pytest.mark.parametrize("trick", [
    "os.symlink('/etc', 'l')\nopen('l/passwd').read()",
    "os.symlink('/etc/passwd', 'l')\nopen('l').read()",
    "os.symlink('../../../../etc/passwd', 'l')\nopen('l').read()",
    "os.symlink('/', 'l')\nopen('l/etc/passwd').read()",
    "os.symlink('l2', 'l')\nos.symlink('/etc/passwd', 'l2')\nopen('l').read()",
    "os.symlink('/proc/self/root/etc/passwd', 'l')\nopen('l').read()",
    "os.symlink('/proc/1/cwd', 'l')\nopen('l/x').read()",
    "fd = os.open('.', os.O_RDONLY)\nos.fdopen(os.open('../etc/passwd', os.O_RDONLY, dir_fd=fd)).read()",
    "fd = os.open('.', os.O_PATH)\nos.fdopen(os.open('/etc/passwd', os.O_RDONLY, dir_fd=fd)).read()",
    "fd = os.open('.', os.O_RDONLY)\nos.fchdir(fd)\nopen('../etc/passwd').read()",
    "open(b'/etc/passwd').read()", "open('/workspace/../etc/passwd').read()", "open('//etc/passwd').read()",
    "class P:\n    n = 0\n    def __fspath__(self):\n        P.n += 1\n        return 'f' if P.n < 2 else '/etc/passwd'\nopen('f', 'w').close()\nassert open(P()).read() != ''",
    "class S(str): pass\nopen(S('/etc/passwd')).read()",
    "import _io\n_io.open('/etc/passwd').read()", "import posix\nposix.open('/etc/passwd', 0)",
    "import importlib.util\ns = importlib.util.spec_from_file_location('p', '/etc/passwd')\ns.loader.get_data('/etc/passwd')",
    "import zipfile\nzipfile.ZipFile('/etc/passwd')", "import linecache\nassert linecache.getlines('/etc/passwd')",
    "import fileinput\nprint(next(fileinput.input('/etc/passwd')))", "import runpy\nrunpy.run_path('/etc/passwd')",
    "import tokenize\ntokenize.open('/etc/passwd')", "import pwd\nassert pwd.getpwnam('root') and pwd.getpwall()[3:]",
    "import ssl\nssl.create_default_context().load_verify_locations('/etc/passwd')",
])
def test_tricks_do_not_reach_the_host(own, trick):
    result = own.result("import os\n" + trick, *ANY, "--files", "full")
    assert result["status"] == "error" and "root:" not in json.dumps(result), result


def test_links_inside_the_workspace(own):
    """Hard links work. Symbolic links can be made and read, but opening a file never follows them (nosymfollow)."""
    code = ("import os\nopen('f', 'w').write('x')\nos.symlink('f', 'l')\nos.mkdir('d')\nos.symlink('../f', 'd/l')\n"
            "os.link('f', 'h')\ntry: open('l')\nexcept OSError as e: print(e.errno)\n"
            "os.readlink('l'), os.readlink('d/l'), open('h').read(), os.path.exists('/etc/passwd')")
    result = own.result(code, *ANY, "--files", "full")
    assert (result["stdout"], result["last_value_repr"]) == ("40\n", "('f', '../f', 'x', False)"), result
    assert [f["path"] for f in result["files"]] == ["f", "h"]


@pytest.mark.parametrize("files", ["none", "read", "full"])
def test_fopen_of_the_c_library_sees_no_host_file(pyexec, tmp_path, files):
    secret = tmp_path / "secret"
    secret.write_text("x")
    reach(tmp_path)
    paths = ["/etc/passwd", "/etc/shadow", "/etc/hostname", "/root/.bashrc", "/proc/self/status", "/proc/1/environ",
             "/proc/version", "/sys/devices", "/dev/sda", "/dev/kmsg", "/dev/mem", "/var/log/dpkg.log", "/var/log", "/home/alice", "/boot",
             str(secret), os.path.join(pyexec.folder, "pyexec"), "/tmp/.X11-unix", "/run/lock", "/bin/sh", "/usr/bin/env"]
    code = LIBC + ("libc.fopen.restype = ctypes.c_void_p\n[p for p in %r if libc.fopen(p.encode(), b'r')]" % paths)
    result = pyexec.result(code, *ANY, "--files", files)
    assert result["last_value_repr"] == "[]", result


@pytest.mark.parametrize("files, writes", [("none", False), ("read", False), ("full", True)])
def test_fopen_of_the_c_library_in_the_workspace(pyexec, files, writes):
    code = LIBC + "libc.fopen.restype = ctypes.c_void_p\nlibc.fopen(b'/workspace/new', b'w') is not None"
    result = pyexec.result(code, *ANY, "--files", files)
    assert result["last_value_repr"] == str(writes), result
    code = LIBC + ("bad = []\nfor p in (b'/', b'/tmp', b'/usr', b'/usr/lib', b'/usr/lib/python3.11', b'/dev', b'/etc', b'/proc', b'/dev/shm'):\n"
                   "    if libc.open(p + b'/x', 0o101, 0o600) >= 0 or libc.mkdir(p + b'/y', 0o700) == 0: bad.append(p)\nbad")
    assert pyexec.result(code, *ANY, "--files", files)["last_value_repr"] == "[]"


def has_zoneinfo(own):
    return own.result("import sys\nsys.version_info >= (3, 9)", *ANY)["last_value_repr"] == "True"


def test_imports_read_files_in_every_mode(own):
    modules = "xml.dom.minidom, sqlite3, decimal" + (", zoneinfo" if has_zoneinfo(own) else "")
    for files in ("none", "read", "full"):
        result = own.result("import " + modules, *ANY, "--files", files)
        assert result["status"] == "ok", (files, result)


@pytest.mark.skipif(not os.path.exists("/usr/share/zoneinfo/Europe/Berlin"), reason="no time zones on this machine")
@pytest.mark.parametrize("files", ["none", "read", "full"])
def test_allowed_modules_read_their_own_data(own, files):
    if not has_zoneinfo(own):
        pytest.skip("zoneinfo is new in Python 3.9")
    code = "import zoneinfo, datetime\nstr(datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin')).utcoffset())"
    result = own.result(code, "--allow-import", "zoneinfo", "--files", files)
    assert result["last_value_repr"] == "'2:00:00'" and result["denials"] == [], result


# ---- files into a run and out of it ----

def test_file_names(own, tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).write_text(name)
    (tmp_path / "big").write_bytes(os.urandom(3 << 20))
    code = "import os\nsorted(os.path.join(d, f)[2:] for d, _, fs in os.walk('.') for f in fs), os.path.getsize('big')"
    result = own.result(code, *ANY, "--files", "full", "--file", "%s" % (tmp_path / "a"), "--file", "%s:x/y/z" % (tmp_path / "b"),
                        "--file", str(tmp_path / "big"))
    assert result["last_value_repr"] == "(['a', 'big', 'x/y/z'], %d)" % (3 << 20), result
    assert result["files"] == []


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..", ""])
def test_file_names_that_leave_are_refused(own, tmp_path, name):
    (tmp_path / "f").write_text("x")
    done = own.run("run", "--json", "--files", "read", "--file", "%s:%s" % (tmp_path / "f", name), "-c", "1")
    if name == "":
        assert done.returncode in (0, 125)
    else:
        assert done.returncode == 125 and json.loads(done.stdout)["code"] == "invalid_request", done


def test_file_that_cannot_be_read(own, tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        done = own.run("run", "--json", "--files", "read", "--file", str(path), "-c", "1")
        assert done.returncode == 125 and str(path).encode() in done.stdout + done.stderr, done


def test_files_larger_than_the_workspace(own, tmp_path):
    (tmp_path / "f").write_bytes(b"x" * (2 << 20))
    done = own.run("run", "--json", "--files", "read", "--workspace-bytes", "1M", "--file", str(tmp_path / "f"), "-c", "1")
    assert done.returncode == 125 and json.loads(done.stdout)["code"] == "invalid_request", done


def test_changes_that_hide_are_found(own, tmp_path):
    for name in ("same", "swap", "untouched", "touched"):
        (tmp_path / name).write_text("aaaa")
    flags = [x for n in ("same", "swap", "untouched", "touched") for x in ("--file", str(tmp_path / n))]
    code = ("import os\ns = os.stat('same')\nopen('same', 'r+').write('bbbb')\nos.utime('same', ns=(s.st_atime_ns, s.st_mtime_ns))\n"
            "s = os.stat('swap')\nopen('n', 'w').write('bbbb')\nos.utime('n', ns=(s.st_atime_ns, s.st_mtime_ns))\nos.replace('n', 'swap')\n"
            "open('untouched').read()\nopen('gone', 'w').close()\nos.remove('gone')")
    result = own.result(code, *ANY, "--files", "full", *flags)
    assert [(f["path"], f["change"]) for f in result["files"]] == [("same", "modified"), ("swap", "modified")], result


def test_files_are_sorted_and_at_most_1000(own):
    result = own.result("for n in range(1500): open('%04d' % (n * 7 % 1500), 'w').close()", "--files", "full")
    names = [f["path"] for f in result["files"]]
    assert names == sorted(names) and len(names) == 1000 and result["files_truncated"]
    result = own.result("for n in range(1000): open('%04d' % n, 'w').close()", "--files", "full")
    assert len(result["files"]) == 1000 and not result["files_truncated"]


def test_returned_contents_are_at_most_8_mib(own):
    code = "for n in 'abc': open(n, 'wb').write(n.encode() * (3 << 20))\nopen('d', 'w').write('d')"
    result = own.result(code, "--files", "full", "--return-files", "*")
    sizes = [f["content_base64"] and len(base64.b64decode(f["content_base64"])) for f in result["files"]]
    assert sizes[:2] == [3 << 20, 3 << 20] and sizes[2] is None, sizes
    assert [f["bytes"] for f in result["files"]] == [3 << 20] * 3 + [1]


@pytest.mark.parametrize("glob, expected", [("*.txt", ["a.txt", "d/b.txt"]), ("d/*", ["d/b.txt", "d/c"]), ("?.txt", ["a.txt"]), ("nothing", [])])
def test_return_globs(own, glob, expected):
    code = "import os\nos.mkdir('d')\nfor n in ('a.txt', 'd/b.txt', 'd/c'): open(n, 'w').write(n)\nNone"
    result = own.result(code, *ANY, "--files", "full", "--return-files", glob)
    found = [f["path"] for f in result["files"] if f["content_base64"] is not None]
    assert found == expected or glob == "*.txt" and found == ["a.txt"], result
    for file in result["files"]:
        assert file["content_base64"] in (None, base64.b64encode(file["path"].encode()).decode())


@pytest.mark.parametrize("what", [
    "os.mkfifo('p')", "os.symlink('/etc/passwd', 'p')", "os.symlink('/', 'p')", "os.mknod('p')\nos.chmod('p', 0)",
    "f = open('p', 'wb')\ntry: f.truncate(1 << 40)\nexcept OSError: pass", "os.symlink('p', 'p')",
    "f = open('p', 'wb')\nf.truncate(60 << 20)", "os.mkdir('p')\nopen('p/q', 'w').close()\nos.chmod('p', 0)",
    "d = '.'\nfor n in range(3000):\n    os.mkdir('a'); os.chdir('a')\nopen('p', 'w').close()",
    "import socket\ns = socket.socket(socket.AF_UNIX)\ns.bind('p')",
])
def test_odd_things_left_behind_do_not_disturb(pyexec, tmp_path, what):
    """FIFOs, links, sparse files, unreadable files and very deep folders: nothing hangs, takes memory or shows anything of the host."""
    os.chown(tmp_path, pyexec.uid, pyexec.uid)
    reach(tmp_path)
    process = pyexec.popen("run", "--json", *ANY, "--files", "full", "--return-files", "*", "--output", str(tmp_path),
                           "-c", "import os\n" + what, stdin=-3, stdout=-1, stderr=-1)
    peak = PeakMemory(process)
    out, err = process.stdout.read(), process.stderr.read()
    process.wait()
    process.stdout.close(), process.stderr.close()
    result = json.loads(out)
    assert "code" not in result, result
    assert b"root:" not in base64.b64decode("".join(f["content_base64"] or "" for f in result["files"])), result
    assert not (tmp_path / "p").is_symlink() and not (tmp_path / "p").is_fifo()
    assert 0 < peak.kib < 150 << 10, peak.kib


def test_output_does_not_follow_links_of_the_target(own, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir(), other.mkdir()
    (out / "s").symlink_to(other)
    own.run("run", "--files", "full", *ANY, "--output", str(out), "-c", "import os\nos.mkdir('s')\nopen('s/t', 'w').write('hi')\nNone")
    assert not (other / "t").exists()


def test_output_is_there_after_an_error_too(own, tmp_path):
    done = own.run("run", "--files", "full", "--output", str(tmp_path / "new"), "-c", "open('t', 'w').write('hi')\n1 / 0")
    assert done.returncode == 1 and (tmp_path / "new" / "t").read_text() == "hi", done.stderr


@pytest.mark.parametrize("option", ["--output", "--save-display"])
def test_a_folder_that_can_not_be_had_is_told_before_the_script_runs(own, option, tmp_path):
    (tmp_path / "plain").touch()
    for place in ("no/such", "plain", "plain/in"):
        done = own.run("run", "--files", "full", option, str(tmp_path / place), "-c", "print('it ran')")
        assert done.returncode == 125 and str(tmp_path / place).encode() in done.stderr and b"hint" in done.stderr, done.stderr
        assert b"it ran" not in done.stdout
    for place in (str(tmp_path / "new") + "//", str(tmp_path / "new"), "/tmp"):
        assert own.run("run", "--files", "full", option, place, "-c", "print('it ran')").stdout == b"it ran\n"


# ---- quota ----

@pytest.mark.parametrize("bomb", ["os.mkdir('d%d' % n)", "os.symlink('x' * 200, 'l%d' % n)", "os.link('f', 'h%d' % n)",
                                  "open('f%d' % n, 'w').close()", "os.truncate('f', n << 12)", "os.mkdir('d')\n        os.chdir('d')"])
def test_no_bomb_of_inodes_grows_without_end(pyexec, bomb):
    code = ("import os\nopen('f', 'w').close()\nn = 0\ntry:\n    while n < 1000000:\n        %s\n        n += 1\n"
            "except OSError as e: print(e.errno)\nn < 70000" % bomb)
    result = pyexec.result(code, *ANY, "--files", "full", "--workspace-bytes", "1M", "--timeout", "20s", "--cpu-time-seconds", "20")
    assert result["last_value_repr"] == "True" and result["stdout"] in ("28\n", "27\n", "31\n", "36\n"), result


def test_space_is_free_again_after_a_delete(own):
    code = "import os\nfor _ in range(8):\n    open('f', 'wb').write(b'x' * 900000)\n    os.remove('f')\n1"
    assert own.result(code, *ANY, "--files", "full", "--workspace-bytes", "1M")["last_value_repr"] == "1"


# ---- tempfile ----

def test_tempfile_in_all_its_forms(pyexec):
    code = ("import tempfile, os\nf = tempfile.TemporaryFile()\nf.write(b'x')\nn = tempfile.NamedTemporaryFile('w')\n"
            "fd, p = tempfile.mkstemp()\ns = tempfile.SpooledTemporaryFile(max_size=1)\ns.write(b'abc')\n"
            "os.path.realpath(tempfile.gettempdir()).startswith('/workspace'), os.path.exists(n.name), tempfile.mkdtemp() != p")
    result = pyexec.result(code, *ANY, "--files", "full")
    assert result["last_value_repr"] == "(True, True, True)", result


# ---- a folder of the host ----

def test_a_host_folder_is_kept_and_listed(pyexec, folder):
    for name in ("change", "remove", "keep"):
        (folder / name).write_text(name)
        os.chown(folder / name, pyexec.uid, pyexec.uid)
    (folder / "sub").mkdir()
    os.chown(folder / "sub", pyexec.uid, pyexec.uid)
    code = "import os\nopen('change', 'a').write('d')\nos.remove('remove')\nopen('sub/new', 'w').write('n')\nNone"
    result = pyexec.result(code, *ANY, "--files", "full", "--workspace", str(folder))
    assert [(f["path"], f["change"], f["bytes"]) for f in result["files"]] == [
        ("change", "modified", 7), ("remove", "deleted", 0), ("sub/new", "created", 1)], result
    assert sorted(os.listdir(folder)) == ["change", "keep", "sub"]
    new = (folder / "sub" / "new").stat()
    assert (new.st_uid, new.st_gid) == (pyexec.uid, pyexec.uid)


def test_a_host_folder_in_read_mode_cannot_be_changed(pyexec, folder):
    (folder / "f").write_text("data")
    os.chown(folder / "f", pyexec.uid, pyexec.uid)
    before = (folder / "f").stat()
    code = LIBC + ("p = %r\n[libc.open(p + b'/f', 1), libc.unlink(p + b'/f'), libc.rename(p + b'/f', p + b'/g'), libc.chmod(p + b'/f', 0),\n"
                   "    libc.truncate(p + b'/f', 0), libc.mkdir(p + b'/d', 0o700), libc.utimes(p + b'/f', None), libc.symlink(b'x', p + b'/s')]"
                   % os.fsencode(folder))
    result = pyexec.result(code, *ANY, "--files", "read", "--workspace", str(folder))
    assert result["last_value_repr"] == repr([-1] * 8), result
    after = (folder / "f").stat()
    assert os.listdir(folder) == ["f"] and (before.st_ctime_ns, before.st_size) == (after.st_ctime_ns, after.st_size)
    assert pyexec.result("open('f').read()", "--files", "read", "--workspace", str(folder))["last_value_repr"] == "'data'"


def test_only_the_host_folder_itself_is_seen(pyexec, folder):
    (folder.parent / "sibling").mkdir(exist_ok=True)
    (folder.parent / "sibling" / "secret").write_text("s")
    code = LIBC + "libc.open(%r, 0), libc.open(%r, 0)" % (
        os.fsencode(folder.parent / "sibling" / "secret"), os.fsencode(folder) + b"/../sibling/secret")
    result = pyexec.result(code, *ANY, "--files", "full", "--workspace", str(folder))
    assert result["last_value_repr"] == "(-1, -1)", result


def test_links_in_a_host_folder_are_not_followed_by_the_host(pyexec, folder):
    (folder / "etc").symlink_to("/etc")
    (folder / "passwd").symlink_to("/etc/passwd")
    result = pyexec.result("import os\nos.symlink('/etc/hostname', 'h')", *ANY, "--files", "full", "--workspace", str(folder), "--return-files", "*")
    assert result["files"] == [], result


def test_working_dir_in_a_host_folder(pyexec, folder):
    result = pyexec.result("import os\nopen('f', 'w').write('x')\nos.getcwd()", *ANY, "--files", "full", "--workspace", str(folder), "--working-dir", "a/b")
    assert result["last_value_repr"] == repr(str(folder / "a" / "b")), result
    assert (folder / "a" / "b" / "f").read_text() == "x" and (folder / "a").stat().st_uid == pyexec.uid
    assert [f["path"] for f in result["files"]] == ["a/b/f"]


@pytest.mark.parametrize("target", ["..", "/", "/etc", "../outside", "up/.."])
def test_working_dir_through_a_link(own, tmp_path, target):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "l").symlink_to(target)
    error = own.error("1", "--files", "full", "--workspace", str(tmp_path / "w"), "--working-dir", "l/x")
    assert error["code"] == "invalid_request" and error["hint"], error
    if target != "up/..":
        assert "outside sandbox" in error["message"], error
    assert not (tmp_path / "x").exists() and not (tmp_path / "outside").exists()


@pytest.mark.parametrize("workspace", ["relative", "/no/such/folder", "/etc/passwd"])
def test_a_host_folder_that_is_none(own, workspace):
    error = own.error("1", "--files", "full", "--workspace", workspace)
    assert error["code"] == "invalid_request" and "workspace" in error["message"], error
