"""Programs that were compiled with libpyexec 0.1 run with this library: it has the same soname, the same functions with
the same parameters, and the same layout of the public struct. tests/support/abi-0.1.txt lists them."""
import re
import subprocess

import pytest

from conftest import BUILD, ROOT

LIBRARY = BUILD + "/libpyexec.so.0"


def listed():
    """Returns the declarations, and the layout as (expression, number)."""
    with open(ROOT + "/tests/support/abi-0.1.txt") as file:
        lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    declarations = [line for line in lines if line.endswith(";")]
    return declarations, [line.rsplit(" ", 1) for line in lines if not line.endswith(";")]


def name_of(declaration):
    return re.search(r"(\w+)\(", declaration).group(1)


def declared():
    """Returns the declarations of the header, each on one line and without comments."""
    with open(ROOT + "/include/pyexec.h") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    return [" ".join(found.replace("PYEXEC_API ", "").split()) for found in re.findall(r"^(?:PYEXEC_API|typedef) [^;{]*;", text, re.M)]


def exported():
    """Returns symbol → version of the functions that the library exports."""
    out = subprocess.run(["nm", "-D", "--defined-only", "--with-symbol-versions", LIBRARY], capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r" T (\w+)@@(\w+)$", out, re.M))


def lost(declarations):
    """Returns the entries of the list that these declarations do not have."""
    return [line for line in listed()[0] if line not in declarations]


def test_soname_is_the_one_of_0_1():
    out = subprocess.run(["readelf", "-d", LIBRARY], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"\(SONAME\)\s+Library soname: \[(.*)\]", out) == ["libpyexec.so.0"]


def test_declarations_of_0_1_are_unchanged():
    assert len(listed()[0]) > 70
    assert lost(declared()) == []


def test_a_changed_declaration_is_noticed():
    """Tests the comparison: it finds a changed parameter type and a removed function."""
    changed = [line.replace("int stream", "long stream") for line in declared() if "pyexec_version(" not in line]
    assert lost(changed) == ["const char *pyexec_version(void);",
                             "typedef int (*pyexec_output_fn)(void *userdata, int stream, const char *bytes, size_t length);"]


def test_functions_of_0_1_are_exported_with_their_version():
    symbols = exported()
    names = [name_of(line) for line in listed()[0] if not line.startswith("typedef")]
    assert {name: symbols.get(name) for name in names} == dict.fromkeys(names, "LIBPYEXEC_0")


def test_exactly_the_functions_of_the_header_are_exported():
    """A function without a declaration can't be called correctly, but the ABI would have to keep it."""
    assert set(exported()) == {name_of(line) for line in declared() if not line.startswith("typedef")}


@pytest.mark.parametrize("compiler", ["gcc", "g++"])
def test_layout_of_0_1_is_unchanged(tmp_path, compiler):
    layout = listed()[1]
    assert ["sizeof(pyexec_error)", "2060"] in layout and ["PYEXEC_STATUS_CANCELLED", "7"] in layout
    prints = "".join('    printf("%%ld\\n", (long)(%s));\n' % expression.replace("alignof(", "__alignof__(") for expression, _ in layout)
    source = tmp_path / ("layout.cc" if compiler == "g++" else "layout.c")
    source.write_text("#include <pyexec.h>\n#include <stdio.h>\nint main(void)\n{\n" + prints + "    return 0;\n}\n")
    program = str(tmp_path / "layout")
    done = subprocess.run([compiler, "-Wall", "-I", ROOT + "/include", str(source), "-o", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    numbers = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    assert [[expression, number] for (expression, _), number in zip(layout, numbers)] == layout
