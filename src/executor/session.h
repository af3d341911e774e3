/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions. The first call of a session makes it; a TTL, eviction, closing or the death of its process ends it.
 * One monitor thread, which the first session starts, has the timers, notices deaths, and reads what the threads
 * of idle sessions write. It uses no CPU while nothing happens. */
#ifndef PX_EXECUTOR_SESSION_H
#define PX_EXECUTOR_SESSION_H

#include "base/json.h"

#include "pyexec.h"

struct px_sessions;

/* Closes all sessions. All calls must have returned. */
void px_sessions_free(struct px_sessions *sessions);

/* pyexec_execute(), without spans. */
int px_session_execute(pyexec_executor *executor, const char *session_id, pyexec_request *request, pyexec_result **ret,
                       pyexec_error *error);

#endif
