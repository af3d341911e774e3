/* SPDX-License-Identifier: Apache-2.0 */
/* The host's ids of runs when pyexec is started as root and no uid_range is set. */
#ifndef PX_RUNNER_RUN_IDS_H
#define PX_RUNNER_RUN_IDS_H

#include <stdint.h>

/* An id that no account and no range of subordinate ids has: the first free one of a few from 1900000000 on,
 * which distributions and systemd leave unused. 65534 (nobody) where this user namespace maps none of them:
 * other programs of the host may run as nobody too. */
uint32_t px_run_ids_default(void);

#endif
