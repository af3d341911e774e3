# SPDX-License-Identifier: Apache-2.0
"""Compares how the guest cuts programs before their last expression with a cut in the syntax tree.

    split_programs.py FOLDER SEED COUNT FILE…

FOLDER has pyexec_guest_test.abi3.so. Each file is compared as it is, and COUNT programs that are made from the files by small random
changes. Prints a line for each program whose code objects, warnings or exception differ, and at the end two numbers: all programs, and
those for which the text was enough without a syntax tree.
"""
import ast
import io
import os
import random
import sys
import sysconfig
import tokenize
import types
import warnings

TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
PIECES = ["(", ")", "[", "]", "{", "}", '"', "'", '"""', "'''", ";", "\\", "\\\n", "#", "\n", "\n\n", "\r\n", "\r", " ", "\t", "=", "==", ":", ":=", ",", "*",
          "@", "lambda x=1: x", "f'{", "f\"{x!r:>{y}}\"", "rb'", "u''", "is", "if x:", "else:", "\nx", "\nx;", "\nx; y", "\nimport os; x", "\npass; x;", "\nif x: y; z", "\n# end", "\n'doc'", "\nawait x",
          "\nyield", "\n*x, y", "\nx = 1", "\nx: int", "\n(x)(1)", "\n'a' 'b'", "\nf'{x}' f'{y}'", "\nprint(x)", "\n@x\ny", "\nif x:\ny", "\ntry:\n  x\ny", "\nx y\nz", "\nmatch x", "\ntype (x)",
          "\nfrom __future__ import annotations\n", "1if", "\\d", "\\n", "\f", "é", "\ufeff", "`", "$", "0x1for"]


def ends_with_semicolon(text):
    last = ""
    for token in tokenize.generate_tokens(io.StringIO(text, newline=None).readline):
        if token.type not in (tokenize.NEWLINE, tokenize.NL, tokenize.COMMENT, tokenize.ENDMARKER, tokenize.DEDENT):
            last = token.string
    return last == ";"


def oracle(text):
    """The statements and the value by the tree."""
    tree = compile(text, "<cell>", "exec", ast.PyCF_ONLY_AST | TOP_LEVEL_AWAIT, True)
    if not tree.body or not isinstance(tree.body[-1], ast.Expr) or ends_with_semicolon(text):
        return compile(tree, "<cell>", "exec", TOP_LEVEL_AWAIT, True), None
    value = ast.Expression(tree.body[-1].value)
    docstring = len(tree.body) == 1 and isinstance(value.body, ast.Constant) and isinstance(value.body.value, str)
    if not docstring:
        del tree.body[-1]
    body = compile(tree, "<cell>", "exec", TOP_LEVEL_AWAIT, True) if tree.body else None
    flags = TOP_LEVEL_AWAIT | (body.co_flags & FUTURES if body else 0)
    return body, compile(value, "<cell>", "eval", flags, True)


def attributes(code):
    """Returns everything that a code object consists of, also its positions in the source, for a comparison."""
    if isinstance(code, frozenset):
        return frozenset, sorted(map(repr, code))       # equal sets can have other orders
    if isinstance(code, tuple):
        return tuple, [attributes(constant) for constant in code]
    if not isinstance(code, types.CodeType):
        return type(code), repr(code)
    names = [name for name in dir(code) if name.startswith("co_") and not callable(getattr(code, name)) and name not in ("co_consts", "co_lnotab")]
    found = [(name, getattr(code, name)) for name in names]
    found += [(name, list(getattr(code, name)())) for name in ("co_lines", "co_positions") if hasattr(code, name)]
    return found, [attributes(constant) for constant in code.co_consts]


def outcome(compiler, text):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            result = [attributes(code) for code in compiler(text)]
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            result = type(error), error.args
    told = sorted((warning.category.__name__, str(warning.message), warning.lineno) for warning in seen)
    # A program with a syntax error may be parsed twice.
    return result, sorted(set(told)) if isinstance(result, tuple) else told


def change(text, others, randomly):
    for _ in range(randomly.randint(1, 3)):
        place = randomly.choice([len(text), randomly.randint(0, len(text))])
        kind = randomly.randrange(4)
        if kind == 0:
            text = text[:place] + text[place + randomly.randint(1, 5):]
        elif kind == 1:
            text = text[:place] + randomly.choice(PIECES) + text[place:]
        elif kind == 2:
            lines = text.splitlines(keepends=True)
            text = "".join(lines[:randomly.randint(0, len(lines))])
        else:
            lines = randomly.choice(others).splitlines(keepends=True)
            start = randomly.randint(0, len(lines))
            text += "\n" + "".join(lines[start:start + 3])
    return text


def programs(paths, seed, count):
    texts = []
    for path in paths:
        try:
            with open(path, encoding="utf-8", newline="") as file:
                text = file.read()
        except UnicodeDecodeError:
            continue
        texts.append(text)
        yield path, text
    small = [text for text in texts if len(text) < 4000] or texts
    for number in range(count):
        randomly = random.Random("%s %d" % (seed, number))
        yield "random %s %d" % (seed, number), change(randomly.choice(small), small, randomly)


def main():
    folder, seed, count, *paths = sys.argv[1:]
    sys.path.insert(0, folder)
    import pyexec_guest_test as guest
    guest.prepare(*{os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")})
    global FUTURES
    import __future__
    FUTURES = 0
    for name in __future__.all_feature_names:
        FUTURES |= getattr(__future__, name).compiler_flag
    total = shown = 0
    for name, text in programs(paths, seed, int(count)):
        total += 1
        shown += guest.last_statement(text, sys.version_info >= (3, 12))[0] != "unknown"
        expected, found = outcome(oracle, text), outcome(guest.program, text)
        if expected != found:
            print("different: %s\n%r\n  expected %.600r\n  found    %.600r" % (name, text[-300:], expected, found))
    print("%d programs, %d from their text" % (total, shown))


if __name__ == "__main__":
    main()
