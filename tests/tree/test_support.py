"""docs/support.md contains only what tests of this repository run."""
import os
import platform
import re
import subprocess

import pytest

from conftest import ROOT
from test_interpreters import BUILDS, OLD

with open(ROOT + "/docs/support.md") as file:
    PAGE = file.read()


def section(title):
    return re.search(r"^## %s\n(.*?)(?=^## |\Z)" % re.escape(title), PAGE, re.M | re.S).group(1)


def minor(path):
    """3.12 of …/versions/3.12.1/bin/python3."""
    return ".".join(path.split("/")[-3].split(".")[:2])


def rows(title):
    return [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in section(title).splitlines() if re.match(r"\| [^|-]", line)]


@pytest.mark.skipif(not BUILDS, reason="no pyenv builds of 3.8 or later")
def test_the_interpreters_are_those_that_the_tests_run():
    assert {version for version, source, *_ in rows("Interpreters that run scripts") if source == "pyenv"} == {minor(path) for path in BUILDS}
    refused = re.search(r"^([\d., and]+) are refused", section("Interpreters that run scripts"), re.M).group(1)
    assert set(re.findall(r"3\.\d+", refused)) == {minor(path) for path in OLD}


@pytest.mark.skipif(not os.path.exists("/etc/debian_version"), reason="not Debian")
def test_debians_python_is_the_one_that_the_tests_run():
    version = subprocess.run(["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=True).stdout.strip()
    with open("/etc/debian_version") as file:
        debian = "Debian " + file.read().split(".")[0]
    assert debian in dict(rows("Distributions")), debian
    assert [version, debian] in [list(row[:2]) for row in rows("Interpreters that run scripts")]


def test_this_machine_is_listed():
    """If the tests ran on another system, this belongs on the page, with its date."""
    kernel = "Linux " + ".".join(platform.release().split(".")[:2])
    if kernel not in section("Kernels"):
        pytest.skip("%s is not on docs/support.md; add it when the tests pass here" % kernel)
    assert platform.machine() == "x86_64" and "x86-64" in PAGE


def test_each_row_names_tests_that_exist():
    named = set(re.findall(r"tests/\w+/test_\w+\.py", PAGE))
    assert len(named) >= 7
    assert [path for path in named if not os.path.exists(os.path.join(ROOT, path))] == []


def test_nothing_is_called_supported():
    """The page reports test runs. It makes no promises, because nobody could keep them."""
    assert "**untested**" in PAGE and not re.search(r"\bsupport(s|ed)\b", PAGE, re.I)
    assert len(re.findall(r"^- ", section("Untested"), re.M)) >= 6
