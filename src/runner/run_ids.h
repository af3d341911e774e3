/* SPDX-License-Identifier: Apache-2.0 */
/* The user ids of runs on the host, when root starts pyexec and uid_range is not set. */
#ifndef PX_RUNNER_RUN_IDS_H
#define PX_RUNNER_RUN_IDS_H

#include <stdint.h>

/* An id that belongs to no account and no range of subordinate ids: the first free one of a few from 1900000000
 * on, which distributions and systemd leave unused. 65534 (nobody) if this user namespace has none of them;
 * other programs of the host may run as nobody too. */
uint32_t px_run_ids_default(void);

#endif
