"""Host workspaces: the path at which the script sees them, and that no run sees the path of another run's workspace."""
import os
import pathlib
import shutil
import tempfile

import pytest

from library import Executor
from test_kernel_holds import LIBC, LIST
from test_project_folders import make_venv

OPEN = {"use_import_whitelist": False, "banned_imports": [], "block_dunder_imports": False, "disable_open": False, "isolate_site": False}
LOOK = LIBC + LIST + "def seen(*paths): return [ls(path.encode()) for path in paths], [os.statvfs(p).f_files - os.statvfs(p).f_ffree for p in ('/', TOP)]\n"


@pytest.fixture(params=["top", "beside the interpreter"])
def place(request, open_folder):
    """The folder in which workspaces lie, and an interpreter: a new folder of / for each workspace, or the folder of a venv."""
    if request.param != "top":
        python, _ = make_venv(open_folder / "venv")
        yield open_folder, python
    else:
        if os.getuid() != 0:
            pytest.skip("only root can make folders of /")
        yield pathlib.Path("/"), "/usr/bin/python3"


@pytest.fixture
def workspaces(place, pyexec):
    folders = [pathlib.Path(tempfile.mkdtemp(prefix="pyexec-folder-", dir=place[0])) for _ in range(6)]
    for folder in folders:
        (folder / "deep").mkdir()
        os.chmod(folder, 0o755)
        for path in (folder, folder / "deep"):
            os.chown(path, pyexec.uid, pyexec.uid)
    yield [str(folder / "deep") for folder in folders]
    for folder in folders:
        shutil.rmtree(folder)


def executor(pyexec, python):
    user = {} if pyexec.uid == os.getuid() else {"user": pyexec.uid, "group": pyexec.uid, "extra_groups": []}
    return Executor({**OPEN, "python_bin": str(python)}, program=pyexec.path, cwd="/", **user)


def test_a_run_leaves_neither_a_name_nor_an_inode_to_the_next(pyexec, place, workspaces, nothing_left):
    """Earlier, each new path took an inode of the root that all runs share: after 4,066 paths none was left."""
    top, python = place
    look = "TOP = %r\n" % str(top) + LOOK
    names = {pathlib.Path(path).parent.name for path in workspaces}
    with executor(pyexec, python) as program:
        def value(code, **request):
            result = program.call(None, look + code, **request)
            assert result["status"] == "ok", result
            return eval(result["last_value_repr"])
        see = "seen('/', %r, *%r)" % (str(top), workspaces)
        before = value(see)
        assert names.isdisjoint(before[0][0] + before[0][1]) and before[0][2:] == [None] * len(workspaces)
        for path in workspaces:
            (_, beside, *inside), _ = value("open('mine', 'w').close()\n" + see, workspace=path)
            assert names & set(beside) == {pathlib.Path(path).parent.name}
            assert inside == [["mine"] if path == other else None for other in workspaces]
            assert set(before[0][1]) < set(beside)
        assert value(see) == before


def test_everything_else_is_seen_as_without_a_workspace(pyexec, place, workspaces):
    """The run's own tree has the content of the shared tree, read-only."""
    top, python = place
    path = workspaces[0]
    code = "top, above = %r, %r\n" % (str(top), os.path.dirname(path)) + LIBC + LIST + """
import json, ssl, sqlite3
writable = [p for p in ('/', top, above, '/dev', '/usr', '/tmp', os.path.dirname(os.__file__))
            if libc.open(os.path.join(p, 'x').encode(), 0o102, 0o600) >= 0 or libc.mkdir(os.path.join(p, 'y').encode(), 0o700) == 0]
writable, len(os.urandom(8)), {name: ls(('/' + name).encode()) for name in ls(b'/') if not name.startswith('pyexec-folder-')}"""
    with executor(pyexec, python) as program:
        inside = program.call(None, code, workspace=path)
        outside = program.call(None, code)
    assert inside["status"] == outside["status"] == "ok", (inside, outside)
    a, b = eval(inside["last_value_repr"]), eval(outside["last_value_repr"])
    assert a[:2] == b[:2] == ([], 8)
    for name in (set(a[2]) | set(b[2])) - {"tmp"}:
        assert a[2][name] == b[2][name], name

