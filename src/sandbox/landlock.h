/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock, with the newest ABI of the kernel. Only the paths of these rules can be used, TCP is refused, and the
 * process can't send signals or connect to abstract sockets outside its domain. */
#ifndef PX_SANDBOX_LANDLOCK_H
#define PX_SANDBOX_LANDLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* The kernel's ABI version, or 0 when Landlock is missing or switched off; errno tells which. */
int px_landlock_abi(void);

struct px_landlock_rules {
    int root;                   /* O_PATH descriptor of the folder that may be read, or -1 */
    const char *const *paths;   /* NULL, or other paths that may be read; one that does not exist stays unreadable */
    const char *const *folders; /* NULL, or folders that may be listed, with all folders below them */
    int workspace;              /* O_PATH descriptor, or -1 */
    bool workspace_write;       /* false: read only */
    bool network;               /* allow TCP connect and bind */
    uint16_t connect_port;      /* without network: allow TCP connect to this port; 0: none */
    int abi;                    /* from px_landlock_abi(), which the zygote calls once */
};

/* Restricts the calling thread. This can't be undone. PR_SET_NO_NEW_PRIVS must be set. /dev/null, /dev/zero and
 * /dev/full can still be written to: rules for their paths allow it. Returns 0, or -1 with errno. Makes only
 * system calls. */
int px_landlock_enter(const struct px_landlock_rules *rules);

#endif
