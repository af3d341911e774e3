/* SPDX-License-Identifier: Apache-2.0 */
/* Installs the filters that tools/seccomp_gen.c makes. Trusts the build; needs no libseccomp
 * and no memory, so that it works in a child that was cloned without exec. */
#include "sandbox/seccomp.h"

#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/seccomp_programs.h"

/* No flags: SECCOMP_FILTER_FLAG_TSYNC has nothing to do in a child, which has one thread, and
 * SECCOMP_FILTER_FLAG_SPEC_ALLOW would give up a mitigation on kernels before 5.16. */
int px_seccomp_enter(enum px_filter filter)
{
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &px_seccomp_programs[filter]);
}
