# SPDX-License-Identifier: Apache-2.0
"""The system calls that CPython, glibc and common packages need. The list is written by hand from their sources and manual pages,
and not from src/sandbox/syscalls.def, because tests compare that file with it. A call that is not here must be
refused, whatever its arguments. If you add a rule to the list, add the reason here."""
import errno
import os
import re

# Each group has a reason and its calls. They are those of x86-64; arm64 lacks the older ones, such as open and stat.
NEEDED = {
    "io: open files, pipes and sockets are read and written": "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2"
        " lseek close close_range dup dup2 dup3 fcntl ioctl sendfile copy_file_range pipe pipe2",
    "os: opening, listing and looking at files": "open openat creat access faccessat faccessat2 stat fstat lstat newfstatat statx"
        " statfs fstatfs readlink readlinkat getdents getdents64 getcwd chdir fchdir umask",
    "os: changing files of the workspace": "rename renameat renameat2 mkdir mkdirat rmdir link linkat unlink unlinkat symlink"
        " symlinkat chmod fchmod fchmodat fchmodat2 truncate ftruncate fallocate utime utimes futimesat utimensat",
    "os, sqlite3: locks and order on disk": "flock fsync fdatasync fadvise64",
    "malloc, mmap, dlopen, thread stacks": "mmap munmap mprotect mremap madvise msync brk",
    "threading (pthread_create, locks, end of a thread)": "clone futex set_robust_list set_tid_address rseq exit exit_group gettid"
        " restart_syscall",
    "signal": "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack pause alarm"
        " getitimer setitimer kill tkill tgkill",
    "time": "clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times timerfd_create timerfd_settime"
        " timerfd_gettime",
    "select, selectors, asyncio": "poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2"
        " eventfd eventfd2 socketpair",
    "socket: what asyncio's own pair and the result's channel use": "sendto recvfrom sendmsg recvmsg shutdown getsockname getpeername",
    "os, resource: asking about oneself": "getpid getppid getpgrp getpgid getsid getuid geteuid getgid getegid getresuid getresgid"
        " getgroups getrlimit setrlimit prlimit64 getrusage getpriority uname sysinfo getcpu capget prctl",
    "os.sched_*, numba, joblib": "sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_getattr"
        " sched_get_priority_max sched_get_priority_min sched_rr_get_interval",
    "subprocess, multiprocessing: waiting answers that there is no child": "wait4 waitid",
    "random, secrets, hash seeds": "getrandom",
}
NETWORK = {
    "offline": {},
    "online": {"socket, ssl, http, glibc's resolver": "socket setsockopt getsockopt connect bind listen accept accept4 sendmmsg recvmmsg"},
    "by-name": {"clients of the proxy, over TCP and IPv4 alone": "socket setsockopt getsockopt connect"},
}
# Allowed calls with arguments that must be refused, because they lead out of the sandbox or harm others: (name, arguments). A third
# member is the exact error; with these arguments the kernel itself would return another error (EBADF).
REFUSED = [
    ("clone", [0x10000000]),            # CLONE_NEWUSER
    ("clone", [0x00020000]),            # CLONE_NEWNS
    ("clone", [0x40000000]),            # CLONE_NEWNET
    ("clone", [17]),                    # a new process: only SIGCHLD as flags
    ("chmod", [0x100020000000, 0o4755]), ("fchmod", [0, 0o2755]), ("fchmodat", [-100, 0x100020000000, 0o4755]),     # set-id bits
    ("prctl", [22, 1]), ("prctl", [4, 1]), ("prctl", [36, 1]),              # seccomp, dumpable, child subreaper
    ("rt_sigaction", [31]),                                               # SIGSYS, which the guard handles
    ("prlimit64", [1]),                                                   # other processes
    ("mmap", [0, 4096, 1, 0x40002, -1], errno.ENOMEM),                    # MAP_HUGETLB: pages that all programs share
    ("ioctl", [999, 0x5412], errno.ENOTTY), ("ioctl", [999, 0x541c], errno.ENOTTY),     # TIOCSTI, TIOCLINUX: type into a terminal
    ("ioctl", [999, 0x540e], errno.ENOTTY),                               # TIOCSCTTY: takes over a terminal
    # The process group has members outside of the PID namespace. A signal to process 1 is allowed, because that is the script itself.
    # A signal to "all other processes" (-1) finds none: this answer of the kernel shows that the namespace has only one process.
    ("kill", [0, 0], errno.EPERM), ("kill", [-1, 0], errno.ESRCH),
    ("sendto", [0, 0, 0, 0x20000000]),                                    # MSG_FASTOPEN: connects without a call of connect
]
FAMILIES, KINDS, SIZES = range(64), range(1, 11), [size for size in (*range(130), 1 << 20) if size != 16]
REFUSED_BY_NETWORK = {
    "offline": [("socket", [family, kind]) for family in (1, 2, 10, 16, 17, 38, 40) for kind in (1, 2, 3)],
    "online": [("socket", [family, kind]) for family in (1, 17, 38, 40) for kind in (1, 2, 3)] + [("socket", [2, 3, 1])],
    "by-name": [("socket", [family, kind]) for family in FAMILIES for kind in KINDS if (family, kind) != (2, 1)] +
               [("socket", [2, 1, protocol]) for protocol in (*range(1, 6), *range(7, 300))] +
               [("connect", [999, 0x100020000000, size], errno.EPERM) for size in SIZES] +
               [(name, [999], errno.EPERM) for name in ("bind", "listen", "accept", "accept4", "sendmmsg", "recvmmsg")] +
               # IP_OPTIONS, TCP_FASTOPEN_CONNECT, TCP_ULP, TCP_REPAIR, SO_BINDTODEVICE, SO_MARK, SO_ATTACH_FILTER
               [("setsockopt", [999, *option], errno.EPERM) for option in ((0, 4), (6, 30), (6, 31), (6, 19), (1, 25), (1, 36), (1, 26))],
}


# The machine code of an endless loop: "jmp -2", and on arm64 "b 0".
FOREVER = {"x86_64": b"\xeb\xfe", "aarch64": b"\0\0\0\x14"}[os.uname().machine]
# The kernel's own headers.
HEADERS = {"x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "/usr/include/asm-generic/unistd.h"}


def numbers():
    """Returns {name: number} from the kernel's own header."""
    with open(HEADERS[os.uname().machine]) as file:
        text = file.read()
    found = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+)\s+(\d+)", text)}
    # The generic header gives some numbers once for 32 and 64 bits, and then their names for 64 bits before those for 32.
    wide = {name: int(number) for name, number in re.findall(r"#define __NR3264_(\w+)\s+(\d+)", text)}
    for name, of in re.findall(r"#define __NR_(\w+)\s+__NR3264_(\w+)", text):
        if of in wide and wide[of] not in found.values():
            found[name] = wide[of]
    return {"cachestat": 451, "fchmodat2": 452, **found}        # Linux 6.5 and 6.6; older headers lack them


def needed(network):
    groups = [*NEEDED.values(), *NETWORK[network].values()]
    return {name for group in groups for name in group.split()} & set(numbers())


def refused(network):
    """Returns ([number, arguments…], the exact error or None) for calls that must be refused."""
    known = numbers()
    for name, arguments, *error in REFUSED + REFUSED_BY_NETWORK[network]:
        if name not in known:       # arm64 has no chmod; fchmodat does the same
            continue
        yield [known[name], *(argument % (1 << 64) for argument in arguments), *[0] * (6 - len(arguments))], *(error or [None])
