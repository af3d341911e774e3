/* SPDX-License-Identifier: Apache-2.0 */
/* The states of a session, and the one function that says which state follows which.
 *
 *                 enter                    end
 *   IDLE ────────────────────▶ BUSY ───────────────▶ ENDING
 *     │ ▲                       │                      │
 *     │ └───────────────────────┘                      │ leave
 *     │            leave                               ▼
 *     └─────────────────────────────────────────────▶ ENDED
 *                          end
 *
 * A session that ends leaves the table at once. A session that a call has (ENDING) is freed after the call. */
#ifndef PX_EXECUTOR_SESSION_STATE_H
#define PX_EXECUTOR_SESSION_STATE_H

#include <stdbool.h>

enum px_session_state {
    PX_SESSION_IDLE,   /* in the table; no call has it */
    PX_SESSION_BUSY,   /* in the table; a call has it */
    PX_SESSION_ENDING, /* not in the table; its last call has it */
    PX_SESSION_ENDED,  /* not in the table */
};

enum px_session_event {
    PX_SESSION_ENTER, /* a call begins */
    PX_SESSION_LEAVE, /* the call has ended */
    PX_SESSION_END,   /* a TTL, eviction, closing, or the death of its process; a second time it does nothing */
};

/* Changes the state. Returns false if the event can't happen in this state; then nothing changes. */
bool px_session_state_change(enum px_session_state *state, enum px_session_event event);

static inline bool px_session_state_has_call(enum px_session_state state)
{
    return state == PX_SESSION_BUSY || state == PX_SESSION_ENDING;
}

static inline bool px_session_state_is_over(enum px_session_state state)
{
    return state == PX_SESSION_ENDING || state == PX_SESSION_ENDED;
}

/* The progress of its process. It never returns to an earlier state. */
enum px_session_process {
    PX_SESSION_NO_PROCESS,
    PX_SESSION_STARTED, /* the process exists */
    PX_SESSION_LOCKED,  /* it has reported that its sandbox is complete */
    PX_SESSION_CALLED,  /* it has had a call, so it knows the imports that the policy allows */
};

#endif
