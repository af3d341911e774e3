"""A guest for each C library: the loader that the interpreter names says which one it needs.

The interpreters here are Debian's with another name for their loader, which leads to the real one. So a guest for glibc, with the name of
that for musl, works in an interpreter that seems to be for musl."""
import os
import re
import shutil
import tempfile

import pytest

from conftest import Program

PYTHON = "/usr/bin/python3"
GUEST = "pyexec_guest.abi3.so"
MUSL_GUEST = "pyexec_guest_musl.abi3.so"


@pytest.fixture(scope="module")
def seems_musl():
    with open(PYTHON, "rb") as file:
        program = file.read()
    loader = re.search(rb"/lib[^\0]*/ld-linux-[^\0]*", program)[0]
    folder = tempfile.mkdtemp(prefix="musl", dir="/tmp")     # short, because the new name takes the place of the old one
    other = (folder + "/ld-musl-x").encode()
    assert len(other) <= len(loader) and program.count(loader + b"\0") == 1
    os.chmod(folder, 0o755)
    os.symlink(loader.decode(), other.decode())
    with open(folder + "/python3", "wb") as file:
        file.write(program.replace(loader, other.ljust(len(loader), b"\0")))
    os.chmod(folder + "/python3", 0o755)
    yield folder + "/python3"
    shutil.rmtree(folder)


@pytest.fixture
def with_guests(pyexec, open_folder):
    """Returns a function that copies the program with guests of these names, each of which is the guest for glibc."""
    def copy(*names):
        for name in os.listdir(pyexec.folder):
            if os.path.isfile(os.path.join(pyexec.folder, name)) and name not in (GUEST, MUSL_GUEST):
                shutil.copy(os.path.join(pyexec.folder, name), open_folder)
        for name in names:
            shutil.copy(os.path.join(pyexec.folder, GUEST), open_folder / name)
        return Program(str(open_folder), pyexec.uid)
    return copy


def test_the_loader_of_the_interpreter_chooses_the_guest(with_guests, seems_musl):
    program = with_guests(MUSL_GUEST)
    assert program.result("6 * 7", "--python-bin", seems_musl)["last_value_repr"] == "42"
    error = program.error("6 * 7", "--python-bin", PYTHON)
    assert error["code"] == "python_unsupported"
    assert "is a program for glibc, and pyexec's extension for glibc is not installed" in error["message"]
    assert GUEST in error["hint"] and "CPython for musl" in error["hint"]


def test_the_missing_guest_for_musl_is_named(with_guests, seems_musl):
    program = with_guests(GUEST)
    assert program.result("6 * 7", "--python-bin", PYTHON)["last_value_repr"] == "42"
    error = program.error("6 * 7", "--python-bin", seems_musl)
    assert error["code"] == "python_unsupported"
    assert "is a program for musl, and pyexec's extension for musl is not installed" in error["message"]
    assert MUSL_GUEST in error["hint"] and "CPython for glibc" in error["hint"]
    done = program.run("doctor", env=dict(os.environ, PYEXEC_POLICY_PYTHON_BIN=seems_musl))
    assert done.returncode != 0 and "extension for musl is not installed" in (done.stdout + done.stderr).decode()


def test_both_guests_serve_both_kinds(with_guests, seems_musl):
    program = with_guests(GUEST, MUSL_GUEST)
    for python in (PYTHON, seems_musl):
        assert program.result("6 * 7", "--python-bin", python)["last_value_repr"] == "42"
