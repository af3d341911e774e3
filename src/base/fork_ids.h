/* SPDX-License-Identifier: Apache-2.0 */
/* The part of a fork's request that is the same in every front: `ids`, the ids of the new sessions, or `count`, how many. */
#ifndef PX_BASE_FORK_IDS_H
#define PX_BASE_FORK_IDS_H

#include "base/json.h"
#include "pyexec.h"

#define PX_FORK_IDS_MAX 1000 /* sessions that one fork makes */

struct px_fork_ids {
    const char **ids; /* NULL: the library makes them up. The strings belong to the JSON object */
    size_t count;
};

/* Reads `ids` or `count` of a JSON object; with neither, one session is made. The object must live as long as *ret. Returns 0, or
 * -1 with PYEXEC_INVALID_REQUEST. The caller calls px_fork_ids_done() in both cases. */
int px_fork_ids_read(const json_t *object, struct px_fork_ids *ret, pyexec_error *error);
void px_fork_ids_done(struct px_fork_ids *ids);

#endif
