/* SPDX-License-Identifier: Apache-2.0 */
/* The system call filter. The BPF programs are made at build time by tools/seccomp_gen.c
 * (libseccomp) from syscalls.def, so nothing here needs libseccomp and installing is one call. */
#ifndef PX_SANDBOX_SECCOMP_H
#define PX_SANDBOX_SECCOMP_H

#include <stdbool.h>
#include <stddef.h>

enum px_filter {
    PX_FILTER_OFFLINE, /* no sockets except socketpair(AF_UNIX) */
    PX_FILTER_ONLINE,  /* stream and datagram sockets of AF_INET and AF_INET6 too */
    /* The same filter in two parts, which cost a child 23 µs instead of 62. The zygote installs its part once,
     * as the last step before it serves; its children inherit it and install only their own part. The zygote's
     * part still allows what set-up calls (PX_SETUP in syscalls.def), so it is no wall by itself. */
    PX_FILTER_ZYGOTE_OFFLINE,
    PX_FILTER_ZYGOTE_ONLINE,
    PX_FILTER_CHILD,
    PX_FILTER_COUNT
};

/* Installs the filter on the calling thread; it can't be removed. PR_SET_NO_NEW_PRIVS must be set. Returns 0,
 * or -1 with errno. Async-signal-safe. */
int px_seccomp_enter(enum px_filter filter);

/* Refuses (EPERM) the calls that change a file and that Landlock does not check: modes and times, and truncation before
 * Linux 6.2. For a process that sees the host's files, called before px_seccomp_enter(). Can't be removed. Returns 0, or
 * -1 with errno. Async-signal-safe. */
int px_seccomp_keep_files(void);

/* The name of a system call number of this machine, or NULL. Async-signal-safe (a static table). */
const char *px_syscall_name(int number);

/* One row of syscalls.def, for the docs and for the test that tries every call. */
struct px_syscall_rule {
    const char *name;
    const char *action;    /* "allow", "errno EPERM", "errno ENOSYS", "trap", "online" */
    const char *condition; /* "" or words */
    const char *reason;
};
const struct px_syscall_rule *px_syscall_rules(size_t *ret_count);

#endif
