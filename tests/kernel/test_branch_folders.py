"""Forks of sessions whose workspace is a folder of the host (workspace_root): docs/branches.md."""
import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile

import pytest

from conftest import BUILD, ROOT
from library import Failure
from serving import serving, token_line
from test_branches import FILES as QUICK, MIXED, NATIVE, X86, started, value
from waiting import wait_until

FILES = {**QUICK, "timeout_ms": 60_000, "cpu_time_seconds": 60}
OPENAT = 257 if X86 else 56


def folder_for(program, root):
    os.chown(root, program.uid, program.uid)
    return {"workspace_root": str(root)}


@pytest.fixture
def root(open_folder):
    return open_folder


@pytest.fixture
def folders(pyexec, root, nothing_left):
    with started(pyexec, FILES, session=folder_for(pyexec, root)) as executor:
        executor.call("s", NATIVE)
        yield executor


def test_the_branch_has_a_folder_of_its_own_with_the_same_files(folders, root, pyexec):
    folders.call("s", "os.mkdir('d'); os.mkdir('d/empty')\nopen('a.txt', 'w').write('one')\nos.link('a.txt', 'd/same')\nos.symlink('../a.txt', 'd/link')\n"
                 "with open('sparse', 'wb') as file: file.write(b'x'); file.seek(40_000_000); file.write(b'y')\n"
                 "os.chmod('a.txt', 0o640); os.utime('a.txt', (1000, 2000)); open('locked', 'w').write('secret'); os.chmod('locked', 0); os.chmod('d/empty', 0)")
    folders.fork("s", "a")
    folders.fork("a", "a.a")
    seen = ("sorted(os.listdir('.')), sorted(os.listdir('d')), open('d/same').read(), os.stat('a.txt').st_nlink, os.readlink('d/link'), "
            "os.stat('sparse').st_size, os.stat('sparse').st_blocks < 1000, oct(os.stat('a.txt').st_mode), os.stat('a.txt').st_mtime, "
            "oct(os.stat('locked').st_mode), oct(os.stat('d/empty').st_mode), os.getcwd()")
    first = value(folders, "s", seen)
    assert first[2:7] == ("one", 2, "../a.txt", 40_000_001, True) and first[-1] == str(root / "s")
    assert value(folders, "a", seen) == value(folders, "a.a", seen) == first
    assert value(folders, "a", "os.chmod('locked', 0o600); open('locked').read()") == "secret"
    assert {(status.st_uid, status.st_gid) for status in map(os.stat, (root / "a", root / "a" / "a.txt"))} == {(pyexec.uid, pyexec.uid)}
    assert oct(os.stat(root / "a").st_mode) == "0o40700"


def test_the_branchs_folder_is_listed_in_the_order_of_its_source(folders):
    folders.call("s", MIXED + "mix(50)")
    before = value(folders, "s", "listed()")
    folders.fork("s", "a")
    assert value(folders, "a", "listed()") == before


def test_folders_of_branches_go_their_own_way_and_end_with_them(folders, root):
    folders.call("s", "open('a', 'w').write('s')\nopened = open('a', 'r+')\nos.link('a', 'b')")
    folders.fork("s", "a", "b")
    folders.call("a", "open('a', 'w').write('from a'); open('new', 'w').write('n')")
    folders.call("s", "opened.write('S'); opened.flush()")
    folders.write_file("b", "by_host", b"hb")
    assert [(root / name / "a").read_text() for name in ("s", "a", "b")] == ["S", "from a", "s"]
    assert (root / "a" / "b").read_text() == "from a"
    assert sorted(os.listdir(root / "b")) == ["a", "b", "by_host"] and folders.read_file("b", "by_host") == b"hb"
    # What was open belongs to the source alone.
    assert value(folders, "a", "try: os.pread(opened.fileno(), 9, 0)\nexcept OSError as e: x = e.errno\nx") == 9
    result = folders.call("a", "open('z', 'w').write('z')")
    assert [(item["path"], item["change"]) for item in result["files"]] == [("z", "created")]
    folders.close("s")
    folders.close("b")
    assert os.listdir(root) == ["a"] and value(folders, "a", "open('a').read()") == "from a"
    folders.close_all()
    assert os.listdir(root) == []


def test_nothing_but_its_own_folder_can_be_reached(folders, root):
    folders.call("s", "open('mine', 'w').write('s')")
    folders.fork("s", "a", "b")
    for name in ("s", "a", "b"):
        folders.call(name, "open('mine', 'w').write(%r)" % name)
        others = [str(root / other / "mine") for other in "ab"] + ["../a/mine", "../b/mine", "/proc/self/cwd/../a/mine"]
        assert value(folders, name, "[sc(%d, -100, p.encode(), 0, 0) for p in %r]" % (OPENAT, others)) == [-2] * 5       # ENOENT
        made = [str(root / "x"), "../x", "/x"]
        answers = value(folders, name, "[sc(%d, -100, p.encode(), %d, 0o600) for p in %r]" % (OPENAT, os.O_WRONLY | os.O_CREAT, made))
        assert answers == [-30] * 3                                                                                      # EROFS
    assert [(root / name / "mine").read_text() for name in "sab"] == ["s", "a", "b"] and sorted(os.listdir(root)) == ["a", "b", "s"]


def test_links_that_lead_outside_are_copied_as_links(folders, root, open_folder):
    secret = open_folder / "secret"
    secret.mkdir()
    (secret / "file").write_text("secret")
    folders.call("s", "os.symlink(%r, 'folder'); os.symlink(%r, 'file'); os.symlink('/etc/passwd', 'etc')"
                 % (str(secret), str(secret / "file")))
    folders.fork("s", "a")
    assert [os.readlink(root / "a" / name) for name in ("folder", "file", "etc")] == [str(secret), str(secret / "file"), "/etc/passwd"]
    assert os.listdir(secret) == ["file"] and (secret / "file").read_text() == "secret"


def test_a_folder_that_is_there_is_not_taken(folders, root):
    (root / "taken").mkdir()
    (root / "taken" / "theirs").write_text("x")
    with pytest.raises(Failure, match="invalid_request.*can't make '%s/taken'.*another id" % root):
        folders.fork("s", "first", "taken")
    assert sorted(os.listdir(root)) == ["s", "taken"] and os.listdir(root / "taken") == ["theirs"]
    assert folders.fork("s", "a") == ["a"]


def test_each_branch_has_the_quota_of_its_folder(pyexec, root, nothing_left):
    """The files are counted at the end of each call. A full session can't let its files grow, and its branches are full too."""
    with started(pyexec, {**FILES, "workspace_bytes": 1 << 20}, session=folder_for(pyexec, root)) as executor:
        executor.call("s", "open('mine', 'wb').write(bytes(700_000))")
        executor.fork("s", "a", "b")
        grow = "n = 0\ntry:\n    with open('more', 'ab', buffering=0) as file:\n        n = file.write(bytes(400_000))\nexcept OSError as e: n = -e.errno\nn"
        assert [value(executor, name, grow) for name in ("a", "b")] == [400_000] * 2
        executor.fork("a", "full")
        assert [value(executor, name, grow) for name in ("a", "b", "full", "s")] == [-27, -27, -27, 400_000]
        assert executor.call("full", "import os\nos.remove('mine')")["status"] == "ok"
        assert value(executor, "full", grow) == 400_000


def test_a_read_only_folder_stays_read_only(pyexec, root, nothing_left):
    with started(pyexec, {**FILES, "allow_readonly_open": True}, session=folder_for(pyexec, root)) as executor:
        executor.call("s", NATIVE)
        executor.write_file("s", "given", b"1")
        executor.fork("s", "a")
        executor.write_file("a", "given", b"2")
        assert value(executor, "a", "open('given').read()") == "2" and value(executor, "s", "open('given').read()") == "1"
        assert value(executor, "a", "[sc(%d, -100, name, %d, 0o600) for name in (b'new', b'given')]" % (OPENAT, os.O_WRONLY | os.O_CREAT)) == [-30, -30]


def test_sessions_without_files_have_empty_folders(pyexec, root, nothing_left):
    with started(pyexec, {**FILES, "disable_open": True}, session=folder_for(pyexec, root)) as executor:
        executor.call("s", "x = 1")
        executor.fork("s", "a")
        assert value(executor, "a", "x") == 1
        assert sorted(os.listdir(root)) == ["a", "s"] and os.listdir(root / "a") == []
    assert os.listdir(root) == []


def test_the_owner_of_an_adopted_folder_owns_the_branchs(own, root, nothing_left):
    """The run's user has the rights of the folder's owner in it, so a branch's folder must have the same owner."""
    if os.getuid() != 0:
        pytest.skip("only root can give folders to others")
    (root / "s").mkdir()
    (root / "s" / "theirs").write_text("x")
    for path in (root / "s", root / "s" / "theirs"):
        os.chown(path, 4321, 4322)
    with started(own, FILES, session={"workspace_root": str(root), "adopt_workspace": True}) as executor:
        executor.call("s", "open('new', 'w').write('n')")
        executor.fork("s", "a")
        executor.call("a", "open('theirs', 'w').write('from a'); open('newer', 'w').write('n')")
        assert {(status.st_uid, status.st_gid) for status in map(os.stat, (root / "a", *(root / "a").iterdir()))} == {(4321, 4322)}
        assert (root / "a" / "theirs").read_text() == "from a" and (root / "s" / "theirs").read_text() == "x"
    assert os.listdir(root) == ["s"]


def test_a_principals_branches_have_folders_beside_its_sessions(pyexec, root, nothing_left):
    """The folder of the principal is removed with its last session."""
    with serving(pyexec, "--forkable", "--files", "full", "--timeout", "60s", tokens=[token_line("alice", "a"), token_line("bob", "b")],
                 tcp=True, config="[session]\nworkspace_root = %s\n" % folder_for(pyexec, root)["workspace_root"]) as server:
        for name, token in (("alice", "a"), ("bob", "b")):
            server.result("open('f', 'w').write(%r)" % name, "s", token=token)
            assert server.ask("POST", "/v1/sessions/s/fork", {"ids": ["branch"]}, token=token).status == 201
            server.result("open('f', 'a').write(' branch')", "branch", token=token)
        assert sorted(str(path.relative_to(root)) for path in root.glob("*/*/*")) == \
            ["alice/branch/f", "alice/s/f", "bob/branch/f", "bob/s/f"]
        assert (root / "alice/branch/f").read_text() == "alice branch" and (root / "bob/s/f").read_text() == "bob"
        assert server.ask("GET", "/v1/sessions/branch/files/f", token="b").body == b"bob branch"
        assert server.ask("DELETE", "/v1/sessions/s", token="a").status == 204
        assert server.result("open('f').read()", "branch", token="a")["last_value_repr"] == "'alice branch'"
        assert sorted(str(path.relative_to(root)) for path in root.glob("*/*")) == ["alice/branch", "bob/branch", "bob/s"]
        assert server.ask("DELETE", "/v1/sessions/branch", token="a").status == 204
        wait_until(lambda: sorted(os.listdir(root)) == ["bob"], "the principal's folder is left")
    assert os.listdir(root) == []


def test_what_is_mounted_inside_is_not_copied(own, root, nothing_left):
    """The script does not see it."""
    if os.getuid() != 0:
        pytest.skip("only root can mount")
    inner = root / "s" / "inner"
    inner.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "none", inner], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip("nothing can be mounted here: " + mounted.stderr)
    try:
        (inner / "secret").write_text("x")
        with started(own, FILES, session={"workspace_root": str(root), "adopt_workspace": True}) as executor:
            assert value(executor, "s", "import os\nos.listdir('inner')") == []
            with pytest.raises(Failure, match="session_not_forkable.*a mount inside.*Unmount"):
                executor.fork("s", "a")
            assert os.listdir(root) == ["s"]
    finally:
        subprocess.run(["umount", inner], check=True)


def test_a_mapped_file_prevents_the_fork(folders):
    folders.call("s", "import mmap\nopen('a', 'wb').write(bytes(8192))\nfile = open('a', 'r+b')")
    for access in ("ACCESS_WRITE", "ACCESS_READ", "ACCESS_COPY"):
        folders.call("s", "m = mmap.mmap(file.fileno(), 0, access=mmap.%s)" % access)
        with pytest.raises(Failure, match="session_not_forkable.*/s/a.*mmap.close"):
            folders.fork("s", "a")
        folders.call("s", "m.close()")
    folders.call("s", "m = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY); os.remove('a')")
    with pytest.raises(Failure, match="session_not_forkable.*/s/a.*mmap.close"):
        folders.fork("s", "a")
    folders.call("s", "m.close()")
    assert folders.fork("s", "a") == ["a"]


def test_memory_of_no_file_is_copied(folders):
    folders.call("s", "import mmap\nm = mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); m[0] = 1")
    folders.fork("s", "a")
    assert value(folders, "a", "m[0] += 1; m[0]") == 2 and value(folders, "s", "m[0]") == 1
    assert folders.call("s", "mmap.mmap(-1, 8192)")["error"]["type"] == "PermissionError"       # nothing would count shared memory


def test_many_names_of_one_file_are_copied(folders, root):
    folders.call("s", "for i in range(400):\n    open('f%d' % i, 'w').close(); os.link('f%d' % i, 'g%d' % i); os.link('f%d' % i, 'h%d' % i)")
    folders.fork("s", "a")
    names = os.listdir(root / "a")
    inodes = {name: os.stat(root / "a" / name).st_ino for name in names}
    assert len(names) == 1200 and len(set(inodes.values())) == 400
    assert all(inodes["f%d" % i] == inodes["g%d" % i] == inodes["h%d" % i] for i in range(400))


# ---- File systems whose files can share their bytes ----

@pytest.fixture(scope="module")
def btrfs(tmp_path_factory):
    """A folder on a btrfs of its own."""
    if os.getuid() != 0:
        pytest.skip("only root can mount")
    made = subprocess.run([ROOT + "/tools/mkfs-btrfs.sh", BUILD], capture_output=True, text=True, timeout=200)
    program = shutil.which("mkfs.btrfs") or BUILD + "/btrfs/mkfs.btrfs"
    if not os.path.exists(program):
        pytest.skip("no mkfs.btrfs from Debian's archive: " + made.stderr[-200:])
    image = tmp_path_factory.mktemp("btrfs") / "image"
    folder = tempfile.mkdtemp(prefix="pyexec-test-")
    with open(image, "wb") as file:
        file.truncate(256 << 20)
    for command in ([program, "-q", image], ["mount", "-o", "loop", image, folder]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            os.rmdir(folder)
            pytest.skip("no btrfs can be mounted here: " + done.stderr[-200:])
    os.chmod(folder, 0o755)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
        os.rmdir(folder)
        os.remove(image)


def shared_extents(path):
    """Whether each part of the file is shared with another file (the kernel's fiemap.rst)."""
    with open(path, "rb") as file:
        request = bytearray(struct.pack("=QQIIII", 0, ctypes.c_uint64(-1).value, 1, 0, 64, 0) + bytes(64 * 56))
        fcntl.ioctl(file, 0xC020660B, request)
    count = struct.unpack_from("=I", request, 20)[0]
    return [bool(struct.unpack_from("=I", request, 32 + 56 * i + 40)[0] & 0x2000) for i in range(count)]


def test_where_it_can_the_file_system_shares_the_bytes(pyexec, btrfs, nothing_left):
    root = tempfile.mkdtemp(dir=btrfs)
    with started(pyexec, FILES, session=folder_for(pyexec, root)) as executor:
        executor.call("s", NATIVE + "open('data', 'wb').write(os.urandom(4 << 20)); open('small', 'w').write('s')")
        executor.fork("s", "a", "b")
        for name in ("s", "a", "b"):
            shared = shared_extents("%s/%s/data" % (root, name))
            assert shared and all(shared), name
        executor.call("a", "with open('data', 'r+b') as file: file.write(b'from a')")
        contents = [open("%s/%s/data" % (root, name), "rb").read() for name in ("s", "a", "b")]
        assert contents[0] == contents[2] and contents[1] == b"from a" + contents[0][6:] and len(contents[0]) == 4 << 20
        executor.call("s", "import mmap\nfile = open('small', 'r+b')\nm = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)")
        with pytest.raises(Failure, match="session_not_forkable.*/s/small.*mmap.close"):
            executor.fork("s", "c")
    assert os.listdir(root) == []
