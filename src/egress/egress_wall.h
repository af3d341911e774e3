/* SPDX-License-Identifier: Apache-2.0 */
/* The program's own wall. A server that takes over this process through a fault must find nothing in it but sockets to allowed hosts. */
#ifndef PX_EGRESS_EGRESS_WALL_H
#define PX_EGRESS_EGRESS_WALL_H

#include "base/json.h"

/* Before anything else: no core dump, not dumpable, no inherited descriptors but 0 to 2. */
void px_egress_wall_prepare(void);

/* Changes the ids (numbers, or null), drops all privileges, and closes every layer. It can't be undone. Returns NULL, or why that
 * failed. *ret_missing: a layer that this kernel or container does not have, or NULL. */
const char *px_egress_wall_enter(const json_t *uid, const json_t *gid, const char **ret_missing, char *why,
                                 size_t why_size);

#endif
