"""The system calls that Python and the usual packages make on arm64, as tools/trace-syscalls.sh finds those of x86-64. `make nightly` runs it.

Each section of tools/trace_workload.py runs in an emulated machine: under strace, and then in the sandbox."""
import json
import os
import re
import subprocess
import sys

import pytest

import vm
from conftest import BUILD, PARTS, ROOT

pytestmark = pytest.mark.skipif(not os.environ.get("PYEXEC_NIGHTLY"), reason="takes half an hour: make nightly PARTS=arm64")
SECTIONS = "bare imports files concurrency facts numpy pandas scipy matplotlib sklearn".split()
PACKAGES = "numpy pandas scipy matplotlib scikit-learn".split()
PLATFORMS = [word for name in ("manylinux2014", "manylinux_2_27", "manylinux_2_28") for word in ("--platform", name + "_aarch64")]
# The names of the calls alone come back: the serial line is slow.
TRACED = r"""cd /tmp && strace -f -qq -o trace /venv/bin/python /trace_workload.py %s > out 2>&1 || tail -n 5 out
sed -n 's/^[0-9]* *\([a-z_0-9]*(\).*/\1/p' trace | sort -u"""
# "imports" reads more than the usual limits allow, and the packages start threads.
SANDBOXED = """cd /tmp && sed '/^if __name__/,$d' /trace_workload.py > section.py && echo '%s()' >> section.py
/build/pyexec run --json --python-bin /venv/bin/python --no-isolate-site --any-import --files full --workspace-bytes 512M --timeout 30m \\
    --cpu-time-seconds 1800 --address-space-bytes 8G --max-threads 64 --max-open-files 64 section.py"""


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    vm.build_arm64([*[part for part in PARTS if not part.startswith("libpyexec")], "seccomp_gen"])
    folder = tmp_path_factory.mktemp("calls")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", folder / "packages", *PLATFORMS, "--python-version", "3.11",
                    "--implementation", "cp", "--only-binary", ":all:", *PACKAGES], check=True)
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    initrd = str(folder / "initrd")
    vm.make_initrd(vm.ARM64, initrd, [
        (vm.ARM64.path("/usr/bin/strace"), "/usr/bin/strace"), (ROOT + "/tools/trace_workload.py", "/trace_workload.py"),
        (folder / "packages", "/venv/lib/python3.11/site-packages"), (folder / "pyvenv.cfg", "/venv/pyvenv.cfg"),
        (vm.ARM64.path("/usr/bin/python3"), "/venv/bin/python")])
    with vm.Guest(vm.ARM64, vm.arm64_kernel(), initrd, memory="5G") as machine:
        os.unlink(initrd)
        yield machine


def test_each_call_that_strace_sees_has_a_row(guest, tmp_path):
    (tmp_path / "traces").mkdir()
    for section in SECTIONS:
        done = guest.run(TRACED % section, timeout=3600)
        names = re.findall(r"^\w+\($", done.stdout, re.M)
        print(section, len(names), [line for line in done.stdout.splitlines() if line not in names], flush=True)
        assert len(names) > 20, done.stdout
        (tmp_path / "traces" / ("3.11." + section)).write_text("\n".join(names))
    listed = subprocess.run([BUILD + "/seccomp_gen", "--markdown"], capture_output=True, check=True).stdout
    (tmp_path / "list").write_bytes(listed)
    summary = subprocess.run([ROOT + "/tools/trace_summary.py", tmp_path / "list", tmp_path / "traces"], capture_output=True, text=True)
    print(summary.stdout)
    assert summary.returncode == 0, summary.stdout + summary.stderr


@pytest.mark.parametrize("section", SECTIONS)
def test_no_call_ends_a_run(guest, section):
    done = guest.run(SANDBOXED % section, user="ordinary", timeout=3600)
    result = json.loads(done.stdout[done.stdout.index("{"):])
    print(section, result["status"], result["error_repr"], result["stderr"][-300:])
    assert not [denial for denial in result["denials"] if denial["layer"] == "syscall"] and result["status"] in ("ok", "error"), result
