/* SPDX-License-Identifier: Apache-2.0 */
/* Installs the filters that tools/seccomp_gen.c makes when pyexec is built. Needs neither libseccomp nor
 * memory, so that it works in a child that was cloned without exec. */
#include "sandbox/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/seccomp_programs.h"

/* No flags are set. SECCOMP_FILTER_FLAG_TSYNC has no effect in a child, which has one thread.
 * SECCOMP_FILTER_FLAG_SPEC_ALLOW would switch off a protection of the processor on kernels before 5.16. */
int px_seccomp_enter(enum px_filter filter)
{
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &px_seccomp_programs[filter]);
}

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1ul << 5) /* Linux 5.19 */
#endif

/* With the second flag, only a signal that kills interrupts a call whose question has been read. Older kernels do not
 * know it. */
int px_seccomp_enter_forkable(void)
{
    unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
    const struct sock_fprog *program = &px_seccomp_programs[PX_FILTER_CHILD_FORKABLE];
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, program);
    if (fd < 0 && errno == EINVAL)
        fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
    return (int)fd;
}

#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452 /* the same on all architectures */
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
#define REFUSED_CALL(number) IF_EQUAL(number, 0, 1), REFUSE
/* Landlock checks the opening of a file for writing, but not an open that only truncates. 3 is the access mode
 * that allows neither reading nor writing (open(2)). */
#define OPENING(number, flags) \
    IF_EQUAL(number, 0, 6), LOAD(flags), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, O_ACCMODE | O_TRUNC), \
        IF_EQUAL(O_RDONLY | O_TRUNC, 1, 0), IF_EQUAL(O_ACCMODE | O_TRUNC, 0, 1), REFUSE, ALLOW

/* Calls of other architectures have other numbers. The other filter traps them. */
int px_seccomp_keep_files(void)
{
    static struct sock_filter code[] = {
        LOAD(nr),
        REFUSED_CALL(__NR_truncate),
        REFUSED_CALL(__NR_fchmod),
        REFUSED_CALL(__NR_fchmodat),
        REFUSED_CALL(__NR_fchmodat2),
        REFUSED_CALL(__NR_utimensat),
#ifdef __NR_open /* not on aarch64 */
        REFUSED_CALL(__NR_chmod),
        REFUSED_CALL(__NR_utime),
        REFUSED_CALL(__NR_utimes),
        REFUSED_CALL(__NR_futimesat),
        OPENING(__NR_open, args[1]),
#endif
        OPENING(__NR_openat, args[2]),
        ALLOW,
    };
    const struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}
