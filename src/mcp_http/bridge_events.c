/* SPDX-License-Identifier: Apache-2.0 */
#include "mcp_http/bridge_events.h"

#include <string.h>

void px_bridge_events_done(struct px_bridge_events *events)
{
    px_buffer_done(&events->line);
    px_buffer_done(&events->data);
    *events = (struct px_bridge_events){0};
}

static bool is_field(const char *line, size_t length, const char *name)
{
    return length == strlen(name) && memcmp(line, name, length) == 0;
}

static void take_field(struct px_bridge_events *events, const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length);
    size_t name = colon ? (size_t)(colon - line) : length;
    const char *value = line + name + (colon != NULL);
    size_t left = length - name - (colon != NULL);
    if (left && *value == ' ') {
        value++;
        left--;
    }
    if (is_field(line, name, "data")) {
        if (events->has_data)
            px_buffer_add_byte(&events->data, '\n');
        px_buffer_add(&events->data, value, left);
        events->has_data = true;
    } else if (is_field(line, name, "event")) {
        events->of_another = left && !is_field(value, left, "message");
    }
}

static void take_event_line(struct px_bridge_events *events,
                            void (*event)(void *closure, const char *data, size_t length), void *closure)
{
    static const char mark[] = "\xEF\xBB\xBF";
    const char *line = px_buffer_shown(&events->line);
    size_t length = events->line.length;
    if (!events->begun && length >= 3 && memcmp(line, mark, 3) == 0) {
        line += 3;
        length -= 3;
    }
    events->begun = true;
    if (length && *line != ':') {
        take_field(events, line, length);
    } else if (!length) {
        if (events->has_data && !events->of_another && px_buffer_ok(&events->data))
            event(closure, px_buffer_shown(&events->data), events->data.length);
        events->has_data = events->of_another = false;
        events->data.length = 0;
    }
    events->line.length = 0;
}

int px_bridge_events_feed(struct px_bridge_events *events, const char *bytes, size_t length,
                          void (*event)(void *closure, const char *data, size_t length), void *closure)
{
    const char *end = bytes + length;
    while (bytes < end) {
        if (events->after_cr && *bytes == '\n') {
            events->after_cr = false;
            bytes++;
            continue;
        }
        events->after_cr = false;
        const char *stop = bytes;
        while (stop < end && *stop != '\n' && *stop != '\r')
            stop++;
        px_buffer_add(&events->line, bytes, (size_t)(stop - bytes));
        if (events->line.length + events->data.length > PX_BRIDGE_MESSAGE_MAX || !px_buffer_ok(&events->line) ||
            !px_buffer_ok(&events->data))
            return -1;
        if (stop < end) {
            events->after_cr = *stop == '\r';
            take_event_line(events, event, closure);
            stop++;
        }
        bytes = stop;
    }
    return 0;
}
