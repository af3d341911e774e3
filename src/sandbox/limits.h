/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits and privileges of a child. Async-signal-safe. Functions return 0, or -1 with errno. */
#ifndef PX_SANDBOX_LIMITS_H
#define PX_SANDBOX_LIMITS_H

#include <stdint.h>

/* UINT64_MAX: leave the limit as it is. */
struct px_limits {
    uint64_t address_space_bytes;
    uint64_t cpu_seconds;        /* hard limit; the host ends runs before it */
    uint64_t open_files;         /* soft limit: greatest descriptor number + 1 */
    uint64_t open_files_reserve; /* the hard limit is higher by this much (for imports) */
    uint64_t threads;            /* threads of the process, including the main thread */
    uint64_t file_bytes;         /* maximum size of one file */
};
int px_limits_enter(const struct px_limits *limits);

/* Empties the capability sets (effective, permitted, inheritable, ambient), locks securebits,
 * sets no_new_privs and makes the process not dumpable. */
int px_privileges_drop(void);

#endif
