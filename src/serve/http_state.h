/* SPDX-License-Identifier: Apache-2.0 */
/* The states of an HTTP request, and the function that decides which state follows.
 *
 *            dispatch            begin                 answer
 *   READING ──────────▶ SERVED ─────────▶ STREAMING ──────────▶ ANSWERED
 *      │                   └──────────────── answer ───────────────▲ │
 *      │ answer                                                      │ sent
 *      ▼                            sent                             ▼
 *   REFUSED ──────────────────────────────────────────────────▶ DELIVERED
 *
 * Each state becomes LOST when the connection breaks. Before the whole answer is there, it also becomes LOST when the
 * client goes away. LOST never changes. A LOST request may still be answered, because the client may have closed only
 * its sending side. */
#ifndef PX_SERVE_HTTP_STATE_H
#define PX_SERVE_HTTP_STATE_H

#include <stdbool.h>

enum px_http_state {
    PX_HTTP_READING,   /* its headers and its body are arriving */
    PX_HTTP_REFUSED,   /* answered before all of its body was read */
    PX_HTTP_SERVED,    /* its route makes the answer, perhaps after it has waited for a turn */
    PX_HTTP_STREAMING, /* a part of the answer is there, and more follows */
    PX_HTTP_ANSWERED,  /* all of the answer is there */
    PX_HTTP_DELIVERED, /* the client has the whole answer, or libmicrohttpd itself has refused the request */
    PX_HTTP_LOST,      /* the client went away before it had the answer */
};

enum px_http_event {
    PX_HTTP_DISPATCH, /* the body is whole */
    PX_HTTP_BEGIN,    /* the first part of an answer in parts */
    PX_HTTP_ANSWER,   /* the whole answer, or its last part */
    PX_HTTP_GO,       /* the client has closed its side */
    PX_HTTP_SENT,     /* libmicrohttpd is done with the request */
    PX_HTTP_BREAK,    /* the connection has ended before the answer was sent */
};

/* Changes the state. False if the event can't happen in this state; then nothing changes. */
bool px_http_state_change(enum px_http_state *state, enum px_http_event event);

#endif
