/* SPDX-License-Identifier: Apache-2.0 */
#include "executor/session_state.h"

bool px_session_state_change(enum px_session_state *state, enum px_session_event event)
{
    enum { REFUSED = -1 };
    static const int next[][3] = {
        [PX_SESSION_IDLE] =
            {[PX_SESSION_ENTER] = PX_SESSION_BUSY, [PX_SESSION_LEAVE] = REFUSED, [PX_SESSION_END] = PX_SESSION_ENDED},
        [PX_SESSION_BUSY] =
            {[PX_SESSION_ENTER] = REFUSED, [PX_SESSION_LEAVE] = PX_SESSION_IDLE, [PX_SESSION_END] = PX_SESSION_ENDING},
        [PX_SESSION_ENDING] =
            {[PX_SESSION_ENTER] = REFUSED, [PX_SESSION_LEAVE] = PX_SESSION_ENDED, [PX_SESSION_END] = PX_SESSION_ENDING},
        [PX_SESSION_ENDED] =
            {[PX_SESSION_ENTER] = REFUSED, [PX_SESSION_LEAVE] = REFUSED, [PX_SESSION_END] = PX_SESSION_ENDED},
    };
    int after = next[*state][event];
    if (after != REFUSED)
        *state = (enum px_session_state)after;
    return after != REFUSED;
}
