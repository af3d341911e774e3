/* SPDX-License-Identifier: Apache-2.0 */
/* Parses server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). The bytes may come in pieces of
 * any length. Start each stream with a zeroed struct.
 *
 *     px_sse_events_feed(&events, bytes, length, 16u << 20, take_event, closure);
 *     px_sse_events_done(&events);
 */
#ifndef PX_BASE_SSE_EVENTS_H
#define PX_BASE_SSE_EVENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

#define PX_SSE_NAME_MAX 32

struct px_sse_events {
    struct px_buffer line, data;
    char name[PX_SSE_NAME_MAX + 1], id[PX_SSE_NAME_MAX + 1];
    bool begun;    /* the first line was read; only that line may have a byte order mark */
    bool after_cr; /* the last byte was a CR; an LF that follows is part of the same line end */
    bool has_data; /* the event has a `data` field */
};

struct px_sse_event {
    const char *name, *id; /* "": none. Only the beginning of a longer one is kept */
    const char *data;      /* with a NUL after it */
    size_t length;
};

/* Calls `take` for each complete event that has data. Returns -1 when an event is longer than `most` bytes, or when there is no
 * memory. */
int px_sse_events_feed(struct px_sse_events *events, const char *bytes, size_t length, size_t most,
                       void (*take)(void *closure, const struct px_sse_event *event), void *closure);
void px_sse_events_done(struct px_sse_events *events);

#endif
