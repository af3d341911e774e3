/* SPDX-License-Identifier: Apache-2.0 */
/* The user ids of runs on the host, when root starts pyexec and uid_range is not set. */
#ifndef PX_RUNNER_RUN_IDS_H
#define PX_RUNNER_RUN_IDS_H

#include <stdint.h>

/* Returns an id that belongs to no account and to no range of subordinate ids: the first free one of a few from
 * 1900000000 on, which distributions and systemd leave unused. If this user namespace has none of them, returns
 * 65534 (nobody); other programs of the host may also run as nobody. */
uint32_t px_run_ids_default(void);

/* Returns an id for a program of pyexec that is neither root nor one of the `count` ids of runs from `first` on, and belongs to no
 * account. If this user namespace has none of them, returns 65534, or 0 if a run has that one. */
uint32_t px_run_ids_other(uint32_t first, uint32_t count);

#endif
