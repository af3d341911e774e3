/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits and privileges of a child. Async-signal-safe. Functions return 0, or -1 with errno. */
#ifndef PX_SANDBOX_LIMITS_H
#define PX_SANDBOX_LIMITS_H

#include <stdint.h>

/* UINT64_MAX: leave the limit as it is. */
struct px_limits {
#define PX_RLIMIT(resource, member, value) uint64_t member;
#include "base/rlimits.def"
    uint64_t open_files_reserve; /* the hard limit of open files is higher by this much (for imports) */
};
int px_limits_enter(const struct px_limits *limits);

/* Empties the capability sets (effective, permitted, inheritable, ambient), locks securebits,
 * sets no_new_privs and makes the process not dumpable. */
int px_privileges_drop(void);

#endif
