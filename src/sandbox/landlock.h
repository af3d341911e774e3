/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock at the newest ABI that the kernel has: no path is reachable but by these rules,
 * no TCP, and no signal or abstract socket leaves the domain. */
#ifndef PX_SANDBOX_LANDLOCK_H
#define PX_SANDBOX_LANDLOCK_H

#include <stdbool.h>

/* The kernel's ABI version, or 0 when Landlock is missing or off (errno says which). */
int px_landlock_abi(void);

struct px_landlock_rules {
    int root;                   /* O_PATH descriptor of what is readable, or -1 */
    const char *const *paths;   /* NULL, or what else is readable; those that are missing are not */
    const char *const *folders; /* NULL, or what may be listed, with all folders below it */
    int workspace;              /* O_PATH descriptor, or -1 */
    bool workspace_write;       /* else read only */
    bool network;               /* allow TCP connect and bind */
    int abi;                    /* from px_landlock_abi(), asked once by the zygote */
};

/* Restricts the calling thread for good. PR_SET_NO_NEW_PRIVS must be set. /dev/null (and zero,
 * full) stay writable: `root` covers reading, and writing to them is added by path.
 * 0, or -1 with errno. Makes only system calls. */
int px_landlock_enter(const struct px_landlock_rules *rules);

#endif
