"""The core of the suite on another kernel: Debian's 6.1 (Landlock's second ABI), booted by emulation, with
a cgroup v2 tree that has all controllers."""
import os
import shutil
import subprocess

import pytest

import vm
from conftest import BUILD, ROOT

# The tests that are run there for the layers. All of test_cgroup.py runs.
CORE = ("cgroup no_network writes_outside files_of_python ids_and_capabilities no_proc signals_reach no_process_of_the_host "
        "descriptors_are 32_bit_calls blocking_the_trap host_name_is environment_of_the_host no_set_id "
        "quota_is_the threads_are_bounded").split() + ["(test_doctor and ordinary)"]
FILES = "test_cgroup.py test_kernel.py test_runs.py test_files.py"


@pytest.fixture(scope="module")
def kernel():
    if os.uname().machine != "x86_64" or not shutil.which("qemu-system-x86_64") or not shutil.which("busybox"):
        pytest.skip("needs an x86-64 machine, qemu-system-x86 and busybox-static")
    if os.environ.get("SANITIZE"):
        pytest.skip("emulated and sanitized is too slow; the plain build boots")
    if os.path.realpath("/usr/bin/python3") == "/usr/bin/python3":
        pytest.skip("the initrd is made of Debian's python3")
    fetched = subprocess.run([ROOT + "/tools/vm-kernel.sh", BUILD], capture_output=True, text=True)
    if fetched.returncode != 0:
        pytest.skip("no kernel from Debian's archive: " + fetched.stderr[-200:])
    return BUILD + "/vm/vmlinuz"


def test_the_core_holds_on_debians_kernel_with_cgroups(kernel):
    initrd = BUILD + "/vm/initrd"
    vm.make_initrd(vm.X86_64, initrd)
    try:
        with vm.Guest(vm.X86_64, kernel, initrd) as guest:
            release = guest.run("uname -r").stdout
            done = guest.run(vm.pytest_command("-m pytest", "-k '%s'" % " or ".join(CORE), FILES), timeout=1800)
    finally:
        os.unlink(initrd)
    print(done.stdout)
    counts = vm.counts(done.stdout)
    assert done.returncode == 0 and release.startswith("6.1."), (release, done.stdout[-5000:])
    assert counts.get("passed", 0) >= 50 and set(counts) == {"passed"}, done.stdout[-5000:]
