"""The suite on arm64: cross-built (tools/arm64.sh), on Debian's 6.1 kernel for arm64, which QEMU emulates.

The core runs for every commit. With PYEXEC_NIGHTLY=1 whole files run too (make nightly)."""
import os

import pytest

import vm
from conftest import PARTS
from test_escape import compile_attack

# The core: file → names of tests. A name without parameters is all of its tests. At most CORE_MOST run, by one pytest, because the
# emulated machine is slow.
CORE_MOST = 120
CORE = {
    "test_runs.py": ["test_main_job", "test_how_a_script_ends", "test_stdin_reaches_the_script", "test_two_runs_do_not_see_each_other",
                     "test_environment_is_the_requests_and_nothing_of_the_hosts", "test_streams_pass_through_and_exit_code_without_json",
                     "test_denials_are_listed_with_lines_and_bounded"],
    "test_limits.py": ["test_the_wall_as_each_user", "test_a_script_cannot_raise_its_limits", "test_the_kernel_keeps_the_address_space",
                       "test_a_caught_cpu_limit_stays_one_and_cleanup_runs", "test_workspace_bytes[ordinary-64K]", "test_caps_are_exact[stdout]",
                       "test_exactly_so_many_descriptors[2]", "test_exactly_so_many_threads[ordinary-2]", "test_exactly_so_many_threads[root-5]"],
    "test_files.py": ["test_the_kernel_alone[ordinary-none-/workspace/f-65-False]", "test_the_kernel_alone[ordinary-none-/etc/passwd-0-False]",
                      "test_quota_is_the_kernels[ordinary]"],
    "test_kernel.py": [*["test_a_refused_call_is_named_with_its_line[ordinary-%s]" % name for name in ("ptrace", "mount", "bpf", "init_module")],
                       "test_blocking_the_trap_kills", "test_ids_and_capabilities", "test_no_process_of_the_host_is_seen[ordinary]",
                       "test_descriptors_are_0_to_3[ordinary]", "test_no_network", "test_no_process_begins[ordinary-libc.fork()]",
                       "test_no_process_begins[ordinary-sc('clone', 17, 0, 0, 0, 0)]", "test_no_process_begins[ordinary-libc.vfork()]",
                       "test_no_socket_of_any_family[1-1-0]", "test_no_socket_of_any_family[2-1-0]", "test_no_socket_of_any_family[16-3-0]",
                       "test_signals_reach_nobody_else[ordinary]", "test_writes_outside_the_workspace_fail[ordinary]", "test_no_set_id_files[ordinary]",
                       "test_a_refused_call_with_its_signal_blocked_is_told_by_the_host", "test_doctor[ordinary]"],
    "test_cgroup.py": ["test_a_run_has_a_cgroup_of_its_own", "test_each_branch_has_a_cgroup_of_its_own[ordinary]",
                       "test_a_limit_above_the_run_is_told_as_a_memory_limit[ordinary]"],
    "test_sessions.py": ["test_state_lasts", "test_state_survives", "test_interrupt_keeps_the_state"],
    "test_branches.py": ["test_a_branch_has_the_state_of_its_source_and_goes_its_own_way", "test_generators_are_seeded_anew[ordinary]",
                         "test_native_code_writes_only_to_its_own_workspace[ordinary]", "test_nobody_can_be_signalled_or_found[ordinary]",
                         "test_no_capability_is_left_and_none_can_be_had[ordinary]"],
    "test_rpc_tools.py": ["test_a_call_is_a_request_to_the_client", "test_an_error_has_the_message_and_the_data[ordinary]"],
    "test_escape.py": ["test_attempt[ordinary-unguarded-%s]" % name for name in (
        "fd_channel_steal fd_nothing_else fd_send_to_host files_hard_links files_host files_quota_mapped guard_memory_written ipc_system_v "
        "kernel_async kernel_bpf kernel_enter_namespace kernel_file_handles kernel_keys kernel_mount_api kernel_namespaces kernel_perf kernel_seccomp "
        "kernel_userfaultfd native_code net_abstract net_loopback proc_by_clone proc_by_exec proc_parent proc_pidfd proc_ptrace proc_vm_read "
        "run_after_the_end run_native_after_the_end wire_done_and_on wire_length_wraps").split()],
    "test_syscall_sweep.py": ["test_every_number_answers_as_the_list_says[offline]"],
}
# Whole files, in parts that each boot a machine. They need no compiler and no packages.
WHOLE = {
    "runs": "test_runs.py test_results.py test_values.py test_hints.py test_guard_code.py",
    "limits": "test_limits.py",
    "files": "test_files.py test_folder_modes.py",
    "kernel": "test_kernel.py test_cgroup.py test_layers.py",
    "sessions": "test_sessions.py",
    "forks": "test_branches.py test_branch_folders.py test_branch_memory.py",
    "tools": "test_rpc.py test_rpc_tools.py",
    "escapes": "test_escape.py",
    "escapes of sessions": "test_escape_sessions.py",
    "sweep": "test_syscall_sweep.py",
}
UNGUARDED = "tests/pyexec_guest_noguard.abi3.so"
TARGETS = [*[part for part in PARTS if not part.startswith("libpyexec")], "seccomp_gen", UNGUARDED]     # pyexec brings its library
RUN_CORE = "import pytest, sys\nsys.exit(pytest.main([*sys.argv[1:], *open('/core').read().splitlines()]))"


@pytest.fixture(scope="module")
def initrd(tmp_path_factory):
    vm.build_arm64(TARGETS)
    folder = tmp_path_factory.mktemp("arm64")
    compile_attack(str(folder), "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-objcopy")
    (folder / "core").write_text("".join("%s::%s\n" % (file, name) for file, names in CORE.items() for name in names))
    (folder / "run_core.py").write_text(RUN_CORE)
    more = [(folder / name, "/attack/" + name) for name in ("attack.so", "attack.bin")]
    more += [(folder / "core", "/core"), (folder / "run_core.py", "/run_core.py"), (vm.ARM64.build + "/" + UNGUARDED, "/build/" + UNGUARDED)]
    path = str(folder / "initrd")
    vm.make_initrd(vm.ARM64, path, more)
    yield path
    os.unlink(path)


def run_tests(initrd, command, seconds):
    """Boots the machine and runs a command of pytest. Returns word → number of tests."""
    with vm.Guest(vm.ARM64, vm.arm64_kernel(), initrd) as guest:
        release = guest.run("uname -rm").stdout
        done = guest.run(command, timeout=seconds)
    print(release, done.stdout)
    assert release.startswith("6.1.") and release.strip().endswith("aarch64"), release
    counts = vm.counts(done.stdout)
    assert done.returncode == 0 and not counts.get("failed") and not counts.get("error"), done.stdout[-8000:]
    return counts


def test_the_core_holds_on_arm64(initrd):
    counts = run_tests(initrd, vm.pytest_command("/run_core.py"), 900)
    # Each name is there, and none is skipped.
    assert set(counts) == {"passed"} and sum(map(len, CORE.values())) <= counts["passed"] <= CORE_MOST, counts


@pytest.mark.skipif(not os.environ.get("PYEXEC_NIGHTLY"), reason="takes an hour: make nightly PARTS=arm64")
@pytest.mark.parametrize("part", WHOLE)
def test_whole_files_hold_on_arm64(initrd, part):
    counts = run_tests(initrd, vm.pytest_command("-m pytest", WHOLE[part]), 3600)
    # What a part skips there (a compiler, packages, the proxy) is a small share of it.
    assert counts.get("passed", 0) > 0 and counts.get("skipped", 0) <= 1 + counts["passed"] // 10, counts


def test_commands_run_as_each_user_and_files_come_back(initrd):
    """What tests of installed packages use (tests/support/vm.py)."""
    with vm.Guest(vm.ARM64, vm.arm64_kernel(), initrd) as guest:
        assert guest.run("id -u; exit 3").stdout == "0\n"
        done = guest.run("id -u; pwd; printf 'a\\0b' > out; false || exit 4", user="ordinary")
        assert (done.returncode, done.stdout) == (4, "1000\n/home/ordinary\n")
        assert guest.read("/home/ordinary/out") == b"a\0b"
        assert guest.run("/build/pyexec run -c '6 * 7'", user="ordinary").stdout == "42\n"
        with pytest.raises(RuntimeError, match="was not ready with the command after 1 s"):
            guest.run("sleep 60", timeout=1)
