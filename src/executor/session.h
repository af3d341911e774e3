/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions. Their first call makes them; a TTL, eviction, closing or the death of their process ends them. One
 * monitor thread, which the first session starts, keeps the timers, notices deaths, and reads what the threads
 * of idle sessions write. While nothing happens, it uses no CPU. */
#ifndef PX_EXECUTOR_SESSION_H
#define PX_EXECUTOR_SESSION_H

#include "base/json.h"

#include "pyexec.h"

struct px_sessions;

/* Closes all; calls must have returned. */
void px_sessions_free(struct px_sessions *sessions);

#endif
