/* SPDX-License-Identifier: Apache-2.0 */
/* Parses server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). The bytes may come in pieces of
 * any length. Start each stream with a zeroed struct.
 *
 *     px_bridge_events_feed(&events, bytes, length, take_event, closure);
 *     px_bridge_events_done(&events);
 */
#ifndef PX_MCP_HTTP_BRIDGE_EVENTS_H
#define PX_MCP_HTTP_BRIDGE_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

#define PX_BRIDGE_MESSAGE_MAX (16u << 20) /* bytes of one message; src/mcp_client has the same limit */

struct px_bridge_events {
    struct px_buffer line, data;
    bool begun;      /* the first line was read; only that line may have a byte order mark */
    bool after_cr;   /* the last byte was a CR; an LF that follows is part of the same line end */
    bool has_data;   /* the event has a `data` field */
    bool of_another; /* the event has a type that is not `message` */
};

/* Calls `event` for each complete event of the type `message` that has data. Returns -1 when an event is longer than
 * PX_BRIDGE_MESSAGE_MAX, or when there is no memory. */
int px_bridge_events_feed(struct px_bridge_events *events, const char *bytes, size_t length,
                          void (*event)(void *closure, const char *data, size_t length), void *closure);
void px_bridge_events_done(struct px_bridge_events *events);

#endif
