"""pyexec repl, on a real terminal and without one."""
import fcntl
import os
import pty
import re
import select
import signal
import stat
import struct
import termios
import time

import pytest


class Terminal:
    """Runs the repl on its own terminal."""

    def __init__(self, program, home, *flags):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

        def take_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "xterm", "LANG": "C.UTF-8"}
        self.process = program.popen("repl", *flags, env=environment, stdin=slave, stdout=slave, stderr=slave,
                                     preexec_fn=take_terminal)
        os.close(slave)
        self.seen = ""
        self.expect(">>> ")

    def send(self, text):
        os.write(self.master, text.encode())

    def expect(self, text, timeout=20):
        """Waits for the text, and returns the output before it."""
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            assert select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0], (text, self.seen)
            try:
                data = os.read(self.master, 65536)
            except OSError:
                data = b""
            assert data, (text, self.seen)
            self.seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode(errors="replace"))
        before, self.seen = self.seen.split(text, 1)
        return before

    def cell(self, *lines):
        """Runs the lines and returns the output."""
        for line in lines:
            self.send(line + "\n")
            self.expect("\r\n")         # the echo
            if line is not lines[-1]:
                self.expect("... ")
        return self.expect(">>> ").replace("\r", "")

    def leave(self):
        self.send("\x04")
        return self.process.wait(20)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal(own, tmp_path):
    made = []

    def make(*flags):
        made.append(Terminal(own, tmp_path, *flags))
        return made[-1]
    yield make
    for each in made:
        each.close()


def test_values_and_state(terminal):
    repl = terminal()
    assert repl.cell("6 * 7") == "42\n"
    assert repl.cell("names = [1, 2, 3]") == ""
    assert repl.cell("names.append(4); names") == "[1, 2, 3, 4]\n"
    assert repl.cell("_") == "[1, 2, 3, 4]\n"
    assert repl.cell("'ü€'") == "'ü€'\n"
    assert repl.cell("print('open', end='')") == "open\n"
    assert repl.leave() == 0


def test_cells_of_several_lines(terminal):
    repl = terminal()
    assert repl.cell("def double(n):", "    # why: not", "    return 2 * n", "") == ""
    assert repl.cell("double(", "", "21)") == "42\n"
    assert repl.cell("'''a", "", "b'''") == "'a\\n\\nb'\n"
    assert repl.cell("1 + \\", "2") == "3\n"
    assert repl.cell("@staticmethod", "def f(): pass", "") == ""
    assert repl.cell("{'a:': '('}  # ([{") == "{'a:': '('}\n"
    assert "unterminated" in repl.cell("'open")


def test_a_paste_is_one_cell_with_its_empty_lines_and_tabs(terminal):
    repl = terminal()
    code = "def f(n):\n\tif n:\n\t\treturn 1\n\n\treturn 2\n\nprint(f(0), f(1))\nf(0)"
    repl.send("\x1b[200~" + code + "\x1b[201~")
    repl.expect("... f(0)")
    repl.send("\n")
    repl.expect("\r\n... ")              # a block: an empty line ends it, as when it is typed
    repl.send("\n")
    assert repl.expect(">>> ").replace("\r", "") == "\n2 1\n2\n"
    repl.send("\x1b[200~1 +\x1b[201~ 1\n")
    assert repl.expect(">>> ").endswith("\r\n2\r\n")
    repl.send("\x1b[200~x = [\n\n\x03")
    repl.expect("KeyboardInterrupt")
    repl.expect(">>> ")
    assert repl.cell("5") == "5\n"


@pytest.mark.parametrize("line, status", [("exit", 0), ("quit()", 0), ("exit(3)", 3), ("quit(300);", 44)])
def test_leaving_by_name(terminal, line, status):
    repl = terminal()
    repl.send(line + "\n")
    assert repl.process.wait(20) == status


def test_an_error_is_shown_once_and_the_session_goes_on(terminal):
    repl = terminal()
    repl.cell("n = 5")
    shown = repl.cell("n / 0")
    assert shown.count("ZeroDivisionError") == 1 and "    n / 0" in shown
    assert "SystemExit: 3" in repl.cell("raise SystemExit(3)")
    assert repl.cell("n") == "5\n"


def test_interrupts(terminal):
    repl = terminal("--timeout", "60s", "--cpu-time-seconds", "60")
    repl.cell("n = 5")
    repl.send("print('go')\x01if 1:\n")         # a line edited: Ctrl-A
    repl.expect("... ")
    repl.send("\x03")
    assert "KeyboardInterrupt" in repl.expect(">>> ")
    for _ in range(3):                          # each cell counts them separately
        repl.send("while True: n += 1\n\n")
        time.sleep(0.5)
        repl.send("\x03")
        shown = repl.expect(">>> ")
        assert "KeyboardInterrupt" in shown.split("\n", 1)[1] and "restarted" not in shown
    assert repl.cell("n > 5") == "True\n"
    repl.send("half a li\x03")
    repl.expect("KeyboardInterrupt")
    repl.expect(">>> ")
    assert repl.cell("1 + 1") == "2\n"
    assert repl.leave() == 0


def test_a_second_interrupt_ends_what_does_not_stop(terminal):
    repl = terminal("--timeout", "60s", "--cpu-time-seconds", "60")
    repl.send("sum(range(10 ** 13))\n")         # C code that does not check for signals
    time.sleep(0.5)
    repl.send("\x03")
    time.sleep(0.5)
    repl.send("\x03")
    assert "restarted" in repl.expect(">>> ")
    assert repl.cell("1 + 1") == "2\n"


def test_a_restart_is_told_with_its_reason(terminal):
    repl = terminal("--any-import")
    repl.cell("n = 5")
    shown = repl.cell("import os; os._exit(3)")
    assert shown.count("the session was restarted (crashed)") == 1, shown
    assert "NameError" in repl.cell("n")
    assert "restarted" not in repl.cell("1")


def test_completion(terminal):
    repl = terminal()
    repl.cell("some_long_name = {'a': 1}")
    repl.send("some_lo\t.ke\t()\n")
    repl.expect("dict_keys(['a'])")
    repl.expect(">>> ")
    repl.send("some_long_name.p\t\t")
    repl.expect("pop  popitem")
    repl.send("\x03")
    repl.expect("KeyboardInterrupt")
    repl.expect(">>> ")
    repl.send("Zero\t\n")
    repl.expect("<class 'ZeroDivisionError'>")
    repl.expect(">>> ")
    assert repl.cell("5") == "5\n"
    repl.send("contin\t_ = 7\n")                # keywords are completed too, and `_` is still the last value
    repl.expect(">>> ")
    assert repl.cell("_") == "5\n"


def test_cells_are_numbered_as_the_user_typed_them(terminal):
    repl = terminal("--any-import")
    assert 'File "<cell 1>", line 1' in repl.cell("1/0")
    repl.send("Zero\t\n")
    repl.expect("<class 'ZeroDivisionError'>")
    repl.expect(">>> ")
    assert 'File "<cell 3>", line 1' in repl.cell("1/0")
    repl.cell("import os; os._exit(3)")
    assert 'File "<cell 1>", line 1' in repl.cell("1/0")


def test_completion_of_something_hostile(terminal):
    repl = terminal()
    repl.cell("class Evil:", " def __dir__(self): return ['a\\x1b]0;evil\\x07', 'b' * 9999, 'c\\nd'] + ['n%d' % i for i in range(9999)]", "")
    repl.cell("class Slow:", " def __dir__(self):", "  while True: pass", "")
    repl.cell("evil, slow = Evil(), Slow()")
    repl.send("evil.\t\t")
    listed = repl.expect(">>> evil.")
    assert "evil\x07" not in listed and "bbb" not in listed and len(listed) < 2000
    repl.send("\x03")
    repl.expect("KeyboardInterrupt")
    repl.expect(">>> ")
    began = time.monotonic()
    repl.send("slow.\t")
    time.sleep(0.1)
    repl.send("\x03")
    repl.expect("KeyboardInterrupt")
    repl.expect(">>> ")
    assert time.monotonic() - began < 3
    assert repl.cell("type(evil).__name__") == "'Evil'\n"


def test_history(terminal, tmp_path):
    repl = terminal()
    repl.cell("first = 'remembered'")
    assert repl.leave() == 0
    path = tmp_path / ".local/state/pyexec/history"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and b"remembered" in path.read_bytes()
    repl = terminal()
    repl.send("\x1b[A\n")
    repl.expect("first = 'remembered'")
    repl.expect(">>> ")
    assert repl.cell("first") == "'remembered'\n"


def test_a_cell_that_asks_for_input(terminal):
    repl = terminal()
    repl.send("input('name? ')\n")
    repl.expect("name? ")
    repl.expect("name? ")
    repl.send("Ada\n")
    repl.expect("'Ada'")
    repl.expect(">>> ")
    repl.send("import time; time.sleep(0.5)\n1 + 1\n")
    repl.expect("\n2\r\n")


def test_input_asks_the_user_wherever_it_is_called(terminal):
    """input() also works in a function of an earlier cell. Text that is typed or pasted after the line is the next cell."""
    repl = terminal()
    repl.cell("def ask(): return [input(word) for word in ('one> ', 'two> ')]", "")
    repl.send("print('before'); ask()\n")
    assert "before" in repl.expect("one> ")
    repl.send("Ada\n")
    repl.expect("two> ")
    repl.send("ü \"x\"\n6 * 7\n")
    repl.expect("['Ada', 'ü \"x\"']")
    repl.expect("\n42\r\n")


def test_the_time_of_a_cell_stands_still_while_the_user_thinks(terminal):
    repl = terminal("--timeout", "3s")
    repl.send("len(input('name> '))\n")
    repl.expect("name> ")
    repl.expect("name> ")
    time.sleep(5)
    repl.send("Ada\n")
    repl.expect("\n3\r\n")


def test_ctrl_c_and_ctrl_d_while_a_cell_asks(terminal):
    repl = terminal()
    repl.cell("kept = 1", )
    repl.send("input('name> ')\n")
    repl.expect("name> ")
    repl.expect("name> ")
    repl.send("half\x03")
    repl.expect("KeyboardInterrupt")
    repl.expect(">>> ")
    repl.send("input('name> ')\n")
    repl.expect("name> ")
    repl.expect("name> ")
    repl.send("\x04")
    repl.expect("EOFError")
    repl.expect(">>> ")
    assert repl.cell("kept") == "1\n"


def test_a_password_is_not_shown(terminal):
    repl = terminal("--any-import")
    repl.send("from getpass import getpass; len(getpass('secret> ')), input('name> ')\n")
    repl.expect("secret> ")
    repl.expect("secret> ")
    hidden = time.monotonic() + 20
    while termios.tcgetattr(repl.master)[3] & termios.ECHO and time.monotonic() < hidden:
        time.sleep(0.01)
    repl.send("tell nobody\n")
    assert "nobody" not in repl.expect("name> ")
    repl.send("Ada\n")
    assert "Ada" in repl.expect("(11, 'Ada')")


def test_a_signal_ends_it_while_a_cell_asks_for_a_password(terminal):
    repl = terminal("--any-import")
    repl.send("from getpass import getpass; getpass('secret> ')\n")
    repl.expect("secret> ")
    repl.expect("secret> ")
    repl.process.send_signal(signal.SIGTERM)
    assert repl.process.wait(20) == 128 + signal.SIGTERM
    assert termios.tcgetattr(repl.master)[3] & termios.ECHO


def test_a_signal_ends_it_with_the_terminal_as_it_was(terminal):
    repl = terminal()
    before = termios.tcgetattr(repl.master)
    assert not before[3] & termios.ICANON
    repl.process.send_signal(signal.SIGTERM)
    assert repl.process.wait(20) == 128 + signal.SIGTERM
    assert termios.tcgetattr(repl.master)[3] & termios.ICANON


def test_without_a_terminal(own, tmp_path):
    program = "x = 5\nx + 1\nfor i in range(2):\n    print(i)\n\nx / 0\nx"
    done = own.run("repl", input=program, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    assert done.returncode == 0 and done.stdout == b"6\n0\n1\n5\n", done
    assert done.stderr.count(b"ZeroDivisionError") == 1 and b">>>" not in done.stderr
    assert not os.listdir(tmp_path)


def test_policy_flags_hold(own, nothing_left):
    program = "open('a', 'w').write('kept')\nopen('a').read()\nimport ctypes\nwhile True: pass\n\nopen('a').read()\n"
    done = own.run("repl", "--files", "full", "--timeout", "300ms", input=program)
    assert done.stdout == b"4\n'kept'\n'kept'\n", done
    assert b"import 'ctypes' not allowed" in done.stderr and b"timeout" in done.stderr
    done = own.run("repl", "--no-such-flag")
    assert done.returncode == 125 and done.stdout == b""
