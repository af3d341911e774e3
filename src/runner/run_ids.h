/* SPDX-License-Identifier: Apache-2.0 */
/* The user ids of runs on the host, when root starts pyexec and uid_range is not set. */
#ifndef PX_RUNNER_RUN_IDS_H
#define PX_RUNNER_RUN_IDS_H

#include <stdint.h>

/* Returns an id that belongs to no account and to no range of subordinate ids: the first free one of a few from
 * 1900000000 on, which distributions and systemd leave unused. If this user namespace has none of them, returns
 * 65534 (nobody); other programs of the host may also run as nobody. */
uint32_t px_run_ids_default(void);

#endif
