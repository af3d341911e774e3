"""The kernel: nbclient runs notebooks, and jupyter_client starts, interrupts and ends it."""
import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
import wheels
from conftest import PROGRAM, children
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from pyexec.jupyter.kernel import Untraced
from pyexec.types import ErrorInfo, Result


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prefix")
    for name, settings in (("pyexec", []), ("small", ["timeout_ms=300", "address_space_bytes=134217728", "allowed_imports=[\"math\"]"]), ("rich", None)):
        arguments = ["--rich"] if settings is None else [part for setting in settings for part in ("--set", setting)]
        done = subprocess.run([sys.executable, "-m", "pyexec.jupyter", "install", "--prefix", str(folder), "--name", name, *arguments],
                              capture_output=True, text=True)
        assert done.returncode == 0 and str(folder) in done.stdout, done.stderr
    return folder


@pytest.mark.parametrize("arguments, says", [
    (["--set", "timeout=5"], "timeout_ms"), (["--program", "/no/such/pyexec"], "/no/such/pyexec"), ([], "")])
def test_an_install_that_can_not_run_here_says_so(tmp_path, arguments, says):
    done = subprocess.run([sys.executable, "-m", "pyexec.jupyter", "install", "--prefix", str(tmp_path), *arguments],
                          capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "share/jupyter/kernels/pyexec/kernel.json").exists(), done.stderr
    assert says in done.stderr and ("warning: " in done.stderr) == bool(says), done.stderr


def test_without_its_packages_it_says_what_to_install():
    code = "import sys, runpy\nsys.modules['ipykernel'] = None\nrunpy.run_module('pyexec.jupyter', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code, "install"], capture_output=True, text=True)
    assert done.returncode == 1 and "pip install" in done.stderr and "Traceback" not in done.stderr, done.stderr


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    """Returns the store of two environments that `pyexec env` has made, with pip, from wheels of this test."""
    root, folder = tmp_path_factory.mktemp("env"), tmp_path_factory.mktemp("wheels")
    wheels.wheel(folder, "tally", "1.0", {"tally.py": "def total(*numbers): return sum(numbers)\n"})
    wheels.wheel(folder, "words", "1.0", {"words.py": "COUNT = 3\n"})
    variables = {**os.environ, "PYEXEC_ENV_ROOT": str(root), "PYEXEC_ENV_UV": "/nowhere/uv", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}
    for name, package in (("data", "tally"), ("text", "words")):
        done = subprocess.run([PROGRAM, "env", "create", name, package], env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return str(root)


def install_for(prefix, *arguments):
    return subprocess.run([sys.executable, "-m", "pyexec.jupyter", "install", "--prefix", str(prefix), *arguments], capture_output=True, text=True)


def test_each_environment_has_a_kernel(environments, tmp_path, monkeypatch):
    monkeypatch.setenv("PYEXEC_ENV_ROOT", environments)
    for name in ("data", "text"):
        done = install_for(tmp_path, "--environment", name)
        assert done.returncode == 0 and "the kernel 'pyexec-%s'" % name in done.stdout and done.stderr == "", done.stderr
    monkeypatch.delenv("PYEXEC_ENV_ROOT")       # the kernels know where their environments are
    specs = KernelSpecManager(kernel_dirs=[str(tmp_path / "share/jupyter/kernels")])
    assert specs.get_kernel_spec("pyexec-data").display_name == "Python (pyexec, data)"
    for name, has, lacks, value in (("data", "import tally; tally.total(2, 3)", "import words", "5"), ("text", "import words; words.COUNT", "import tally", "3")):
        kernel = Kernel(specs, "pyexec-" + name)
        try:
            assert kernel.value(has) == value
            assert kernel.run(lacks)[1]["ename"] == "ModuleNotFoundError"
        finally:
            kernel.end()


def test_a_notebook_in_an_environment(environments, tmp_path, monkeypatch):
    monkeypatch.setenv("PYEXEC_ENV_ROOT", environments)
    assert install_for(tmp_path, "--environment", "data", "--name", "mine", "--display-name", "Mine").stderr == ""
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share/jupyter"))
    done = execute(notebook("from tally import total\nx = total(1, 2, 3)", "x * 7"), "mine")
    assert done.cells[1].outputs[0].data["text/plain"] == "42"


def test_an_install_for_an_environment_that_is_not_there_names_the_others(environments, tmp_path, monkeypatch):
    monkeypatch.setenv("PYEXEC_ENV_ROOT", environments)
    done = install_for(tmp_path, "--environment", "dota")
    assert done.returncode == 0 and "'dota'" in done.stderr and "'data'" in done.stderr and "text" in done.stderr, done.stderr


@pytest.fixture
def specs(prefix, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", str(prefix / "share/jupyter"))
    return KernelSpecManager(kernel_dirs=[str(prefix / "share/jupyter/kernels")])


class Kernel:
    """A kernel that runs, and a client of it."""

    def __init__(self, specs, name="pyexec", **keywords):
        self.manager = KernelManager(kernel_name=name, kernel_spec_manager=specs)
        self.manager.start_kernel(stderr=subprocess.DEVNULL, **keywords)
        self.connect()

    def connect(self):
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=30)

    def finish(self, number):
        """Runs a cell. Returns its messages on IOPub and its reply."""
        messages = []
        while True:
            message = self.client.get_iopub_msg(timeout=30)
            if message["parent_header"].get("msg_id") != number:
                continue
            if message["content"].get("execution_state") == "idle":
                break
            if message["msg_type"] not in ("status", "execute_input"):
                messages.append((message["msg_type"], message["content"]))
        while (reply := self.client.get_shell_msg(timeout=30))["parent_header"]["msg_id"] != number:
            pass
        return messages, reply["content"]

    def run(self, code, **keywords):
        return self.finish(self.client.execute(code, **keywords))

    def value(self, code):
        messages, reply = self.run(code)
        assert reply["status"] == "ok", reply
        return messages[-1][1]["data"]["text/plain"]

    def ask(self, method, *arguments):
        getattr(self.client, method)(*arguments)
        return self.client.get_shell_msg(timeout=30)["content"]

    def end(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel()


@pytest.fixture
def kernel(specs):
    running = Kernel(specs)
    yield running
    running.end()


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


def execute(book, name="pyexec", **keywords):
    return NotebookClient(book, kernel_name=name, timeout=60, **keywords).execute()


def test_a_notebook(specs):
    book = notebook("import math\nradius = 2\nprint('radius', radius)", "math.pi * radius ** 2",
                    "open('kept.txt', 'w').write('text')", "print(open('kept.txt').read())\nNone", "open('/etc/passwd')",
                    "import traceback\ntry: 1 / 0\nexcept ZeroDivisionError: traceback.print_exc()\nprint('after')")
    done = execute(book, allow_errors=True)
    outputs = [cell.outputs for cell in done.cells]
    assert outputs[0][0].text == "radius 2\n" and outputs[3][0].text == "text\n"
    assert outputs[1][0].output_type == "execute_result" and outputs[1][0].data["text/plain"] == "12.566370614359172"
    error, = outputs[4]
    assert error.output_type == "error" and error.ename == "PermissionError" and "outside sandbox" in error.evalue and '"<cell 5>"' in error.traceback[1]
    assert sorted((output.name, output.text.splitlines()[-1]) for output in outputs[5]) == [
        ("stderr", "ZeroDivisionError: division by zero"), ("stdout", "after")]
    assert [cell.execution_count for cell in done.cells] == [1, 2, 3, 4, 5, 6]


def texts(cell, name="stdout"):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == name)


def test_a_notebook_imports_what_the_interpreter_has(specs):
    done = execute(notebook("import os, inspect, asyncio, logging\nasync def f(): return 1\nasyncio.run(f())", "inspect.getsource(f)"))
    assert done.cells[0].outputs[0].data["text/plain"] == "1" and "async def f" in done.cells[1].outputs[0].data["text/plain"]


def test_magics_that_have_nothing_to_do_are_left_out_with_a_note(specs):
    book = notebook("%matplotlib inline\n%load_ext autoreload\n%autoreload 2\nx = 20",
                    "text = \"\"\"\n%matplotlib inline\n!ls\"\"\"\nif x:\n    %config a = 1\n(x\n%3), text", "import json\n\n%matplotlib inline\n1 / 0")
    done = execute(book, allow_errors=True)
    notes = texts(done.cells[0], "stderr").splitlines()
    assert [note.split()[1] for note in notes] == ["%matplotlib", "%load_ext", "%autoreload"] and "figures are shown anyway" in notes[0]
    assert done.cells[1].outputs[-1].data["text/plain"] == "(2, '\\n%matplotlib inline\\n!ls')"
    assert '"<cell 3>", line 4' in "\n".join(done.cells[2].outputs[-1].traceback)


def test_magics_that_measure(specs):
    book = notebook("%time x = sum(range(10))\n%time x + 1", "%%time\nprint('body')\nx", "%timeit -n 3 -r 2 x * 2", "%%timeit -n 2 -r 3 y = 1\ny + x\n",
                    "%time 1 / 0", "%%time\n1 / 0")
    done = execute(book, allow_errors=True)
    assert texts(done.cells[0]).count("Wall time: ") == 2 and done.cells[0].outputs[-1].data["text/plain"] == "46"
    assert texts(done.cells[1]).startswith("body\nCPU time: ") and done.cells[1].outputs[-1].data["text/plain"] == "45"
    assert "per loop (mean ± std. dev. of 2 runs, 3 loops each)" in texts(done.cells[2])
    assert "of 3 runs, 2 loops each)" in texts(done.cells[3]) and "per loop" in texts(done.cells[3])
    for cell in done.cells[4:]:
        assert cell.outputs[-1].ename == "ZeroDivisionError" and "Wall time: " in texts(cell)


def test_what_can_not_work_is_explained(kernel):
    kernel.run("x = 0")
    for code, words in (
            ("x = 1\n!pip install numpy", "Nothing can be installed"), ("%pip install numpy", "Nothing can be installed"),
            ("%conda install a", "python_bin"), ("!ls -l", "starts no programs"), ("for i in range(2):\n    !echo 'a", "starts no programs"),
            ("%%bash\nls", "starts no programs"), ("%who", "%timeit"), ("%%writefile a.py\nx = 1", "%timeit"),
            ("x = !ls", "os.listdir()"), ("files = !ls *.csv\nx = 1", "os.listdir()"), ("x = !pip list", "python_bin"), ("y = x = %who", "%timeit"),
            ("x = !y", "not y"), ("x = 1\n*int*?", "dir()")):
        reply = kernel.run(code)[1]
        assert reply["ename"] == "UsageError" and words in reply["traceback"][-1], reply
    assert kernel.value("x") == "0"


FUNCTION = "def scale(value, by=2, *, unit='m'):\n    \"\"\"The value, larger.\n\n    In a unit.\"\"\"\n    return value * by\nbox = {'inner': [scale]}"


def help_of(kernel, code):
    messages, reply = kernel.run(code)
    assert reply["status"] == "ok" and {(kind, content.get("name")) for kind, content in messages} == {("stream", "stdout")}, (messages, reply)
    return "".join(content["text"] for _, content in messages)


@pytest.mark.parametrize("code", ["scale?", "?scale", "scale? ;", "a = 1\nscale?", "b = [scale]\nb[0]?", "if True:\n    ?scale"])
def test_a_question_mark_shows_signature_and_docstring(kernel, code):
    kernel.run(FUNCTION)
    assert help_of(kernel, code) == "Signature: scale(value, by=2, *, unit='m')\nType: function\nDocstring:\nThe value, larger.\n\nIn a unit.\n"


@pytest.mark.parametrize("code", ["scale??", "??scale"])
def test_two_question_marks_show_the_source(kernel, code):
    kernel.run(FUNCTION)
    assert help_of(kernel, code).endswith("Source:\n" + FUNCTION.rpartition("\n")[0] + "\n") and "Signature: scale(" in help_of(kernel, code)


def test_a_question_about_other_things(kernel):
    kernel.run("import math\nclass Point:\n    'a place'\n    def __init__(self, x): pass\np, data = Point(1), list(range(1000))")
    assert help_of(kernel, "math?").startswith("Type: module\nDocstring:\nThis module provides")
    assert help_of(kernel, "Point?").splitlines()[:2] == ["Signature: Point(x)", "Type: type"] and "a place" in help_of(kernel, "Point?")
    assert "Signature: sqrt(x, /)" in help_of(kernel, "math.sqrt??") and "square root" in help_of(kernel, "math.sqrt??")
    assert "Value: [0, 1, 2" in help_of(kernel, "data?") and len(help_of(kernel, "data?").splitlines()[1]) < 320
    assert "a place" in help_of(kernel, "p?") and help_of(kernel, "p.nosuch?") == "There is no p.nosuch in this session.\n"
    kernel.run("class Odd:\n    def __getattr__(self, name): raise KeyError(name)\n    def __repr__(self): 1 / 0\nodd = Odd()")
    assert help_of(kernel, "odd?").splitlines()[0] == "Type: Odd"
    for code in ("?", "%timeit?", "%%timeit?", "x = %matplotlib inline"):
        (kind, note), = kernel.run(code)[0]
        assert kind == "stream" and note["name"] == "stderr" and ("name?" in note["text"] or "figures" in note["text"])
    for code in ("text = '''\nreally?\n!ls\nx = !ls'''\nlen(text) + 3", "s = 'why?'\n23"):
        assert kernel.value(code) == "23"
    assert kernel.run("x = 1 ? 2 : 3")[1]["ename"] == "SyntaxError" and kernel.run("what is it?")[1]["ename"] == "SyntaxError"


def test_help_where_inspect_may_not_be_imported(specs):
    kernel = Kernel(specs, "small")
    try:
        assert "abs(x, /)" in help_of(kernel, "abs?").replace("($module, ", "(") and "absolute value" in help_of(kernel, "abs?")
    finally:
        kernel.end()


def test_a_folder_of_the_users(tmp_path, specs):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "data.csv").write_text("a,b\n")
    install = [sys.executable, "-m", "pyexec.jupyter", "install", "--prefix", str(tmp_path), "--name", "here", "--folder"]
    done = subprocess.run([*install, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    kernel = Kernel(KernelSpecManager(kernel_dirs=[str(tmp_path / "share/jupyter/kernels")]), "here")
    try:
        assert kernel.value("open('data.csv').read()") == repr("a,b\n")
        assert kernel.value("open('out.txt', 'w').write('made')") == "4"
        assert kernel.run("open(%r, 'w')" % str(tmp_path / "beside"))[1]["ename"] == "PermissionError"
    finally:
        kernel.end()
    assert sorted(path.name for path in folder.iterdir()) == ["data.csv", "out.txt"] and (folder / "out.txt").read_text() == "made"
    for wrong in (tmp_path / "none", folder / "data.csv", "/"):
        done = subprocess.run([*install, str(wrong)], capture_output=True, text=True)
        assert done.returncode == 2 and "folder" in done.stderr, done.stderr


def test_a_notebook_stops_at_an_error(specs):
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(notebook("1 / 0", "2"))


def test_limits_of_the_kernelspec(specs):
    done = execute(notebook("while True: pass", "x = bytearray(1 << 30)", "import json", "import math\nmath.tau"), "small",
                   allow_errors=True)
    errors = [cell.outputs[0] for cell in done.cells[:3]]
    assert errors[0].ename == "TimeoutError" and "timeout_ms=300" in errors[0].evalue and errors[1].ename == "MemoryError"
    assert "Allowed modules: math" in errors[2].evalue and done.cells[3].outputs[0].data["text/plain"].startswith("6.28")


def test_output_comes_while_the_cell_runs(kernel):
    number = kernel.client.execute("import time\nfor i in range(2):\n print(i, flush=True)\n time.sleep(0.6)")
    times = []
    while len(times) < 2:
        message = kernel.client.get_iopub_msg(timeout=10)
        if message["msg_type"] == "stream" and message["parent_header"]["msg_id"] == number:
            times.append(time.monotonic())
    assert times[1] - times[0] > 0.3
    kernel.finish(number)


def test_an_interrupt_keeps_the_state(kernel):
    kernel.run("x = 41")
    for code in ("import time\ntime.sleep(60)", "while True: pass"):
        number = kernel.client.execute(code)
        time.sleep(0.7)
        kernel.manager.interrupt_kernel()
        messages, reply = kernel.finish(number)
        assert reply["ename"] == "KeyboardInterrupt" and messages[-1][0] == "error"
    assert kernel.value("x + 1") == "42"
    kernel.manager.interrupt_kernel()       # nothing runs that it could interrupt
    time.sleep(0.2)
    assert kernel.value("x") == "41"


def test_a_restart_begins_anew(kernel):
    kernel.run("x = 1")
    kernel.client.stop_channels()
    kernel.manager.restart_kernel()
    kernel.connect()
    assert kernel.run("x")[1]["ename"] == "NameError" and kernel.value("2") == "2"


def test_a_lost_state_is_said(kernel):
    kernel.run("x = 1")
    rpc = [pid for pid in children(kernel.manager.provisioner.pid) if _name(pid) == "pyexec"]
    os.kill(rpc[0], signal.SIGKILL)
    messages, reply = kernel.run("import time\ntime.sleep(1)")
    assert reply["status"] in ("ok", "error")       # the first call may still be sent to the dead process
    messages += kernel.run("x")[0]
    assert "restarted (host_restart)" in "".join(content["text"] for kind, content in messages if kind == "stream")
    assert messages[-1][1]["ename"] == "NameError"


def _name(pid):
    with open("/proc/%d/comm" % pid) as file:
        return file.read().strip()


@pytest.mark.parametrize("end", ["shutdown", "kill"])
def test_no_process_is_left(specs, end):
    kernel = Kernel(specs)
    number = kernel.client.execute("while True: pass")
    time.sleep(0.5)
    below = children(kernel.manager.provisioner.pid)
    assert number and len(below) >= 3
    if end == "kill":
        os.kill(kernel.manager.provisioner.pid, signal.SIGKILL)
    else:
        kernel.end()
    deadline = time.monotonic() + 10
    while (left := [pid for pid in below if os.path.exists("/proc/%d" % pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
    if end == "kill":
        kernel.client.stop_channels()
        kernel.manager.shutdown_kernel(now=True)


def test_without_a_front_end_that_can_ask_input_is_refused_in_words(kernel):
    for code in ("name = input('who? ')", "import getpass\ngetpass.getpass()"):
        reply = kernel.run(code, allow_stdin=False)[1]
        assert reply["ename"] == "EOFError"
    assert "front end does not support input()" in kernel.run("input()", allow_stdin=False)[1]["traceback"][-1]


def asked(kernel):
    return kernel.client.get_stdin_msg(timeout=60)["content"]


def printed(messages):
    return "".join(content["text"] for kind, content in messages if kind == "stream")


def test_input_asks_the_front_end(kernel):
    number = kernel.client.execute("print('first')\na = input('who? ')\nb = input()\nprint(a, b)", allow_stdin=True)
    assert asked(kernel) == {"prompt": "who? ", "password": False}
    kernel.client.input("Ann\u00e9")
    assert asked(kernel) == {"prompt": "", "password": False}
    kernel.client.input("")
    messages, reply = kernel.finish(number)
    assert reply["status"] == "ok" and printed(messages) == "first\nAnn\u00e9 \n"


def test_getpass_is_not_shown(kernel):
    number = kernel.client.execute("import getpass\nlen(getpass.getpass('key: '))", allow_stdin=True)
    assert asked(kernel) == {"prompt": "key: ", "password": True}
    kernel.client.input("secret")
    messages, reply = kernel.finish(number)
    assert reply["status"] == "ok" and [content["data"]["text/plain"] for kind, content in messages if kind == "execute_result"] == ["6"]


def test_the_end_of_input_is_an_eof_error(kernel):
    number = kernel.client.execute("try: input()\nexcept EOFError: print('over')", allow_stdin=True)
    asked(kernel)
    kernel.client.input("\x04")
    assert printed(kernel.finish(number)[0]) == "over\n"


def test_input_of_a_thread_asks_too(kernel):
    code = "import threading\ngot = []\nt = threading.Thread(target=lambda: got.append(input('?')))\nt.start()\nt.join()\nprint(got)"
    number = kernel.client.execute(code, allow_stdin=True)
    asked(kernel)
    kernel.client.input("x")
    assert printed(kernel.finish(number)[0]) == "['x']\n"


def test_an_interrupt_ends_a_wait_for_input(kernel):
    number = kernel.client.execute("kept = 5\ninput()", allow_stdin=True)
    asked(kernel)
    kernel.manager.interrupt_kernel()
    assert kernel.finish(number)[1]["ename"] == "KeyboardInterrupt"
    kernel.client.input("too late")
    number = kernel.client.execute("print(kept, input('again? '))", allow_stdin=True)
    assert asked(kernel)["prompt"] == "again? "
    kernel.client.input("yes")
    assert printed(kernel.finish(number)[0]) == "5 yes\n"


def test_a_restart_ends_a_wait_for_input_and_leaves_nothing(kernel):
    kernel.client.execute("x = 1\ninput()", allow_stdin=True)
    asked(kernel)
    before = children(kernel.manager.provisioner.pid)
    kernel.client.stop_channels()
    kernel.manager.restart_kernel()
    kernel.connect()
    assert kernel.run("x")[1]["ename"] == "NameError" and kernel.value("2") == "2"
    end = time.monotonic() + 60
    while before and any(os.path.exists("/proc/%d" % pid) for pid in before):
        assert time.monotonic() < end, before
        time.sleep(0.05)
    number = kernel.client.execute("print(input('now? '))", allow_stdin=True)
    assert asked(kernel)["prompt"] == "now? "
    kernel.client.input("yes")
    assert printed(kernel.finish(number)[0]) == "yes\n"


def test_completion_and_inspection_come_from_the_session(kernel):
    kernel.run("class Thing:\n 'a thing'\n weight = 1\n def weigh(self): 'weighs'\nthing = Thing()\nétat = 1")
    before = kernel.value("1")
    assert kernel.ask("complete", "y = thing.we", 12)["matches"] == ["weigh", "weight"]
    reply = kernel.ask("complete", "print(éta + 1)", 9)
    assert reply["matches"] == ["état"] and (reply["cursor_start"], reply["cursor_end"]) == (6, 9)
    assert "print" in kernel.ask("complete", "pri", 3)["matches"] and "while" in kernel.ask("complete", "whi", 3)["matches"]
    assert kernel.ask("complete", "1 +", 3)["matches"] and kernel.ask("complete", "nosuch.x", 8)["matches"] == []
    kernel.run("class Odd:\n def __dir__(self): return ['fine', '\\x1b[31m', 'not a name', 'a\\nfine2']\nodd = Odd()")
    assert set(kernel.ask("complete", "odd.", 4)["matches"]) <= {"fine", "fine2", "a"}
    found = kernel.ask("inspect", "thing.weigh(", 12)
    assert found["found"] and "weighs" in found["data"]["text/plain"]
    assert not kernel.ask("inspect", "nosuch", 6)["found"]
    kernel.run("def area(width, height=1):\n    return width * height")
    assert "area(width, height=1)" in kernel.ask("inspect", "area(", 5)["data"]["text/plain"]
    assert "return width" in kernel.ask("inspect", "area", 4, 1)["data"]["text/plain"]
    assert before == "1" and kernel.run("2")[1]["execution_count"] == 5


def test_expressions_and_silent_cells(kernel):
    kernel.run("x = 1")
    messages, reply = kernel.run("print(1)\n2", silent=True, user_expressions={"good": "x + 1", "bad": "nosuch"})
    assert messages == [] and reply["user_expressions"]["good"]["data"]["text/plain"] == "2"
    assert reply["user_expressions"]["bad"]["ename"] == "NameError"
    assert kernel.run("x")[1]["execution_count"] == 2


def test_displays_are_shown(kernel):
    kernel.run("class Rich:\n def __repr__(self): return 'rich'\n def _repr_html_(self): return '<b>rich</b>'\n"
               " def _repr_json_(self): return {'a': [1]}\n def _repr_png_(self): return b'PNG'")
    messages, reply = kernel.run("display(Rich())\nprint('then')\nRich()")
    assert reply["status"] == "ok" and sorted(kind for kind, _ in messages) == ["display_data", "execute_result", "stream"]
    for kind, content in messages:
        if kind != "stream":
            assert content["data"] == {"text/plain": "rich", "application/json": {"a": [1]}, "image/png": "UE5H"}
    assert messages[-1][0] == "execute_result"


def test_nothing_is_shown_that_a_page_runs_unless_it_was_asked_for(specs):
    """Jupyter trusts the displays of cells that it ran: JavaScript in them could start another kernel."""
    book = notebook("class Rich:\n    def _repr_mimebundle_(self, include=None, exclude=None):\n"
                    "        kinds = 'html', 'markdown', 'latex', 'plain'\n"
                    "        return ({**{'text/' + kind: '<script>' for kind in kinds}, 'image/svg+xml': '<svg/>', 'image/png': b'png',\n"
                    "                 'application/javascript': 'alert()', 'application/vnd.jupyter.widget-view+json': {}}, {'isolated': True})\n"
                    "display(Rich())\nRich()")
    rich, plain = execute(book, "rich").cells[0].outputs, execute(book, "pyexec").cells[0].outputs
    for output in rich:
        assert {"text/html", "application/javascript"} <= set(output.data) and output.metadata
    assert [output.output_type for output in plain] == ["display_data", "execute_result"]
    for output in plain:
        assert sorted(output.data) == ["image/png", "text/plain"] and not output.metadata


def test_the_traceback_is_told_once_however_it_is_cut():
    trace = "Traceback (most recent call last):\n  File \"<cell 1>\", line 1, in <module>\nValueError: x\n"
    text = "one\nTwo" + "\n" + " three\n" + trace
    result = Result(error=ErrorInfo("ValueError", "x", 1, trace))
    for size in (1, 7, 30, 1000):
        errors = Untraced()
        passed = "".join(errors.pass_on(text[at:at + size]) for at in range(0, len(text), size))
        assert passed + errors.rest(result) == "one\nTwo\n three\n", size
    errors = Untraced()
    assert errors.pass_on("50%") == "50%" and errors.rest(Result()) == ""
    errors = Untraced()     # a script's own, which it survived
    assert errors.pass_on(trace) + errors.rest(Result()) == trace


def test_a_notebook_goes_on_in_branches(specs):
    kernel = Kernel(specs, env={**os.environ, "PYEXEC_KERNEL_POLICY": '{"forkable": true}'})
    try:
        kernel.value("x = [1]\nx")

        def said(code):
            messages, reply = kernel.run(code)
            assert reply["status"] == "ok", reply
            return "".join(content["text"] for kind, content in messages if kind == "stream")
        assert said("%fork 2") == "branch1, branch2\n%switch branch1 continues there. This session stays as it is.\n"
        assert said("%switch branch2") == "" and kernel.value("x.append(2); x") == "[1, 2]"
        assert said(" %fork up down \n").startswith("up, down\n")
        assert said("%switch notebook") == "" and kernel.value("x") == "[1]"
        assert said("%switch down") == "" and kernel.value("x") == "[1, 2]"
        assert "* down: " in said("%sessions") and said("%sessions").count("\n") == 5
        for code, says in [("%fork 0", "1 to 1000"), ("%fork -1", "no negative numbers"), ("%fork up", "'up'"), ("%switch none", "'none'"), ("%switch", "needs the id"),
                           ("%sessions all", "no arguments"), ("x = 1\n%fork", "alone in its cell")]:
            messages, reply = kernel.run(code)
            assert reply["status"] == "error" and says in reply["evalue"] and "Hint: " in reply["traceback"][-1], reply
        assert kernel.value("x") == "[1, 2]"
    finally:
        kernel.client.stop_channels()
        kernel.manager.shutdown_kernel()


def test_a_notebook_that_can_not_be_forked_says_how_to_install_the_kernel(kernel):
    _, reply = kernel.run("%fork")
    assert reply["ename"] == "session_not_forkable" and "--set forkable=true" in reply["traceback"][-1]


def test_cells_of_a_notebook_are_undone(specs):
    kernel = Kernel(specs, env={**os.environ, "PYEXEC_KERNEL_POLICY": '{"auto_checkpoint": true}'})
    try:
        for code in ("x = [1]\nx", "x.append(2)\nx", "x.append(3)\nx"):
            kernel.value(code)
        messages, reply = kernel.run("%undo")
        assert reply["status"] == "ok" and messages == [("stream", {"name": "stdout", "text": "The session is as it was before <cell 3>.\n"})]
        assert kernel.value("x") == "[1, 2]"
        kernel.run("%undo 2")
        assert kernel.value("x") == "[1]"
        messages, reply = kernel.run("import os\nx.append(9)\nos._exit(3)")
        assert "before this cell" in "".join(content["text"] for kind, content in messages if kind == "stream") and kernel.value("x") == "[1]"
        for code, says in [("%undo 77", "not kept"), ("%undo x", "number of a cell"), ("%undo 0", "number of a cell")]:
            _, reply = kernel.run(code)
            assert reply["status"] == "error" and says in reply["evalue"], reply
    finally:
        kernel.end()


def test_a_notebook_without_checkpoints_says_how_to_install_the_kernel(kernel):
    kernel.value("1")
    _, reply = kernel.run("%undo")
    assert reply["status"] == "error" and "--set auto_checkpoint=true" in reply["traceback"][-1]
