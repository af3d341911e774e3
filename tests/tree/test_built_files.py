"""The built files have the properties that the compiler and linker options ask for."""
import glob
import json
import os
import platform
import re
import subprocess

import pytest

from conftest import BUILD

FILES = ["pyexec", "pyexec-launch", "libpyexec.so", "pyexec_guest.abi3.so"]
FILES += [name for name in ["pyexec-mcp-http", "pyexec-otlp", "pyexec-egress", "pyexec-worker", "pyexec_gateway.so"] if os.path.exists(os.path.join(BUILD, name))]


def option(name):
    with open(BUILD + "/meson-info/intro-buildoptions.json") as file:
        return next(row["value"] for row in json.load(file) if row["name"] == name)


def readelf(flag, path):
    return subprocess.run(["readelf", "-W", flag, path], capture_output=True, text=True, check=True).stdout


@pytest.fixture(params=FILES)
def built(request):
    return os.path.join(BUILD, request.param)


def test_code_is_position_independent(built):
    assert re.search(r"Type: +DYN\b", readelf("-h", built))
    if ".so" not in built:
        assert re.search(r"\(FLAGS_1\) .*\bPIE\b", readelf("-d", built))


def test_relocations_are_read_only_once_loaded(built):
    assert re.search(r"^ +GNU_RELRO ", readelf("-l", built), re.M)
    assert re.search(r"\(FLAGS\) .*\bBIND_NOW\b", readelf("-d", built))
    assert "(TEXTREL)" not in readelf("-d", built)


def test_nothing_is_writable_and_executable(built):
    segments = re.findall(r"^ +([A-Z_]+) +(?:0x\w+ +){5}([R ][W ][E ])", readelf("-l", built), re.M)
    assert "GNU_STACK" in dict(segments)
    assert [segment for segment in segments if "W" in segment[1] and "E" in segment[1]] == []


def test_stacks_are_guarded(built):
    assert "__stack_chk_fail" in readelf("--dyn-syms", built)


def test_library_calls_are_fortified(built):
    if option("b_sanitize") != "none" or option("optimization") == "0":
        pytest.skip("such a build is not fortified")
    assert re.search(r" __\w+_chk@", readelf("--dyn-syms", built))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="of x86 only")
def test_objects_are_marked_for_control_flow_enforcement():
    with open(BUILD + "/compile_commands.json") as file:
        if "-fcf-protection" not in file.read():
            pytest.skip("this compiler has no -fcf-protection")
    # The linked file has the mark only if the C library's start files have it too.
    for room in ("pyexec-launch.p", "pyexec_guest.abi3.so.p", "pyexec.p", "libpyexec-core.a.p"):
        objects = glob.glob("%s/%s/*.o" % (BUILD, room))
        assert objects, room
        for path in objects:
            assert re.search(r"x86 feature: IBT, SHSTK", readelf("-n", path)), path
