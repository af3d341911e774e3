/* SPDX-License-Identifier: Apache-2.0 */
/* Parses the server-sent events of `pyexec serve`: the fields `event`, `data` and `id`, each on a line that ends in LF. The bytes
 * may come in pieces of any length. Start each stream with a zeroed struct. */
#ifndef PX_WORKER_WORKER_EVENTS_H
#define PX_WORKER_WORKER_EVENTS_H

#include <stddef.h>

#include "base/buffer.h"

#define PX_SSE_NAME_MAX 32
#define PX_SSE_LENGTH_MAX (40u << 20) /* bytes of one event: a result of 32 MiB, and what JSON adds */

struct px_sse_events {
    struct px_buffer line, data;
    char name[PX_SSE_NAME_MAX + 1], id[PX_SSE_NAME_MAX + 1];
};

struct px_sse_event {
    const char *name, *id; /* "": none */
    const char *data;
    size_t length;
};

/* Calls `take` for each complete event that has a name. Returns -1 when an event is too long, or when there is no memory. */
int px_sse_events_feed(struct px_sse_events *events, const char *bytes, size_t length,
                       void (*take)(void *closure, const struct px_sse_event *event), void *closure);
void px_sse_events_done(struct px_sse_events *events);

#endif
