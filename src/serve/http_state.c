/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/http_state.h"

#define EVENTS 6

bool px_http_state_change(enum px_http_state *state, enum px_http_event event)
{
    enum { NO = -1 };
    /* clang-format off */
    static const int next[][EVENTS] = {
        /*                      DISPATCH         BEGIN              ANSWER            GO                SENT               BREAK */
        [PX_HTTP_READING]   = { PX_HTTP_SERVED,  NO,                PX_HTTP_REFUSED,  PX_HTTP_LOST,     PX_HTTP_DELIVERED, PX_HTTP_LOST },
        [PX_HTTP_REFUSED]   = { NO,              NO,                NO,               PX_HTTP_REFUSED,  PX_HTTP_DELIVERED, PX_HTTP_LOST },
        [PX_HTTP_SERVED]    = { NO,              PX_HTTP_STREAMING, PX_HTTP_ANSWERED, PX_HTTP_LOST,     NO,                PX_HTTP_LOST },
        [PX_HTTP_STREAMING] = { NO,              NO,                PX_HTTP_ANSWERED, PX_HTTP_LOST,     NO,                PX_HTTP_LOST },
        [PX_HTTP_ANSWERED]  = { NO,              NO,                NO,               PX_HTTP_ANSWERED, PX_HTTP_DELIVERED, PX_HTTP_LOST },
        [PX_HTTP_DELIVERED] = { NO,              NO,                NO,               PX_HTTP_DELIVERED, NO,               NO },
        [PX_HTTP_LOST]      = { NO,              PX_HTTP_LOST,      PX_HTTP_LOST,     PX_HTTP_LOST,     PX_HTTP_LOST,      PX_HTTP_LOST },
    };
    /* clang-format on */
    int after = next[*state][event];
    if (after != NO)
        *state = (enum px_http_state)after;
    return after != NO;
}
