/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: made by their first call, ended by TTL, eviction, closing or their process's death.
 * One monitor thread, started with the first session, keeps the timers, notices deaths and drains
 * what idle sessions' threads write. Idle, it uses no CPU. */
#ifndef PX_EXECUTOR_SESSION_H
#define PX_EXECUTOR_SESSION_H

#include "base/json.h"

#include "pyexec.h"

struct px_sessions;

/* Closes all; calls must have returned. */
void px_sessions_free(struct px_sessions *sessions);

#endif
