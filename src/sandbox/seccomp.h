/* SPDX-License-Identifier: Apache-2.0 */
/* The system call filter. tools/seccomp_gen.c (with libseccomp) makes the BPF programs from syscalls.def when
 * pyexec is built. So this code needs no libseccomp, and installing a filter is one system call. */
#ifndef PX_SANDBOX_SECCOMP_H
#define PX_SANDBOX_SECCOMP_H

#include <stdbool.h>
#include <stddef.h>

enum px_filter {
    PX_FILTER_OFFLINE, /* no sockets except socketpair(AF_UNIX) */
    PX_FILTER_ONLINE,  /* also stream and datagram sockets of AF_INET and AF_INET6 */
    PX_FILTER_NAMED,   /* with allowed_hosts: only TCP clients over IPv4 (syscalls_named.def) */
    /* The same filter in two parts, which cost a child 23 µs instead of 62. The zygote installs its part once, as
     * the last step before it serves. Its children inherit it and install only their own part. The zygote's part
     * still allows the calls of the set-up (PX_SETUP in syscalls.def), so it is no wall by itself. */
    PX_FILTER_ZYGOTE_OFFLINE,
    PX_FILTER_ZYGOTE_ONLINE,
    PX_FILTER_ZYGOTE_NAMED,
    PX_FILTER_CHILD,
    PX_FILTER_CHILD_NAMED,    /* in children of a zygote with PX_FILTER_ZYGOTE_NAMED */
    PX_FILTER_CHILD_FORKABLE, /* instead of PX_FILTER_CHILD: px_seccomp_enter_forkable() */
    PX_FILTER_COUNT
};

/* Installs the filter on the calling thread; it can't be removed. PR_SET_NO_NEW_PRIVS must be set. Returns 0,
 * or -1 with errno. Async-signal-safe. */
int px_seccomp_enter(enum px_filter filter);

/* Installs PX_FILTER_CHILD_FORKABLE, which asks about some calls (syscalls_forkable.def). Returns the descriptor from
 * which another process reads the questions, or -1 with errno: EBUSY when a filter above this one, for example of a
 * container manager, asks questions already. */
int px_seccomp_enter_forkable(void);

/* Refuses, with EPERM, the calls that change a file and that Landlock does not check: changes of modes and times,
 * and truncation before Linux 6.2. For a process that sees the host's files. Call it before px_seccomp_enter(). It
 * can't be removed. Returns 0, or -1 with errno. Async-signal-safe. */
int px_seccomp_keep_files(void);

/* Returns the name of a system call number of this machine, or NULL. Async-signal-safe (it reads a static table). */
const char *px_syscall_name(int number);

/* One row of syscalls.def, for the docs and for the test that tries every call. */
struct px_syscall_rule {
    const char *name;
    const char *action;    /* "allow", "errno EPERM", "errno ENOSYS", "trap", "online" */
    const char *condition; /* the condition in words, or "" */
    const char *reason;
};
const struct px_syscall_rule *px_syscall_rules(size_t *ret_count);

#endif
