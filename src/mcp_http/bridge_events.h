/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html has them, from bytes in pieces of any
 * length. A zeroed struct is the start of a stream.
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

#define PX_BRIDGE_MESSAGE_MAX (16u << 20) /* bytes of one message; src/mcp_client has the same */

struct px_bridge_events {
    struct px_buffer line, data;
    bool begun;      /* the first line, which may have a byte order mark, is over */
    bool after_cr;   /* the last byte was a CR: an LF belongs to it */
    bool has_data;   /* the event has a `data` field */
    bool of_another; /* the event has a type that is not `message` */
};

/* Calls `event` for each event that is complete, of the type `message`, and has data. Returns 0, or -1: an event is longer
 * than PX_BRIDGE_MESSAGE_MAX, or there is no memory. */
int px_bridge_events_feed(struct px_bridge_events *events, const char *bytes, size_t length,
                          void (*event)(void *closure, const char *data, size_t length), void *closure);
void px_bridge_events_done(struct px_bridge_events *events);

#endif
