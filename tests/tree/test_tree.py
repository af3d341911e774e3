"""The source tree keeps its own rules."""
import glob
import os
import re
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT
from test_real_input import AREAS

SOURCES = sorted(glob.glob(ROOT + "/src/**/*.[ch]", recursive=True))


def rooms():
    """Returns room → the rooms whose headers it may include, from the table in src/README.md."""
    with open(ROOT + "/src/README.md") as file:
        rows = re.findall(r"^\| (\w+) \| [^|]+ \| ([^|]+) \|$", file.read(), re.M)
    return {room: set(may.strip().split(", ")) for room, may in rows if room != "room"}


def test_rooms_include_only_what_the_table_allows():
    table = rooms()
    assert set(table) == {name for name in os.listdir(ROOT + "/src") if os.path.isdir(ROOT + "/src/" + name)}
    wrong = []
    for path in SOURCES:
        room = os.path.relpath(path, ROOT + "/src").split("/")[0]
        with open(path) as file:
            text = file.read()
        for name in re.findall(r'^#include "([^"]+)"', text, re.M):
            other = name.split("/")[0] if "/" in name else room if name != "pyexec.h" else name
            if other != room and other not in table[room]:
                wrong.append((os.path.relpath(path, ROOT), name))
        assert ("<Python.h>" in text) <= path.endswith("guest/python.h"), path
    assert wrong == []


def test_no_two_rooms_use_each_other():
    table = rooms()
    assert [(a, b) for a in table for b in table[a] if b in table and a in table[b]] == []


def test_the_files_of_the_executor_use_each_other_in_one_direction():
    """A header and the source of the same name are one node. executor.h and session_private.h were a circle once."""
    uses = {}
    for path in SOURCES:
        room, _, name = os.path.relpath(path, ROOT + "/src").rpartition("/")
        if room == "executor" and not name.endswith("_test.c"):
            with open(path) as file:
                uses.setdefault(name.rsplit(".", 1)[0], set()).update(re.findall(r'^#include "executor/(\w+)\.h"', file.read(), re.M))
    assert len(uses) > 10
    while free := {name for name in uses if not uses[name] - {name}}:
        uses = {name: others - free for name, others in uses.items() if name not in free}
    assert uses == {}


def test_each_room_has_a_readme_and_a_build_file():
    for room in rooms():
        with open("%s/src/%s/README.md" % (ROOT, room)) as file:
            text = file.read()
        assert text.startswith("# %s\n" % room) and 500 < len(text) < 3500, room
        assert os.path.exists("%s/src/%s/meson.build" % (ROOT, room)), room


def test_a_room_builds_all_of_its_sources():
    listed = ""
    for path in glob.glob(ROOT + "/src/*/meson.build") + [ROOT + "/meson.build", ROOT + "/tests/meson.build"]:
        with open(path) as file:
            listed += file.read()
    for path in SOURCES:
        name = os.path.basename(path)
        if path.endswith(".c"):
            assert re.search(r"[/']%s'" % re.escape(name.replace("_test.c", "") if name.endswith("_test.c") else name), listed), path


def test_names_of_test_files_are_unique():
    """pytest imports each test file by its name without the folder, and refuses to run any when two have the same name."""
    names = [os.path.basename(path) for path in glob.glob(ROOT + "/tests/**/test_*.py", recursive=True)]
    assert len(names) > 50 and not {name for name in names if names.count(name) > 1}


def test_a_name_stands_for_one_thing():
    """File names, struct tags and macros. Macros that a file or its table undefines again are for that table."""
    places = {}
    for path in SOURCES:
        where = os.path.relpath(path, ROOT + "/src")
        name = os.path.basename(path).rsplit(".", 1)[0]
        if name.endswith("_test"):
            continue
        with open(path) as file:
            text = file.read()
        found = {"file " + name: where.rsplit(".", 1)[0]}
        found.update(("tag " + tag, where) for tag in re.findall(r"^(?:static )?(?:const )?(?:struct|union|enum) (\w+) \{", text, re.M))
        undefined = set(re.findall(r"^#undef (\w+)", text, re.M))
        for table in re.findall(r'^#include "([\w/]+\.def)"', text, re.M):
            if os.path.exists(ROOT + "/src/" + table):
                with open(ROOT + "/src/" + table) as file:
                    undefined |= set(re.findall(r"^#undef (\w+)", file.read(), re.M))
        found.update(("macro " + macro, where) for macro in re.findall(r"^# *define (\w+)", text, re.M) if macro not in undefined)
        for thing, place in found.items():
            places.setdefault(thing, set()).add(place)
    assert {thing: found for thing, found in places.items() if len(found) > 1} == {}


INTERRUPTIBLE = ("open openat openat2 creat read readv pread preadv write writev pwrite pwritev send sendto sendmsg sendmmsg recv "
                 "recvfrom recvmsg recvmmsg poll ppoll select pselect epoll_wait epoll_pwait accept accept4 connect wait waitpid "
                 "wait3 wait4 waitid sleep usleep nanosleep clock_nanosleep sem_wait sem_timedwait sigwaitinfo sigtimedwait "
                 "ftruncate truncate fallocate fsync fdatasync getrandom flock").split()


def test_calls_that_a_signal_interrupts_go_through_base():
    """base/retry.h repeats these calls after EINTR. Allowed are flock(2) that does not wait, and pause(2), which the trap's handler repeats."""
    raw = []
    for path in SOURCES:
        if path.endswith(("_test.c", "_test.h")) or path.startswith(ROOT + "/src/base/"):
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
    """base/json.h has replacements for these functions. Without memory, jansson's own functions lose text, keys or members. Some of them
    read a count that another thread may change."""
    raw = []
    for path in SOURCES:
        if path.endswith("_test.c") or path.endswith("base/json.h"):
            continue
        with open(path) as file:
            text = file.read()
        raw += [(os.path.relpath(path, ROOT), call) for call in re.findall(
            r"<jansson\.h>|(?<!\w)json_(?:copy|deep_copy|loads|loadb|loadf|load_callback|dumps|dumpb|dumpf|dump_file|object_setn?(?:_nocheck)?|"
            r"object_iter_set|array_set|array_append|array_insert|object_update_new|object_update_existing_new|object_update_missing_new|"
            r"decrefp)\(|(?<!\w)json_auto_t", text)]
    assert raw == []


def test_exit_statuses_have_names_and_macros_too():
    """Comma expressions are left to clang's -Wcomma (tools/warnings.sh)."""
    wrong = []
    for path in SOURCES + sorted(glob.glob(ROOT + "/tools/*.c") + glob.glob(ROOT + "/fuzz/*.c")):
        with open(path) as file:
            text = file.read()
        if not path.endswith(("_test.c", "_test.h")):
            wrong += [(path, call) for call in re.findall(r"\b_?exit\(\d+\)", text)]
        wrong += [(path, macro) for macro in re.findall(r"#define (?:[A-Z_]\(|\w+\([A-Z]\)).*", text)]
        # A pointer that is stored as a number in a JSON object can't be checked.
        wrong += [(path, cast) for cast in re.findall(r"json_int_t\)\s*\(u?intptr_t.*", text)]
    assert wrong == []


def test_files_stay_short():
    for path in SOURCES:
        with open(path) as file:
            assert len(file.readlines()) <= 600, path


def test_every_invalid_request_is_given_a_hint():
    """An error that its caller caused needs a hint, and only the place that finds the error can give it."""
    without = []
    for path in [path for path in SOURCES if path.endswith(".c")]:
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
    for path in [*glob.glob(ROOT + "/*.md"), *glob.glob(ROOT + "/docs/**/*.md", recursive=True), ROOT + "/clients/python/README.md"]:
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
            with open(*glob.glob("%s/tests/*/%s" % (ROOT, path))) as file:
                text = file.read()
            assert "def %s(" % function in text and (parameter is None or '"%s"' % parameter in text), name


def test_the_page_on_rpc_has_every_method_with_its_params():
    with open(ROOT + "/src/rpc/rpc.c") as file:
        methods = dict(re.findall(r'^    \{"(\w+)", \w+, \w+, "([^"]*)"\},$', file.read(), re.M))
    with open(ROOT + "/docs/rpc.md") as file:
        rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \| [^|]* \|$", file.read(), re.M))
    assert len(methods) >= 16 and set(methods) == set(rows)
    for name, params in methods.items():
        for param in params.replace("*", "").split():
            assert "`%s`" % param in rows[name], (name, param)


def test_pages_for_developers_name_files_and_functions_that_exist():
    text = {}
    for path in SOURCES:
        with open(path) as file:
            text[path] = file.read()
    code = "\n".join(text.values())
    names = {"Python.h"} | {os.path.basename(path) for path in subprocess.run(["find", ROOT + "/src", ROOT + "/include", ROOT + "/tools", "-type", "f"], capture_output=True, text=True).stdout.split()}
    for page in [ROOT + "/docs/development.md", ROOT + "/CONTRIBUTING.md", *glob.glob(ROOT + "/src/**/README.md", recursive=True)]:
        with open(page) as file:
            said = file.read()
        for function in re.findall(r"`((?:px|cli|pyexec)_\w+)\(\)`", said):
            assert re.search(r"\b%s\(" % function, code), (page, function)
        for path in re.findall(r"`(src/[\w/]+\.\w+)`", said):
            assert os.path.exists("%s/%s" % (ROOT, path)), (page, path)
        for name in re.findall(r"`([\w/]+\.(?:c|h|def))`", said):
            assert os.path.basename(name) in names or os.path.exists(os.path.join(os.path.dirname(page), name)), (page, name)


def test_clang_format_changes_no_file():
    """`make format` corrects the layout. Another version of clang-format formats some lines differently."""
    if not shutil.which("clang-format-14"):
        pytest.skip("needs clang-format-14")
    code = [path for folder in ("src", "include", "fuzz", "tools", "tests", "examples")
            for path in glob.glob("%s/%s/**/*.[ch]" % (ROOT, folder), recursive=True)]
    done = subprocess.run(["clang-format-14", "--dry-run", "-Werror", *code], capture_output=True, text=True)
    assert len(code) > 250 and done.returncode == 0, done.stderr[:2000]


def test_python_code_uses_only_names_that_exist():
    """The guest's files share one namespace, and so do tests/escape and its prelude: their tests run each line."""
    files = [path for folder in ("tests", "bench", "tools", "examples", "clients/python/src", "clients/python/tests")
             for path in glob.glob("%s/%s/**/*.py" % (ROOT, folder), recursive=True) if not path.startswith(ROOT + "/tests/escape/")]
    done = subprocess.run(["/usr/bin/python3", "-m", "pyflakes", *files], capture_output=True, text=True)
    assert len(files) > 300 and "No module named" not in done.stderr, done.stderr
    assert [line for line in done.stdout.splitlines() if "undefined name" in line] == []


def test_each_source_names_its_license():
    for path in SOURCES + glob.glob(ROOT + "/src/**/*.def", recursive=True) + [ROOT + "/include/pyexec.h"]:
        with open(path) as file:
            assert "SPDX-License-Identifier: Apache-2.0" in file.readline(), path


def test_the_text_of_a_failed_buffer_has_its_own_length():
    """px_buffer_shown() is "" after a failed allocation, while `length` is that of what was kept: a reader of both reads past the end."""
    wrong = []
    for path in SOURCES:
        with open(path) as file:
            statements = re.split("[;{}]", file.read()) if path.endswith(".c") and not path.endswith(("_test.c", "base/buffer.c")) else []
        for statement in statements:
            for shown in re.findall(r"px_buffer_shown\(\s*(&?[\w.>\[\]-]+?)\s*\)", statement):
                member = shown[1:] + ".length" if shown[0] == "&" else shown + "->length"
                if re.search(r"(?<![\w.>])" + re.escape(member) + r"\b(?!\s*=[^=])", statement):
                    wrong.append((os.path.relpath(path, ROOT), shown))
    assert not wrong, "write px_buffer_length(%s): %s" % (wrong[0][1], wrong)


FRONTS = ("cli", "batch", "bench", "rpc", "mcp", "serve", "jsonrpc")


def test_no_front_parses_json_of_the_library():
    """Fronts get results, sessions, files, counters and policies as data (pyexec.h). They parse only their own constants, and
    what a client sent (px_json_read)."""
    parsed = set()
    for path in SOURCES:
        where = os.path.relpath(path, ROOT + "/src")
        if where.split("/")[0] not in FRONTS or path.endswith("_test.c"):
            continue
        with open(path) as file:
            text = file.read()
        parsed |= {(where, argument) for argument in re.findall(r"px_json_load[sb]\(([^,]+),", text)}
        read = re.findall(r"px_json_read\(\s*([^,]+),", text)
        assert not [argument for argument in read if re.search(r"_json\b|pyexec_", argument)], where
    assert parsed == {("mcp/mcp_call.c", "tool->input"), ("mcp/mcp_tools.c", "tool->input"), ("mcp/mcp_tools.c", "tool->output"),
                      ("mcp/mcp_tools.c", "tool->annotations")}
