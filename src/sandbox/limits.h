/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits and privileges of a child. Async-signal-safe. Functions return 0, or -1 with errno. */
#ifndef PX_SANDBOX_LIMITS_H
#define PX_SANDBOX_LIMITS_H

#include <linux/securebits.h>
#include <stdbool.h>
#include <stdint.h>

/* With these bits, user id 0 has no privileges by itself, changing ids gives none back, and neither the bits nor the
 * ambient set can be changed again (capabilities(7)). */
#define PX_SECUREBITS_LOCKED \
    (SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED | \
     SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

/* UINT64_MAX: leave the limit as it is. */
struct px_limits {
#define PX_RLIMIT(resource, member, value) uint64_t member;
#include "base/rlimits.def"
    uint64_t open_files_reserve; /* the hard limit of open files is higher by this much (for imports) */
    bool keep_signals;           /* leave the limit of queued signals as it is */
};
int px_limits_enter(const struct px_limits *limits);
int px_limits_open_files(uint64_t limit);

/* Empties the capability sets (effective, permitted, inheritable, ambient), locks securebits,
 * sets no_new_privs and makes the process not dumpable. */
int px_privileges_drop(void);

#endif
