"""The quota of folders of the host, which pyexec itself enforces, and how native code can hide bytes from its counting."""
import contextlib
import os

import pytest

from library import Executor, Failure

OPEN = {"use_import_whitelist": False, "banned_imports": [], "block_dunder_imports": False, "disable_open": False}
QUOTA = 100000
RESERVE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open("file", os.O_CREAT | os.O_RDWR, 0o600)
reserved = [mode for mode in range(1, 128) if libc.fallocate(fd, mode, ctypes.c_long(0), ctypes.c_long(16 << 20)) == 0]
[mode for mode in reserved if os.fstat(fd).st_blocks * 512 > 1 << 20], os.fstat(fd).st_blocks * 512 > 1 << 20
"""
# Makes a file whose parent is this many folders below the workspace. The path of the working directory stays below PATH_MAX.
DEEP = """
import os
top = os.open(".", os.O_RDONLY)
for _ in range(%d):
    os.makedirs("d", exist_ok=True)
    os.chdir("d")
try:
    with open("file", "ab") as file: file.write(bytes(%d))
except OSError as error:
    print(error)
os.fchdir(top)
os.close(top)
"""
LIFT = "import resource\n_, most = resource.getrlimit(resource.RLIMIT_FSIZE)\nresource.setrlimit(resource.RLIMIT_FSIZE, (most, most))\n"
FULL = "the workspace is full"


def disk_bytes(folder):
    return sum(os.lstat(os.path.join(path, name)).st_blocks * 512 for path, _, names in os.walk(folder) for name in names)


@pytest.fixture
def executor(pyexec, open_folder, nothing_left):
    """Makes sessions below open_folder, with a quota of QUOTA bytes."""
    user = {} if pyexec.uid == os.getuid() else {"user": pyexec.uid, "group": pyexec.uid, "extra_groups": []}
    os.chown(open_folder, pyexec.uid, pyexec.uid)
    with Executor(dict(OPEN, workspace_bytes=QUOTA, max_open_files=256, cpu_time_seconds=60, timeout_ms=120000), {"workspace_root": str(open_folder)}, program=pyexec.path, cwd="/", **user) as made:
        yield made


def denials(result):
    return [denial["what"] for denial in result["denials"]]


def test_no_disk_space_is_reserved_beyond_the_size_of_a_file(executor, open_folder):
    """FALLOC_FL_KEEP_SIZE takes space that no file's size shows, whatever RLIMIT_FSIZE says."""
    result = executor.call("s", RESERVE)
    assert result["last_value_repr"] == "([], False)", result
    assert disk_bytes(open_folder) < 1 << 20


def test_nor_in_a_workspace_of_the_callers(executor, open_folder, pyexec):
    folder = open_folder / "workspace"
    folder.mkdir()
    os.chown(folder, pyexec.uid, pyexec.uid)
    result = executor.call(None, RESERVE, workspace=str(folder))
    assert result["last_value_repr"] == "([], False)", result
    assert disk_bytes(folder) < 1 << 20


def test_space_can_be_reserved_as_a_files_size_and_given_back(executor):
    """The effect of os.posix_fallocate, and of a hole."""
    code = ("import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nfd = os.open('f', os.O_CREAT | os.O_RDWR, 0o600)\n"
            "os.posix_fallocate(fd, 0, 65536)\nbefore = os.fstat(fd)\n"
            "hole = libc.fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(65536))\n"
            "before.st_size, os.fstat(fd).st_size, hole, os.fstat(fd).st_blocks < before.st_blocks")
    result = executor.call("s", code)
    assert result["last_value_repr"] == "(65536, 65536, 0, True)", result


@pytest.mark.parametrize("depth, counted", [(63, True), (64, True), (65, False), (200, False)])
def test_files_below_too_many_folders_make_a_session_full(executor, depth, counted):
    """They can't be counted, so their size is not limited."""
    result = executor.call("s", DEEP % (depth, 10))
    assert (denials(result) == []) == counted, result
    if counted:
        assert denials(executor.call("s", DEEP % (depth, QUOTA))) == [FULL]
    else:
        assert denials(result) == [FULL]
        with pytest.raises(Failure, match="can't write"):
            executor.call("s", "1", files={"f": "x" * 100})


def test_files_among_too_many_entries_make_a_session_full(executor):
    result = executor.call("s", "for i in range(20100): open('%05d' % i, 'w').close()")
    assert denials(result) == [FULL], result


def test_a_session_with_uncounted_files_is_full_until_they_are_gone(executor):
    executor.call("s", DEEP % (70, 10))
    write = "try:\n    with open('f', 'wb') as file: file.write(b'x' * 100)\nexcept OSError as error: print(error)\n"
    assert "File too large" in executor.call("s", write + "import shutil\nshutil.rmtree('d')")["stdout"]
    result = executor.call("s", write)
    assert (result["stdout"], denials(result), result["session"]["restarted"]) == ("", [], None), result


@pytest.mark.parametrize("more", [LIFT + DEEP % (70, QUOTA), "1"], ids=["it grows", "it only stays"])
def test_a_full_session_that_leaves_its_files_uncounted_is_ended(executor, open_folder, more):
    """Growth that can't be counted is treated as growth above the quota."""
    executor.call("s", DEEP % (70, 10))
    with contextlib.suppress(Failure):
        executor.call("s", more)
    result = executor.call("s", "import os\nos.listdir()")
    assert (result["session"]["restarted"], result["last_value_repr"]) == ("killed", "[]"), result
    assert disk_bytes(open_folder) == 0
