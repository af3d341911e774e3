/* SPDX-License-Identifier: Apache-2.0 */
/* Installs the filters that tools/seccomp_gen.c makes when pyexec is built. Needs neither libseccomp nor
 * memory, so that it works in a child that was cloned without exec. */
#include "sandbox/seccomp.h"

#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/seccomp_programs.h"

/* No flags. SECCOMP_FILTER_FLAG_TSYNC would do nothing in a child, which has one thread;
 * SECCOMP_FILTER_FLAG_SPEC_ALLOW would switch off a protection of the processor on kernels before 5.16. */
int px_seccomp_enter(enum px_filter filter)
{
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &px_seccomp_programs[filter]);
}
