"""Prints as JSON what E2B's own SDK gets from a server. argv[1] is {"url": …}, or {} for the port of its debug mode.
With "api_key" the SDK makes its sandboxes by the server's API, as it does by E2B's cloud."""
import asyncio
import importlib.metadata
import io
import json
import os
import shlex
import sys
import threading
import time

target = json.loads(sys.argv[1])
os.environ["E2B_DEBUG"] = "false" if "api_key" in target else "true"
if "api_key" in target:
    os.environ.update(E2B_API_URL=target["url"], E2B_API_KEY=target["api_key"])
if "url" in target:
    os.environ["E2B_SANDBOX_URL"] = target["url"]

from e2b import CommandExitException, ConnectionConfig  # noqa: E402
from e2b_code_interpreter import AsyncSandbox, Sandbox  # noqa: E402
from packaging.version import Version  # noqa: E402


def told(execution):
    return {"text": execution.text, "stdout": "".join(execution.logs.stdout), "stderr": "".join(execution.logs.stderr),
            "error": execution.error and [execution.error.name, execution.error.value, execution.error.traceback],
            "count": execution.execution_count}


def raised(call, *arguments, **keywords):
    try:
        return ["nothing", repr(call(*arguments, **keywords))]
    except Exception as error:
        return [type(error).__name__, str(error)]


def streamed(sandbox):
    """Records each callback with its time since the start."""
    seen, start = [], time.monotonic()

    def note(kind, what):
        seen.append([kind, what, round(time.monotonic() - start, 2)])
    sandbox.run_code(
        "import time\nprint('one', flush=True)\ntime.sleep(0.6)\n"
        "print('två 🐍', flush=True)\nfrom traceback import print_stack\nprint_stack()\ndisplay('shown')\n1/0",
        on_stdout=lambda m: note("stdout", m.line), on_stderr=lambda m: note("stderr", m.line),
        on_result=lambda r: note("result", r.text), on_error=lambda e: note("error", e.name))
    return seen


def cancelled(sandbox):
    """A client that gives up ends its run: the context is free at once."""
    gave_up = raised(sandbox.run_code, "kept = 1\nwhile True: pass", timeout=0.5)
    start = time.monotonic()
    return gave_up[0], told(sandbox.run_code("1 + 1"))["text"], time.monotonic() - start


def restarted(sandbox, context):
    ended = []
    thread = threading.Thread(target=lambda: ended.append(told(sandbox.run_code("while True: pass", context=context))))
    thread.start()
    time.sleep(0.5)
    sandbox.restart_code_context(context)
    thread.join(10)
    return ended[0]["error"], told(sandbox.run_code("b", context=context))["error"]


CAUGHT = """
import os, traceback
def print_(text):
    os.write(2, (text + chr(10)).encode())
print_('before')
try:
    1 / 0
except ZeroDivisionError:
    traceback.print_exc()
"""

RICH = """
class Rich:
    def __repr__(self): return "plain"
    def _repr_html_(self): return "<b>html</b>"
    def _repr_markdown_(self): return "*md*"
    def _repr_svg_(self): return "<svg/>"
    def _repr_png_(self): return b"\\x89PNG"
    def _repr_jpeg_(self): return b"\\xff\\xd8"
    def _repr_pdf_(self): return b"%PDF"
    def _repr_latex_(self): return "$x$"
    def _repr_json_(self): return {"a": 1}
    def _repr_javascript_(self): return "f()"
display(Rich())
Rich()
"""


def contexts(sandbox):
    first, second = sandbox.create_code_context(), sandbox.create_code_context(cwd="/home/user/work", language="python")
    sandbox.run_code("a = 'first'", context=first)
    sandbox.run_code("b = 'second'", context=second)
    seen = {
        "made": [[c.id[:4], c.language, c.cwd] for c in (first, second)],
        "own": told(sandbox.run_code("a", context=first)), "other": told(sandbox.run_code("a", context=second)),
        "file": told(sandbox.run_code("open('here', 'w').write('x')\nopen('/home/user/no')", context=second)),
        "there": told(sandbox.run_code("import os\nos.getcwd(), os.listdir()", context=second)),
        "listed": sorted([c.id == first.id, c.id == second.id, c.cwd] for c in sandbox.list_code_contexts()),
        "restarted": restarted(sandbox, second),
        "javascript": raised(sandbox.create_code_context, language="javascript"),
        "outside": raised(sandbox.create_code_context, cwd="/etc"),
        "above": raised(sandbox.create_code_context, cwd="/home/user/../x"),
    }
    sandbox.remove_code_context(first)
    seen["removed"] = raised(sandbox.run_code, "1", context=first)
    seen["removed_again"] = raised(sandbox.remove_code_context, first.id)
    seen["restart_unknown"] = raised(sandbox.restart_code_context, "e2b-none")
    seen["after"] = len(sandbox.list_code_contexts())
    return seen


async def asynchronous():
    sandbox = await AsyncSandbox.create()
    lines = []
    done = await asyncio.gather(*(sandbox.run_code("print(%d)\n%d * 2" % (i, i), on_stdout=lambda m: lines.append(m.line)) for i in range(5)))
    return [d.text for d in done], sorted("".join(lines).split())


def sandboxes(first):
    """Two sandboxes share nothing, and kill() ends only one."""
    second = Sandbox.create()
    context = first.create_code_context()
    for sandbox, name in ((first, "first"), (second, "second")):
        sandbox.run_code("name = %r\nopen('file', 'w').write(name)" % name)
    first.run_code("inner = 1", context=context)
    read = "name, open('file').read()"
    seen = {
        "ids": [first.sandbox_id, second.sandbox_id],
        "first": told(first.run_code(read)), "second": told(second.run_code(read)),
        "connected": told(Sandbox.connect(first.sandbox_id).run_code(read)),
        "contexts": [[c.id == context.id for c in first.list_code_contexts()], [c.id == context.id for c in second.list_code_contexts()]],
        "foreign": raised(second.run_code, "1", context=context),
        "killed": [first.kill(), first.kill(), Sandbox.kill(second.sandbox_id + "0")],
        "after": [raised(first.run_code, "1"), raised(first.create_code_context), raised(first.run_code, "1", context=context),
                  raised(Sandbox.connect, first.sandbox_id)],
        "second_after": told(second.run_code(read)),
        "envs": raised(Sandbox.create, envs={"NAME": "value"}),
    }
    seen["second_killed"] = second.kill()
    return seen


def timeouts():
    """Sandboxes end when their time is over. The sandbox that is made last has the shortest time. When it has ended, the first
    timeouts of the other sandboxes are over too."""
    prolonged = Sandbox.create(timeout=1)
    prolonged.set_timeout(600)
    connected = Sandbox.create(timeout=600)
    Sandbox.connect(connected.sandbox_id, timeout=1)
    without = Sandbox.create()
    for sandbox in (prolonged, connected, without):
        sandbox.run_code("name = 1")
    short = Sandbox.create(timeout=1)
    first = raised(short.run_code, "1")[0]
    ended = wait_for(lambda: raised(short.run_code, "1")[0] != "nothing" and raised(short.run_code, "1"))
    live = [told(sandbox.run_code("name")) for sandbox in (prolonged, connected, without)]
    without.set_timeout(0)
    at_once = wait_for(lambda: raised(without.files.list, ".")[0] != "nothing" and raised(without.files.list, "."))
    seen = {"first": first, "ended": ended, "live": live, "at_once": at_once, "unknown": raised(Sandbox.set_timeout, short.sandbox_id, 5),
            "bad": raised(connected.set_timeout, -1)}
    prolonged.kill(), connected.kill()
    return seen


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def info(entry):
    return [entry.name, entry.type and entry.type.value, entry.path, getattr(entry, "size", None)]


def files(sandbox):
    """files.* and run_code use the same folder."""
    def text(path):
        return sandbox.files.read(path)
    unborn = sandbox.files.exists("a.txt")
    seen = {
        "unborn": unborn,
        "written": info(sandbox.files.write("/home/user/in/ö 1.txt", "hej 🐍")),
        "read": text("in/ö 1.txt"), "by_code": told(sandbox.run_code("open('in/ö 1.txt').read()")),
        "bytes": [len(sandbox.files.write("all.bin", bytes(range(256)) * 4096) and sandbox.files.read("all.bin", format="bytes")),
                  bytes(sandbox.files.read("all.bin", format="bytes")) == bytes(range(256)) * 4096],
        "stream": sum(len(part) for part in sandbox.files.read("all.bin", format="stream")),
        "octets": info(sandbox.files.write("octets", io.BytesIO(b"of a file")) ), "octets_read": text("octets"),
        "empty": [info(sandbox.files.write("empty", "")), text("empty")],
        "many": [info(entry) for entry in sandbox.files.write_files([{"path": "m/1", "data": "one"}, {"path": "/home/user/m/2", "data": b"two"}])],
        "many_read": [text("m/1"), text("m/2")],
        "of_code": [told(sandbox.run_code("open('from_code', 'w').write('x')"))["error"], text("/home/user/from_code")],
        "missing": raised(sandbox.files.read, "none"), "missing_info": raised(sandbox.files.get_info, "none"),
        "missing_list": raised(sandbox.files.list, "none"),
        "exists": [sandbox.files.exists(path) for path in ("in", "/home/user", "in/ö 1.txt", "none", "none/none")],
        "info": info(sandbox.files.get_info("m/1")), "permissions": sandbox.files.get_info("m").permissions[0],
        "made": [sandbox.files.make_dir("d/e/f"), sandbox.files.make_dir("d/e/f"), sandbox.files.make_dir("/home/user")],
        "listed": sorted(info(entry)[:3] for entry in sandbox.files.list("d")),
        "deep": sorted(entry.path for entry in sandbox.files.list("d", depth=5)),
        "renamed": info(sandbox.files.rename("m/1", "d/moved")), "moved": [sandbox.files.exists("m/1"), text("d/moved")],
        "folder_renamed": info(sandbox.files.rename("m", "n")), "in_it": text("n/2"),
        "rename_missing": raised(sandbox.files.rename, "none", "other"),
        "removed": [sandbox.files.remove("d"), sandbox.files.exists("d"), sandbox.files.remove("none"), sandbox.files.remove("n/2"), sandbox.files.exists("n/2")],
        "outside": [raised(call, path) for call in (sandbox.files.read, sandbox.files.list, sandbox.files.remove, sandbox.files.make_dir, sandbox.files.get_info)
                    for path in ("/etc/passwd", "../x", "/home/user/../x", "/home/userx")],
        "write_outside": [raised(sandbox.files.write, path, "x") for path in ("/etc/x", "../x", "/home/user/../x")],
        "home": raised(sandbox.files.remove, "/home/user"),
    }
    sandbox.run_code("import os\nos.symlink('/etc', 'link')\nos.symlink('/etc/passwd', 'file_link')\nos.mkdir('tree')\nos.symlink('/', 'tree/root')")
    seen["links"] = [info(entry)[:2] for entry in sandbox.files.list(".") if "link" in entry.name]
    seen["through"] = [raised(sandbox.files.read, "link/passwd"), raised(sandbox.files.read, "file_link"), raised(sandbox.files.list, "link"),
                       raised(sandbox.files.write, "link/x", "x"), raised(sandbox.files.write, "file_link", "x"),
                       raised(sandbox.files.make_dir, "link/x"), raised(sandbox.files.rename, "link/passwd", "y")]
    sandbox.files.remove("tree")
    seen["tree"] = [sandbox.files.exists("tree"), os.path.exists("/etc/passwd")]
    seen["full"] = [raised(sandbox.files.write, "big%d" % n, b"x" * (20 << 20))[0] for n in range(20)]
    seen["too_large"] = raised(sandbox.files.write, "large", b"x" * (33 << 20))
    return seen


def ran(sandbox, command, **more):
    try:
        result = sandbox.commands.run(command, **more)
    except CommandExitException as error:
        result = error
    except Exception as error:
        return [type(error).__name__, str(error)]
    return [result.exit_code, result.stdout, result.stderr]


def commands(sandbox):
    sandbox.files.write("work/a b.py", "import os\nprint(__name__, __file__, os.getcwd(), os.environ.get('NAME'), 'ö 🐍')\n")
    sandbox.files.write("fails.py", "def f():\n    return 1 / 0\nprint('before')\nf()\n")
    sandbox.run_code("kept = 1")
    out = []
    seen = {
        "file": ran(sandbox, "python3 'work/a b.py'", envs={"NAME": "värde"}), "absolute": ran(sandbox, "python /home/user/work/a\" b.py\"", cwd="/home/user/work"),
        "cwd": ran(sandbox, "python3 \"a b.py\"", cwd="work"),
        "code": ran(sandbox, "python3 -c " + shlex.quote("print('it''s', \"$x\", '\\\\n', 6 * 7)")), "double": ran(sandbox, 'python -c "print(\\"a\\", 1)"'),
        "lines": ran(sandbox, "python -c 'print(1)\nprint(2)'"),
        "fails": ran(sandbox, "python3 fails.py"), "exit": ran(sandbox, "python -c 'raise SystemExit(3)'"), "missing": ran(sandbox, "python3 none.py"),
        "syntax": ran(sandbox, "python -c 'x ==== 1'"), "timeout": ran(sandbox, "python3 -c 'import time; time.sleep(99)'"),
        "names": ran(sandbox, "python3 -c 'print(\"kept\" in globals())'"), "kept": told(sandbox.run_code("kept")),
        "callback": [ran(sandbox, "python3 -c 'print(7)'", on_stdout=out.append), out],
        "background": sandbox.commands.run("python -c 'print(8)'", background=True).wait().stdout,
        "outside": ran(sandbox, "python3 /etc/passwd"), "above": ran(sandbox, "python3 ../x.py"), "cwd_outside": ran(sandbox, "python -c 1", cwd="/etc"),
        "list": raised(sandbox.commands.list), "refused": {},
    }
    for command in ("ls", "", "python", "python3 -V", "python3 -m pip", "python3 a.py b", "python3 -c 1 2", "python3 a.py | cat", "python3 a.py > x", "python3 a.py; ls",
                    "python3 $x", "python3 *.py", "python3 -c \"$(ls)\"", "python3 'a", "cd x && python3 a.py", "python3 a.py &", "NAME=1 python3 a.py", "/bin/python3 a.py", "pip install x"):
        seen["refused"][command] = ran(sandbox, command)
    return seen


def commands_streamed(sandbox):
    """The callbacks get the output of a command while it runs. One command never ends: at its first output the callback kills the
    sandbox."""
    heard = []
    sandbox.files.write("parts.py", (
        "import os, time\nprint('one å', flush=True)\nos.write(2, b'bad')\ntime.sleep(0.2)\nos.write(1, b'\\xf0\\x9f')\n"
        "time.sleep(0.2)\nos.write(1, b'\\x90\\x8d')\n{}['missing']\n"))
    seen = {"failed": ran(sandbox, "python3 parts.py", on_stdout=lambda text: heard.append(["stdout", text]),
                          on_stderr=lambda text: heard.append(["stderr", text])), "heard": heard}
    sandbox.files.write("caught.py", "import traceback\ntry:\n    1 / 0\nexcept Exception:\n    traceback.print_exc()\nprint('after')\n")
    seen["caught"] = ran(sandbox, "python3 caught.py")
    seen["parts"] = [part[:2] for part in sandbox.commands.run("python3 -c 'print(1)'", background=True)]
    seen["cut"] = [len(part) if isinstance(part, str) and len(part) > 1000 else part for part in ran(sandbox, "python3 -c 'print(\"x\" * 3000000)'")]
    seen["gave_up"] = ran(sandbox, "python3 -c 'while True: pass'", timeout=0.5)
    seen["killed"] = ran(sandbox, "python3 -c 'import time\nprint(1, flush=True)\nwhile True: time.sleep(0.01)'",
                         on_stdout=lambda text: heard.append(["kill", sandbox.kill()]))
    return seen


def templates():
    """Returns template → what code in such a sandbox gets, over its contexts and its commands."""
    seen = {}
    for template in target["templates"]:
        sandbox = Sandbox.create(template=template)
        seen[template] = [told(sandbox.run_code(target["code"])), told(sandbox.run_code(target["code"], context=sandbox.create_code_context())),
                          ran(sandbox, "python3 -c " + shlex.quote(target["code"]))]
        sandbox.kill()
    return seen


def scenario():
    sandbox = Sandbox.create()
    report = {
        "value": told(sandbox.run_code("x = 20\nprint('hej', x)\nx + 1")),
        "kept": told(sandbox.run_code("x * 2", language="python")),
        "string": told(sandbox.run_code("'text'")),
        "none": told(sandbox.run_code("None")),
        "error": told(sandbox.run_code("def f():\n    return 1 / 0\nf()")),
        "syntax": told(sandbox.run_code("x ==== 1")),
        "caught": told(sandbox.run_code(CAUGHT + "print_('after')\n3")),
        "both": told(sandbox.run_code(CAUGHT + "{}['missing']")),
        "refused": told(sandbox.run_code("import subprocess")),
        "environment": told(sandbox.run_code("import os\nos.environ['NAME']", envs={"NAME": "värde"})),
        "environment_after": told(sandbox.run_code("import os\nos.environ.get('NAME')")),
        "timeout": told(sandbox.run_code("import time\ntime.sleep(30)")),
        "after_timeout": told(sandbox.run_code("x")),
        "cpu": told(sandbox.run_code("while True: pass")),
        "after_cpu": told(sandbox.run_code("x")),
        "killed": told(sandbox.run_code("import time\nwhile True:\n    try:\n        time.sleep(9)\n    except BaseException:\n        pass")),
        "after_killed": told(sandbox.run_code("'fresh'")),
        "big": [len(told(sandbox.run_code("print('å' * 3000000)"))["stdout"]), told(sandbox.run_code("print('å' * 3000000)"))["stderr"]],
        "javascript": raised(sandbox.run_code, "1", language="javascript"),
        "async": asyncio.run(asynchronous()),
    }
    sandbox.kill()
    return report


PARTS = {
    "rich": lambda sandbox: [{key: result[key] for key in (*result.formats(), "is_main_result")} for result in sandbox.run_code(RICH).results],
    "streamed": streamed, "cancelled": cancelled, "contexts": contexts,
    "sandboxes": sandboxes, "files": files, "commands": commands, "commands_streamed": commands_streamed, "timeouts": lambda sandbox: timeouts(), "templates": lambda sandbox: templates(),
}


def with_token():
    """Uses a sandbox with a traffic token, like a sandbox of E2B's cloud that needs one."""
    sandbox = Sandbox.create()
    refused = raised(sandbox.run_code, "1"), raised(sandbox.create_code_context)
    sandbox = Sandbox(sandbox_id="mine", sandbox_domain=None, envd_version=Version("0.4.0"), envd_access_token=None,
                      traffic_access_token=target["token"], connection_config=ConnectionConfig())
    context = sandbox.create_code_context()
    return {"refused": refused, "value": told(sandbox.run_code("6 * 7")), "context": told(sandbox.run_code("1", context=context))}


if "token" in target:
    report = with_token()
elif "only" in target:
    report = {target["only"]: PARTS[target["only"]](Sandbox.create())}
elif "url" in target:
    report = scenario()
else:
    report = {"value": told(Sandbox.create().run_code("6 * 7")), "command": ran(Sandbox.create(), "python3 -c 'print(7)'"),
              "refused": ran(Sandbox.create(), "ls")}
print(json.dumps({"sdk": "e2b-code-interpreter " + importlib.metadata.version("e2b-code-interpreter"), **report}))
