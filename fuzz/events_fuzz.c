/* SPDX-License-Identifier: Apache-2.0 */
/* Parses server-sent events, of an MCP server over HTTP or of the server of a fleet's node. The events must be the same when the
 * bytes come in pieces and when they come at once. */
#include "base/cleanup.h"
#include "base/sse_events.h"
#include "fuzz.h"

static void keep(void *closure, const struct px_sse_event *event)
{
    require(event->data[event->length] == '\0');
    require(strlen(event->name) <= PX_SSE_NAME_MAX && strlen(event->id) <= PX_SSE_NAME_MAX);
    px_buffer_add_string(closure, event->name);
    px_buffer_add_string(closure, event->id);
    px_buffer_add(closure, event->data, event->length);
    px_buffer_add(closure, "\0|", 2);
}

static void feed(const char *bytes, size_t length, size_t piece, struct px_buffer *ret)
{
    struct px_sse_events events = {0};
    for (size_t at = 0; at < length; at += piece) {
        size_t left = length - at;
        require(px_sse_events_feed(&events, bytes + at, left < piece ? left : piece, 16u << 20, keep, ret) == 0);
    }
    px_sse_events_done(&events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    px_auto_buffer struct px_buffer whole = {0}, pieces = {0};
    const char *bytes = (const char *)data;
    if (size < 2)
        return 0;
    feed(bytes + 1, size - 1, size, &whole);
    feed(bytes + 1, size - 1, 1 + data[0] % 7u, &pieces);
    require(whole.length == pieces.length);
    require(!whole.length || memcmp(whole.data, pieces.data, whole.length) == 0);
    return 0;
}
