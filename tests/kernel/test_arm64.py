"""The core of the suite on arm64: cross-built (tools/arm64.sh), on Debian's 6.1 kernel for arm64, which QEMU emulates."""
import os
import re
import shutil
import subprocess

import pytest

import vm
from conftest import BUILD, PARTS, ROOT
from test_escape import compile_attack

# What runs there: file → names of tests. It is a part of each file, because the emulated machine is slow.
CORE = {
    "test_runs.py": "main_job and ordinary or last_value and json or how_a_script_ends or stdin or two_runs",
    "test_limits.py": "native or regex or kernel_keeps or raise_its_limits or workspace_bytes and ordinary",
    "test_files.py": "kernel_alone and ordinary and none or quota_is and ordinary",
    "test_kernel.py": "ordinary and (named_with_its_line or blocking_the_trap or ids_and_capabilities or no_process or descriptors_are or "
                      "no_network) or no_socket_of or by_the_host",
    "test_cgroup.py": "cgroup_of_its_own or told_as_a_memory and ordinary",
    "test_sessions.py": "state_lasts or state_survives or interrupt_keeps",
    "test_branches.py": "ordinary and not unguarded and (state_of_its_source or native_code or signalled or oneself or capability)",
    "test_rpc_tools.py": "a_call_is_a and ordinary",
    "test_escape.py": "root-unguarded and (kernel_ or proc_ or guard_ or native)",
    "test_syscall_sweep.py": "offline",
}


UNGUARDED = "tests/pyexec_guest_noguard.abi3.so"
TARGETS = [*[part for part in PARTS if not part.startswith("libpyexec")], "seccomp_gen", UNGUARDED]     # pyexec brings its library


@pytest.fixture(scope="module")
def machine():
    if not os.environ.get("PYEXEC_NIGHTLY"):
        pytest.skip("an emulated arm64 machine takes many minutes: make nightly, or PYEXEC_NIGHTLY=1")
    if not shutil.which("qemu-system-aarch64"):
        pytest.skip("needs qemu-system-aarch64 (Debian: qemu-system-arm)")
    if os.environ.get("SANITIZE"):
        pytest.skip("emulated and sanitized is too slow; the plain build boots")
    built = subprocess.run([ROOT + "/tools/arm64.sh", BUILD, *TARGETS], capture_output=True, text=True)
    if built.returncode == 3:
        pytest.skip("no build for arm64: " + built.stderr[-300:])
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return vm.ARM64


def test_the_core_holds_on_arm64(machine, tmp_path):
    compile_attack(str(tmp_path), "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-objcopy")
    more = [(tmp_path / name, "/attack/" + name) for name in ("attack.so", "attack.bin")]
    more.append((machine.build + "/" + UNGUARDED, "/build/" + UNGUARDED))
    commands = ["export PYEXEC_POLICY_TIMEOUT=2m PYEXEC_POLICY_CPU_TIME_SECONDS=60 PYEXEC_ATTACK=/attack", "uname -rm"]
    for file, names in CORE.items():
        # Scripts that send signals to the parent of their host must not find process 1, which is the script itself.
        commands.append("sh -c \"python3 -m pytest -q -p no:cacheprovider --color=no --tb=short --durations=5 -rfEs -k '%s' %s; exit \\$?\"" % (names, file))
    initrd = BUILD + "/arm64/initrd"
    vm.make_initrd(machine, initrd, "\n".join(commands), more)
    try:
        text = vm.boot(machine, vm.arm64_kernel(), initrd, 1800)
    finally:
        os.unlink(initrd)
    print(text)
    counts = {}
    for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", text):
        counts[word] = counts.get(word, 0) + int(number)
    assert "VM-END 0" in text and re.search(r"^6\.1\..*aarch64", text, re.M), text[-5000:]
    assert counts.get("passed", 0) >= 100 and not counts.get("failed") and not counts.get("error"), text[-5000:]
