/* SPDX-License-Identifier: Apache-2.0 */
/* The programs that tools/seccomp_gen.c makes. Only seccomp.c and its test use them. */
#ifndef PX_SANDBOX_SECCOMP_PROGRAMS_H
#define PX_SANDBOX_SECCOMP_PROGRAMS_H

#include <linux/filter.h>

#include "sandbox/seccomp.h"

extern const struct sock_fprog px_seccomp_programs[PX_FILTER_COUNT];

#endif
