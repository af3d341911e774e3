# SPDX-License-Identifier: Apache-2.0
"""Unit tests of the guest's policy of imports, of the marks in tracebacks, of the run message and of the last statement: guest_test.py FOLDER, the one with
pyexec_guest_test.abi3.so (guest_test.c). Whole programs test the same in a sandbox; here each rule is tested alone."""
import linecache
import os
import socket
import struct
import sys
import sysconfig
import traceback
import unittest

sys.path.insert(0, sys.argv.pop(1))
import pyexec_guest_test as guest       # noqa: E402

guest.prepare(*{os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")})


class Imports(unittest.TestCase):
    def setUp(self):
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setblocking(False)
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)

    def run_cell(self, code, flags=guest.WHITELIST, allowed=(), banned=()):
        """Returns the names of a script's code that ran under the policy."""
        names = {"__name__": "__main__", "__builtins__": __builtins__}
        compiled = compile(code, "<cell>", "exec", dont_inherit=True)
        guest.arm(flags, frozenset(allowed), frozenset(banned), self.theirs.fileno())
        try:
            exec(compiled, names)
        finally:
            guest.disarm()
        return names

    def denials(self):
        """Returns (line, what, hint) of each report to the host."""
        found = []
        while True:
            try:
                packet = self.ours.recv(65536)
            except BlockingIOError:
                return found
            kind, _, length, layer, line, what_length = struct.unpack("=HHIBiH", packet[:15])
            self.assertEqual((kind, length, layer), (guest.DENIAL, len(packet) - 8, guest.LAYER_IMPORTS))
            found.append((line, packet[15:15 + what_length].decode(), packet[15 + what_length:].decode()))

    def refused(self, code, name, *arguments, verdict="not allowed", **keywords):
        with self.assertRaises(ImportError) as caught:
            self.run_cell(code, *arguments, **keywords)
        self.assertEqual(caught.exception.name, name)
        self.assertTrue(str(caught.exception).startswith("import '%s' %s. " % (name, verdict)), caught.exception)
        (line, what, hint), = self.denials()
        self.assertEqual(what, "import " + name)
        self.assertIn(hint, str(caught.exception))
        return line, hint

    def test_what_the_list_allows_is_imported(self):
        self.assertEqual(self.run_cell("import math\nx = math.sqrt(4)", allowed=["math"])["x"], 2)
        self.run_cell("import xml.dom\nfrom xml.dom import minidom", allowed=["xml"])
        self.assertEqual(self.denials(), [])

    def test_what_it_does_not_allow_is_refused_and_reported(self):
        line, hint = self.refused("x = 1\nimport os", "os", allowed=["math", "json", "array"])
        self.assertEqual(line, 2)
        self.assertEqual(hint, "File work: use open() with paths inside the working directory, if the policy allows files. "
                               "Allowed modules: array, json, math (policy fields allowed_imports, use_import_whitelist).")
        _, hint = self.refused("import nothing_like_it", "nothing_like_it")
        self.assertEqual(hint, "Allowed modules: none (policy fields allowed_imports, use_import_whitelist).")

    def test_the_first_part_of_a_dotted_name_counts(self):
        self.refused("import os.path", "os", allowed=["path"])
        self.refused("from os.path import join", "os", allowed=["os.path", "join"])

    def test_a_list_of_banned_names_bans_those_alone(self):
        self.run_cell("import json, math", flags=0, banned=["os"])
        _, hint = self.refused("import os.path", "os", flags=0, banned=["sys", "os"], verdict="banned")
        self.assertIn("Banned modules: os, sys (policy field banned_imports).", hint)
        self.run_cell("import os", flags=0, allowed=[], banned=[])

    def test_names_with_two_underscores(self):
        _, hint = self.refused("import __main__", "__main__", flags=guest.BLOCK_DUNDER)
        self.assertIn("policy field block_dunder_imports", hint)
        self.refused("import __main__", "__main__", guest.WHITELIST | guest.BLOCK_DUNDER, allowed=["__main__"])
        self.run_cell("import __main__", flags=0)
        self.run_cell("from __future__ import annotations", guest.WHITELIST | guest.BLOCK_DUNDER)

    def test_what_a_library_imports_is_not_judged(self):
        for name in ("fileinput", "pickletools"):
            sys.modules.pop(name, None)
            self.assertIn("x", self.run_cell("import %s\nx = 1" % name, allowed=[name]))
        self.assertEqual(self.denials(), [])

    def test_other_ways_to_import_are_judged_alike(self):
        allowed = ["importlib"]
        self.refused("__import__('os')", "os", allowed=allowed)
        self.refused("__import__('os.path', level=0)", "os", allowed=allowed)
        self.refused("import importlib\nimportlib.import_module('os')", "os", allowed=allowed)
        self.refused("import importlib\nimportlib.import_module('.path', 'os')", "os", allowed=allowed)
        self.refused("import importlib\nimportlib.__import__('os')", "os", allowed=allowed)
        self.refused("__package__ = 'os'\nfrom . import path", "os", allowed=allowed)

    def test_a_call_in_the_shape_of_one_from_c_gets_what_c_code_needs_and_no_more(self):
        self.run_cell("g = globals()\n__import__('datetime', g, g, [], 0)")
        self.refused("g = globals()\n__import__('os', g, g, [], 0)", "os")
        self.refused("g = globals()\n__import__('datetime', g, g, (), 0)", "datetime")

    def test_a_name_that_is_no_text_is_the_real_functions_error(self):
        with self.assertRaises(TypeError):
            self.run_cell("__import__(3)")
        self.assertEqual(self.denials(), [])

    def test_only_so_many_denials_are_sent_but_all_are_refused(self):
        self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        code = "count = 0\nfor i in range(%d):\n    try:\n        import os\n    except ImportError:\n        count += 1"
        names = self.run_cell(code % (guest.DENIALS_MAX + 20))
        self.assertEqual(names["count"], guest.DENIALS_MAX + 20)
        self.assertEqual(len(self.denials()), guest.DENIALS_MAX)


@unittest.skipUnless(sys.version_info >= (3, 11), "Python %d.%d has no positions to mark" % sys.version_info[:2])
class Carets(unittest.TestCase):
    SOURCES = [
        "x = 1 / 0",
        "x = 1   /   0 + 1",
        "x = 2 ** 3 // 0 + 1",
        "x = {}['a'] + 1",
        "x = [1, 2, 3][7]",
        "x = [[1], [2]][0][5] + 1",
        "x = len(5) + 1",
        "int('x')",
        "x = 'a'.nothing.more",
        "if True:\n    x = 1 + (2 / 0)",
        "def f(a):\n    return a / 0\nf(1)",
        "x = (1 +\n     2 / 0)",
        "raise ValueError('x')",
        "x = '\u00e4\u00f6' + 1",
        "x = f(1) if False else None + 1",
        "assert 1 == 2, 'no'",
        "x = lambda: 1 / 0; x()",
    ]

    def both(self, source):
        """Returns the lines of the innermost traceback entry: ours, and those of the standard library."""
        filename, source = "<caret %d>" % hash(source), source + "\n"       # the traceback module of 3.11 needs a newline at the end
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
        try:
            exec(compile(source, filename, "exec"), {})
        except Exception as error:
            entry = error.__traceback__
            while entry.tb_next:
                entry = entry.tb_next
            theirs = traceback.format_tb(entry)[-1].split("\n", 1)[1]
            return guest.caret(entry, entry.tb_lineno, filename, source), theirs
        self.fail("%r raises nothing" % source)

    def test_marks_are_those_of_the_standard_library(self):
        for source in self.SOURCES:
            with self.subTest(source=source):
                ours, theirs = self.both(source)
                self.assertEqual(ours, theirs)

    def test_the_operator_is_marked(self):
        # Python 3.11 also marks the parenthesis.
        self.assertEqual(self.both("x = (1 + 2) / (3 - 3) + 1")[0], "    x = (1 + 2) / (3 - 3) + 1\n        ~~~~~~~~^~~~~~~~~\n")
        self.assertEqual(self.both("x = 1 / 0 + 1")[0], "    x = 1 / 0 + 1\n        ~~^~~\n")
        self.assertEqual(self.both("x = [1, 2][7] + 1")[0], "    x = [1, 2][7] + 1\n        ~~~~~~^^^\n")

    def test_wide_characters_take_two_columns(self):
        self.assertEqual(self.both("x = '\u4f60' + 1 + 2")[0], "    x = '\u4f60' + 1 + 2\n        ~~~~~^~~\n")

    def test_without_the_source_there_is_nothing_to_show(self):
        try:
            exec(compile("1 / 0", "<elsewhere>", "exec"), {})
        except ZeroDivisionError as error:
            entry = error.__traceback__.tb_next
        self.assertEqual(guest.caret(entry, 1, "<elsewhere>", ""), "")
        self.assertEqual(guest.caret(entry, 7, "<elsewhere>", "1 / 0"), "")

    def test_positions_beyond_the_source_mark_nothing(self):
        """The file may have changed after it was compiled."""
        try:
            exec(compile("x = 1 / 0 + 1", "<changed>", "exec"), {})
        except ZeroDivisionError as error:
            entry = error.__traceback__.tb_next
        self.assertEqual(guest.caret(entry, 1, "<changed>", "y"), "    y\n")


class RunMessage(unittest.TestCase):
    """Each row of protocol/run_fields.def at its bounds and beyond them. The host is trusted, but a mistake of the host must end only one child."""
    ROWS = {name: (form, kind, size, greatest) for name, form, kind, size, greatest in guest.fields()}
    SIZES = {1: "=B", 4: "=I", 8: "=Q"}

    def rows(self, form):
        found = [(name, *row[1:]) for name, row in self.ROWS.items() if row[0] == form]
        self.assertTrue(found, form)
        return found

    def field(self, name_or_kind, data=b""):
        kind = self.ROWS[name_or_kind][1] if isinstance(name_or_kind, str) else name_or_kind
        return struct.pack("=HHI", kind, 0, len(data)) + data

    def take(self, *fields, files=()):
        """The message's numbers and texts, or None when it is refused. Each field is a packet of its own."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = []
        with ours, theirs:
            for content in files:
                fds.append(os.memfd_create("file"))
                os.write(fds[-1], content)
            packets = [*fields, self.field("END")]
            ours.setblocking(False)
            for number, packet in enumerate(packets):
                socket.send_fds(ours, [packet], fds if number == 0 else [])
            ours.shutdown(socket.SHUT_WR)
            for fd in fds:
                os.close(fd)
            return guest.receive(theirs.fileno())

    def test_numbers_have_their_size_and_their_greatest_value(self):
        for name, _, size, greatest in self.rows("number"):
            with self.subTest(field=name):
                packed = struct.pack(self.SIZES[size], greatest)
                if name != "FLAGS":     # some flags need more fields than this message has
                    self.assertEqual(self.take(self.field(name, packed))[name], greatest)
                self.assertEqual(self.take(self.field(name, bytes(size)))[name], 0)
                self.assertIsNone(self.take(self.field(name, packed + b"\0")))
                self.assertIsNone(self.take(self.field(name, packed[:-1])))
                self.assertIsNone(self.take(self.field(name)))
                self.assertIsNone(self.take(self.field(name, packed), self.field(name, packed)), "twice")
                if greatest < 256 ** size - 1:
                    self.assertIsNone(self.take(self.field(name, struct.pack(self.SIZES[size], greatest + 1))))
                    self.assertIsNone(self.take(self.field(name, b"\xff" * size)))

    def test_texts_have_their_size_and_come_once(self):
        for name, _, size, _ in self.rows("text"):
            with self.subTest(field=name):
                self.assertEqual(self.take(self.field(name, b"a" * min(size, 30000)))[name], "a" * min(size, 30000))
                self.assertIsNone(self.take(self.field(name, b"a"), self.field(name, b"a")), "twice")
                if size < 32768 - 9:    # one packet; a longer one can't come
                    self.assertIsNone(self.take(self.field(name, b"a" * (size + 1))))

    def test_long_texts_come_as_files(self):
        for name, _, _, greatest in self.rows("file"):
            text = name[:-len("_FILE")]
            with self.subTest(field=name):
                self.assertEqual(self.take(self.field(name, struct.pack("=Q", 40000)), files=[b"b" * 40000])[text], "b" * 40000)
                self.assertEqual(self.take(self.field(name, struct.pack("=Q", greatest)), files=[b"c" * greatest])[text], "c" * greatest)
                for length in (greatest + 1, 2 ** 64 - 1):
                    self.assertIsNone(self.take(self.field(name, struct.pack("=Q", length)), files=[b"c" * (greatest + 1)]))
                self.assertIsNone(self.take(self.field(name, struct.pack("=Q", 5)), files=[b"four"]), "a short file")
                self.assertIsNone(self.take(self.field(name, struct.pack("=Q", 4))), "no file")
                self.assertIsNone(self.take(self.field(name, b"\4"), files=[b"four"]))
                both = [self.field(name, struct.pack("=Q", 4)), self.field(text, b"x")]
                self.assertIsNone(self.take(*both, files=[b"four"]), "file and text")

    def test_files_come_in_the_order_of_their_rows(self):
        names = [row[0] for row in self.rows("file")]
        for order in (names, names[::-1]):
            found = self.take(*(self.field(name, struct.pack("=Q", 5)) for name in order), files=[b"file%d" % i for i in range(len(names))])
            self.assertEqual([found[name[:-len("_FILE")]] for name in names], ["file%d" % i for i in range(len(names))])

    def test_lists_are_bounded(self):
        for name, _, _, greatest in self.rows("list"):
            item = b"A=b" if name == "ENV" else b"a"
            for count in (greatest, greatest + 1):
                with self.subTest(field=name, count=count):
                    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    one, sent = self.field(name, item), 0
                    packets = [one * min(2000, count - sent) for sent in range(0, count, 2000)] + [self.field("END")]
                    with theirs:
                        sender = os.fork()      # not a thread: receiving holds the GIL
                        if sender == 0:
                            theirs.close()
                            self.send_all(ours, packets)
                        ours.close()
                        taken = guest.receive(theirs.fileno())
                    os.waitpid(sender, 0)
                    self.assertEqual(taken is not None, count == greatest)

    @staticmethod
    def send_all(to, packets):
        try:
            for packet in packets:
                to.send(packet)
        finally:
            os._exit(0)     # an error: the message was refused, and nobody receives any more

    def test_an_environment_has_names_and_values(self):
        for entry in (b"A", b"=b", b"A=b\0c", b""):
            self.assertIsNone(self.take(self.field("ENV", entry)), entry)

    def test_marks_are_empty(self):
        for name, *_ in self.rows("mark"):
            self.assertIsNone(self.take(self.field(name, b"x")), name)

    def test_what_no_row_has_is_refused(self):
        kinds = {row[1] for row in self.ROWS.values()}
        for kind in {0, max(kinds) + 1, 65535} | {row[1] for row in self.rows("answer")}:
            self.assertIsNone(self.take(self.field(kind)), kind)
        self.assertIsNone(self.take(b"\1"), "half a field")
        self.assertIsNone(self.take(self.field("END") + self.field("CODE", b"1")), "more after the end")


class LastStatement(unittest.TestCase):
    def found(self, code, nested=True):
        """What the text shows, and the text from there on."""
        kind, start = guest.last_statement(code, nested)
        return kind, code.encode()[start:].decode()

    def test_an_expression_is_found_where_its_line_begins(self):
        for before in ("x = 1\n", "def f(a):\n    return a\n\n", "s = \'\'\'\nimport os\n\'\'\'\n", "y = [\n1,\n]\n", "z = 1 + \\\n2\n", "é = '\\''; a = 2\r\n"):
            for last in ("x", "f(1, b=2)\n", "print(\n    'x',\n)\n# end\n", "x == 1", "a <= b", "x[1].y(z)(w)", "not (x)", "await g()", "f\"{x[\"a\"]:>{y}}\""):
                self.assertEqual(self.found(before + last), ("expression", last))

    def test_the_only_statement_has_nothing_before_it(self):
        self.assertEqual(self.found("# a comment\n\n6 * 7\n"), ("alone", "6 * 7\n"))

    def test_statements_have_no_value(self):
        for last in ("x = 1", "x += f(2)", "x <<= 1", "if x:\n    y\nelse:\n    z", "import os", "@f\nclass A: pass", "return x", "pass\n\n# end"):
            self.assertEqual(self.found("a\n" + last)[0], "no value", last)

    def test_the_parser_is_asked_where_the_text_is_not_enough(self):
        for last in ("x; y", "x;", "import os; x", "if x: y; z", "def f():\n    x; y\n", "x: int", "x: int = 5", "lambda y=1: y", "match (x)", "type (x)", "*x, y", "x is 1", "'a' (b)", "[1](2)", "'\\d'", "1or 2", "'a", "(", ")", "x\f",
                     "\\\nx", "f'{x'", "f'{x:'}'"):
            self.assertEqual(self.found("a\n" + last)[0], "unknown", last)
        for whole in ("", "# nothing\n", "'a docstring'", "r'a'.upper()", "  x", "  x\ny"):
            self.assertEqual(self.found(whole)[0], "unknown", whole)

    def test_before_3_12_a_field_of_an_f_string_has_no_quotes_of_the_same_kind(self):
        self.assertEqual(self.found("a\nf'{x['", nested=False), ("expression", "f'{x['"))
        self.assertEqual(self.found("a\nf'{x['b']}'", nested=True), ("expression", "f'{x['b']}'"))

    def test_both_parts_are_compiled(self):
        body, value = guest.program("x = 20\n\nx + 22\n")
        names = {}
        exec(body, names)
        self.assertEqual((eval(value, names), list(value.co_positions())[-1][0] if hasattr(value, "co_positions") else 3), (42, 3))
        self.assertEqual(guest.program("1 + 1")[0], None)
        self.assertEqual(guest.program("x = 1")[1], None)


if __name__ == "__main__":
    unittest.main()
