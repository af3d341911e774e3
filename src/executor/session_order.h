/* SPDX-License-Identifier: Apache-2.0 */
/* Which idle session ends next: by its TTL, or to make room for another one of its principal. Neither question walks
 * through the sessions: there may be 10,000, and each call asks. The caller holds the lock of the sessions. */
#ifndef PX_EXECUTOR_SESSION_ORDER_H
#define PX_EXECUTOR_SESSION_ORDER_H

#include "executor/session_private.h"

/* ---- Timers: a binary heap of the idle sessions that will expire ---- */

/* Reserves memory for the timers of so many sessions. Returns 0, or -1 when there is no memory. */
int px_session_timers_reserve(struct px_session_timers *timers, size_t count);
void px_session_timers_done(struct px_session_timers *timers);

/* Starts the session's timer. INT64_MAX: it never expires. Allocates nothing. */
void px_session_timer_set(struct px_session_timers *timers, struct px_session *session, int64_t expires_ns);
void px_session_timer_stop(struct px_session_timers *timers, struct px_session *session);

/* Returns the session that expires first, or NULL. */
struct px_session *px_session_timers_first(const struct px_session_timers *timers);

/* ---- Owners: how many sessions each principal has, and which are idle ---- */

/* Counts the session for its principal. Returns 0, or -1 when there is no memory. */
int px_session_owner_join(struct px_sessions *sessions, struct px_session *session);
void px_session_owner_leave(struct px_sessions *sessions, struct px_session *session);

/* Returns how many sessions the principal of this session has. */
size_t px_session_owner_count(const struct px_sessions *sessions, const struct px_session *session);

/* Puts the session at the end of its owner's idle ones; takes it out, if it is there. */
void px_session_owner_idle(struct px_session *session);
void px_session_owner_busy(struct px_session *session);

/* Returns the principal's idle session that was used longest ago and that no call waits for, or NULL. */
struct px_session *px_session_owner_oldest_idle(const struct px_sessions *sessions, const struct px_session *session);

#endif
