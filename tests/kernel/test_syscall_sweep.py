"""Every system call number, tried from native code inside a sandbox and compared with the list.

`seccomp_gen` prints the answer that src/sandbox/syscalls.def requires for each call (--verdicts), and arguments that are equal to, or
next to, the values in its rules (--edges). One run makes the calls of one number. If a call ends the run, the test checks this end,
and the next run continues with the call after it."""
import ctypes
import errno
import os
import subprocess

import pytest

from conftest import BUILD, SLOWER
from library import Executor
from syscalls_needed import needed, numbers, refused

X86 = os.uname().machine == "x86_64"
NUMBERS = 1024 if X86 else 512          # an emulated machine is slow
X32 = 0x40000000
ALL = (1 << 64) - 1
HIGH = 0xdeadbeef00000000
ZEROES, ONES = 0x100020000000, 0x100020001000       # the addresses of a page of zeroes and a page of ones, in a free part of the address space
PATTERNS = [[value] * 6 for value in (0, 2, ALL, HIGH, ZEROES, ONES)]
# New kernels execute these calls despite every filter, so that a probe does not kill a program: docs/syscalls.md.
UPROBES = (335, 336) if X86 else ()
# The flags of pthread_create without a stack: a second thread would run on the stack of the first. Other tests test threads.
# Those of musl have CLONE_DETACHED (0x400000) too.
THREADS = [[numbers()["clone"], flags] for flags in (0x3d0f00, 0x7d0f00)]
ENDS = {"exit", "exit_group", "rt_sigreturn"}
WAIT = {"pause", "select", "pselect6", "poll", "ppoll"}
# Allowed calls that the kernel itself answers in the same way as the list answers a refused call.
SAME = {("madvise", errno.EINVAL), ("futex", errno.ENOSYS), ("mmap", errno.ENOMEM), ("fchmod", errno.EPERM),
        ("fallocate", errno.EOPNOTSUPP)}
# Allowed calls that this kernel does not have, because it is older than Linux 6.6.
LACKS = {"fchmodat2"} if ctypes.CDLL(None, use_errno=True).syscall(numbers()["fchmodat2"], -1, 0, 0, 0) == -1 and ctypes.get_errno() == errno.ENOSYS else set()
SAME |= {(name, errno.ENOSYS) for name in LACKS}

CODE = """import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype, libc.mmap.restype = ctypes.c_long, ctypes.c_void_p
for page, byte in ((%d, 0), (%d, 255)):
    assert libc.mmap(ctypes.c_void_p(page), ctypes.c_size_t(4096), 3, 0x100022, -1, ctypes.c_long(0)) == page
    ctypes.memset(page, byte, 4096)
for call in CALLS:
    ctypes.set_errno(0)
    result = libc.syscall(*map(ctypes.c_ulong, call))
    os.write(1, b"%%d %%d\\n" %% (result, ctypes.get_errno()))
""" % (ZEROES, ONES)
LINE = 9


def generator(*arguments, input=None):
    return subprocess.run([BUILD + "/seccomp_gen", *arguments], input=input, text=True, check=True,
                          capture_output=True).stdout.splitlines()


def calls_by_number(network):
    calls = {number: [[number, *arguments] for arguments in PATTERNS] for number in range(NUMBERS)}
    for line in generator("--edges", network):
        call = [int(word, 16) for word in line.split()]
        if call[:2] not in THREADS:
            calls[call[0]].append(call)
    for number in UPROBES:
        del calls[number]
    for number in (*range(600 if X86 else 4), 0x3fffffff):
        calls[X32 | number] = [[X32 | number] + [0] * 6]
    for number in (ALL, ALL - 1, ALL - 100, 1 << 31, 1 << 31 | 101):
        calls[number] = [[number] + [0] * 6]
    # The kernel uses only the lower half of the number, and the filter must do the same.
    known = numbers()
    for number in (known["socket"], known["ptrace"], known["unshare"], known["clone3"]):
        calls[HIGH | number] = [[HIGH | number] + [0] * 6]
    return calls


def verdicts(calls, network):
    """Returns {call: (action, errno, name)} from the list."""
    lines = "".join(" ".join(map(hex, call)) + "\n" for call in calls)
    words = [line.split() for line in generator("--verdicts", network, input=lines)]
    assert len(words) == len(calls)
    return {tuple(call): (action, int(number), name) for call, (action, number, name) in zip(calls, words)}


def observed(executor, calls, waits):
    """Returns the outcome of each call: ("returned", value, errno), or ("ended", the result)."""
    outcomes = []
    while len(outcomes) < len(calls):
        part = calls[len(outcomes):][:300]
        result = executor.call(None, CODE.replace("CALLS", repr(part)), timeout_ms=(300 if waits else 30000) * SLOWER)
        lines = result["stdout"].splitlines()
        outcomes += [("returned", *map(int, line.split())) for line in lines]
        if len(lines) < len(part):
            outcomes.append(("ended", result))
    return outcomes


def is_named(what, name, number):
    number &= 0xffffffff
    if number >= 1 << 31:
        return what == "unknown (%d)" % (number - (1 << 32))
    if number & X32:
        return what.endswith(" (%d) of the x32 interface" % (number - X32))
    return what == "%s (%d)" % (name, number)


def disagreement(call, verdict, refusals, outcome):
    """Returns what is wrong, or None."""
    action, number, name = verdict
    if outcome[0] == "returned":
        value, error = outcome[1:]
        if action == "errno":
            # Errno 0 reports success without making the call (seccomp(2)). The call is only an advice.
            answer = (-1, number) if number else (0, 0)
            return None if (value, error) == answer else "not refused with errno %d" % number
        if action == "allow":
            refused = value == -1 and error in refusals | {errno.EPERM, errno.ENOSYS}
            return "refused" if refused and (name, error) not in SAME else None
        return "it returned"
    result = outcome[1]
    denial = (result["denials"] or [None])[-1]
    if not result["error_repr"]:
        return "an unexplained end"
    if action == "trap":
        told = (result["status"], result["exit_code"], denial and (denial["layer"], denial["line"]))
        if (told != ("crashed", 159, ("syscall", LINE)) or not is_named(denial["what"], name, call[0]) or
                denial["what"] not in result["error_repr"] or not denial["hint"]):
            return "not named"
    elif action == "errno" or denial or not (name in ENDS or name in WAIT and result["status"] == "timeout"):
        return "it ended the run"
    return None


# The answers of a call that was not made. An honest program has a fallback for each of them.
REFUSALS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EACCES, errno.EINVAL}


def was_refused(outcome, answers=REFUSALS):
    if outcome[0] == "returned":
        return outcome[1] == -1 and outcome[2] in answers
    return any(denial["layer"] == "syscall" for denial in outcome[1]["denials"])


def unneeded(number, outcomes, names, allowed):
    """Compares these outcomes of one number with the list written by hand. Returns what differs, or None."""
    name, taken = names.get(number), [outcome for outcome in outcomes if not was_refused(outcome)]
    if name in allowed:
        # EINVAL and the like are the kernel's answers to these arguments. Threads have tests of their own.
        reached = any(not was_refused(outcome, {errno.EPERM, errno.ENOSYS}) for outcome in outcomes)
        return None if reached or name == "clone" else "%s is refused always" % name
    return "%s is not refused: %s" % (name or number, taken[0]) if taken else None


NETWORKS = {"offline": {}, "online": {"disable_networking": False}, "by-name": {"allowed_hosts": ["a.example"]}}


@pytest.mark.parametrize("network", NETWORKS)
def test_every_number_answers_as_the_list_says(network, nothing_left):
    if network == "by-name" and not os.path.exists(BUILD + "/pyexec-egress"):
        pytest.skip("the build has no pyexec-egress")
    assert max(numbers().values()) < NUMBERS
    calls = calls_by_number(network)
    answers = verdicts([call for tries in calls.values() for call in tries], network)
    counts, wrong, names, allowed = {}, [], {number: name for name, number in numbers().items()}, needed(network) - LACKS
    policy = {"use_import_whitelist": False, "banned_imports": [], "preload_imports": ["ctypes"],
              "disable_open": False, "cpu_time_seconds": 30 * SLOWER, **NETWORKS[network]}
    with Executor(policy) as executor:
        for tries in calls.values():
            wanted = [answers[tuple(call)] for call in tries]
            refusals = {error for action, error, _ in wanted if action == "errno"}
            outcomes = observed(executor, tries, wanted[0][2] in WAIT)
            if what := unneeded(tries[0][0], outcomes, names, allowed):
                wrong.append(what)
            for call, verdict, outcome in zip(tries, wanted, outcomes, strict=True):
                counts[verdict[0]] = counts.get(verdict[0], 0) + 1
                what = disagreement(call, verdict, refusals, outcome)
                if what:
                    wrong.append((what, verdict, list(map(hex, call)), outcome))
        tries = list(refused(network))
        for (call, error), outcome in zip(tries, observed(executor, [call for call, _ in tries], False), strict=True):
            if not was_refused(outcome, {error} if error else REFUSALS):
                wrong.append(("allowed", names[call[0]], list(map(hex, call)), outcome))
    print(len(calls), "numbers", sum(counts.values()), "calls", counts)
    kinds = {str(what if isinstance(what, str) else what[:2]): str(what)[:600] for what in wrong}       # one example of each
    assert not wrong, "\n".join(["%d differences" % len(wrong), *list(kinds.values())[:30]])
    assert min(counts[action] for action in ("allow", "errno", "trap")) > 250, counts
