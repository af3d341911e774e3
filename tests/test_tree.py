"""The source tree keeps its own rules."""
import glob
import os
import re
import subprocess

import pytest

from conftest import BUILD, ROOT
from test_real_input import AREAS

# Which rooms a room may include, as CONTRIBUTING.md says.
MAY = {
    "base": {"base", "pyexec.h"},
    "policy": {"base", "policy", "pyexec.h", "sandbox/layers.h", "sandbox/layers.def"},
    "sandbox": {"base", "sandbox", "pyexec.h"},
    "launch": {"base", "launch", "sandbox", "pyexec.h"},
    "guest": {"base", "guest", "sandbox", "launch/launch.h", "launch/namespaces.h", "engine/wire.h", "policy/files.h"},
    "engine": {"base", "policy", "engine", "launch/launch.h", "sandbox/layers.h", "pyexec.h"},
    "front": {"base", "front", "pyexec.h"},
    "serve": {"base", "policy", "serve", "front/mcp.h", "pyexec.h"},
    "cli": {"base", "policy", "cli", "front", "serve/serve.h", "pyexec.h"},
}


@pytest.mark.parametrize("room", MAY)
def test_rooms_include_only_what_they_may(room):
    for path in glob.glob("%s/src/%s/*.[ch]" % (ROOT, room)):
        with open(path) as file:
            text = file.read()
        for name in re.findall(r'^#include "([^"]+)"', text, re.M):
            assert name in MAY[room] or name.split("/")[0] in MAY[room] or "/" not in name and room == "cli", (path, name)
        assert ("<Python.h>" in text) <= (path.endswith("guest/python.h")), path


INTERRUPTIBLE = ("open openat openat2 creat read readv pread preadv write writev pwrite pwritev send sendto sendmsg sendmmsg recv "
                 "recvfrom recvmsg recvmmsg poll ppoll select pselect epoll_wait epoll_pwait accept accept4 connect wait waitpid "
                 "wait3 wait4 waitid sleep usleep nanosleep clock_nanosleep sem_wait sem_timedwait sigwaitinfo sigtimedwait "
                 "ftruncate truncate fallocate fsync fdatasync getrandom flock").split()


@pytest.mark.parametrize("room", sorted(set(MAY) - {"base"}))
def test_calls_that_a_signal_interrupts_go_through_base(room):
    """base/retry.h repeats them. What stays: flock(2) that does not wait, and pause(2), which the trap's handler repeats."""
    raw = []
    for path in glob.glob("%s/src/%s/*.[ch]" % (ROOT, room)):
        if path.endswith(("_test.c", "_test.h")):
            continue
        with open(path) as file:
            text = re.sub(r"""/\*.*?\*/|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])'""", "", file.read(), flags=re.S)
        text = re.sub(r"\bflock\([^;]*?LOCK_NB\)", "", text)
        raw += [(os.path.relpath(path, ROOT), call)
                for call in re.findall(r"(?<![\w.>])(?:%s)\b\(|\bSYS_(?:%s)\b|\bTEMP_FAILURE_RETRY\b" % (("|".join(INTERRUPTIBLE),) * 2), text)]
    assert raw == []


def test_results_of_calls_that_a_signal_interrupts_must_be_used():
    with open(ROOT + "/src/base/retry.h") as file:
        declared = re.findall(r"^(\w[\w ]*?)\s?\*?(px_\w+)\(", file.read(), re.M)
    unmarked = [name for kind, name in declared if "PX_MUST_USE" not in kind]
    assert len(declared) > 15 and unmarked == ["px_sleep_ns", "px_sem_wait"]


def test_json_is_read_and_written_by_what_sees_failures():
    """base/json.h has these in another form: jansson's own lose text, keys or members when there is no memory."""
    raw = []
    for path in glob.glob(ROOT + "/src/*/*.[ch]"):
        if path.endswith("_test.c") or path.endswith("base/json.h"):
            continue
        with open(path) as file:
            text = file.read()
        raw += [(os.path.relpath(path, ROOT), call) for call in re.findall(
            r"<jansson\.h>|(?<!\w)json_(?:copy|deep_copy|loads|loadb|loadf|load_callback|dumps|dumpb|dumpf|dump_file|object_set|array_append|"
            r"object_update_new|object_update_missing_new)\(", text)]
    assert raw == [("src/engine/request.c", "json_object_set(")]         # which looks at its result


def test_files_stay_short():
    for path in glob.glob(ROOT + "/src/*/*.[ch]"):
        with open(path) as file:
            assert len(file.readlines()) <= 600, path


def test_every_invalid_request_is_given_a_hint():
    """What its caller did wrong, only the place that found it can say how to do right."""
    without = []
    for path in glob.glob(ROOT + "/src/*/*.c"):
        with open(path) as file:
            text = file.read()
        for call in re.finditer(r"px_error_(?:set|errno)\(\s*&?\w+,\s*PYEXEC_INVALID_REQUEST\b", text):
            rest = re.split(r"px_error_(?:set|errno)\(|\n}", text[call.end():], maxsplit=1)[0]
            if "px_error_hint(" not in rest and not path.endswith("_test.c"):
                without.append("%s:%d" % (os.path.relpath(path, ROOT), text[:call.start()].count("\n") + 1))
    assert without == []


def test_the_guest_needs_nothing_that_is_not_there():
    undefined = subprocess.run(["nm", "-D", "--undefined-only", BUILD + "/pyexec_guest.abi3.so"],
                               capture_output=True, text=True, check=True).stdout
    assert not re.findall(r" U (px_\w+)", undefined)
    needed = subprocess.run(["readelf", "-d", BUILD + "/pyexec_guest.abi3.so"], capture_output=True, text=True).stdout
    assert "libpython" not in needed and "seccomp" not in needed and "jansson" not in needed


def test_links_in_the_documentation_lead_somewhere():
    for path in [*glob.glob(ROOT + "/*.md"), *glob.glob(ROOT + "/docs/**/*.md", recursive=True), ROOT + "/python/README.md"]:
        with open(path) as file:
            for target in re.findall(r"\]\(([^)#:]+)\)", file.read()):
                assert os.path.exists(os.path.join(os.path.dirname(path), target)), (path, target)


def test_the_layer_table_names_tests_that_exist():
    """docs/security.md, attack → layers → tests: functions, their parameters, attempts and areas of the corpus."""
    with open(ROOT + "/docs/security.md") as file:
        rows = re.findall(r"^\| [^|]+ \| [^|]+ \| ([^|]*(?:test_\w+\.py|escape|corpus)[^|]*) \|$", file.read(), re.M)
    assert len(rows) >= 15
    for name in (name.strip() for row in rows for name in row.split(",")):
        if name.startswith("corpus "):
            assert name.split()[1] in AREAS, name
        elif name.startswith("escape "):
            assert glob.glob("%s/tests/escape/%s*.py" % (ROOT, name.split()[1])), name
        else:
            path, function, parameter = re.fullmatch(r"(test_\w+\.py)::(test_\w+)(?:\[([\w: ]+)\])?", name).groups()
            with open("%s/tests/%s" % (ROOT, path)) as file:
                text = file.read()
            assert "def %s(" % function in text and (parameter is None or '"%s"' % parameter in text), name


def test_the_page_on_rpc_has_every_method_with_its_params():
    with open(ROOT + "/src/front/rpc.c") as file:
        methods = dict(re.findall(r'^    \{"(\w+)", \w+, \w+, "([^"]*)"\},$', file.read(), re.M))
    with open(ROOT + "/docs/rpc.md") as file:
        rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \| [^|]* \|$", file.read(), re.M))
    assert len(methods) >= 16 and set(methods) == set(rows)
    for name, params in methods.items():
        for param in params.replace("*", "").split():
            assert "`%s`" % param in rows[name], (name, param)
