/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/worker_events.h"

#include <string.h>

void px_sse_events_done(struct px_sse_events *events)
{
    px_buffer_done(&events->line);
    px_buffer_done(&events->data);
    *events = (struct px_sse_events){0};
}

/* Returns the value of the field if the line has it, and its length. */
static const char *field(const struct px_buffer *line, const char *name, size_t *ret_length)
{
    size_t length = strlen(name);
    if (line->length <= length || memcmp(line->data, name, length) != 0 || line->data[length] != ':')
        return NULL;
    length += 1 + (line->data[length + 1] == ' ');
    *ret_length = line->length - length;
    return line->data + length;
}

/* A longer name or id is none of the server's. */
static void keep(char to[PX_SSE_NAME_MAX + 1], const char *value, size_t length)
{
    if (length > PX_SSE_NAME_MAX)
        length = 0;
    memcpy(to, value, length);
    to[length] = '\0';
}

static void take_line(struct px_sse_events *events, void (*take)(void *closure, const struct px_sse_event *event),
                      void *closure)
{
    const char *value;
    size_t length;
    if (!events->line.length) {
        const struct px_sse_event event = {events->name, events->id, px_buffer_shown(&events->data),
                                           events->data.length};
        if (*events->name && px_buffer_ok(&events->data))
            take(closure, &event);
        px_buffer_done(&events->data);
        events->name[0] = events->id[0] = '\0';
    } else if ((value = field(&events->line, "data", &length))) {
        if (events->data.length)
            px_buffer_add_byte(&events->data, '\n');
        px_buffer_add(&events->data, value, length);
    } else if ((value = field(&events->line, "event", &length))) {
        keep(events->name, value, length);
    } else if ((value = field(&events->line, "id", &length))) {
        keep(events->id, value, length);
    }
    events->line.length = 0;
}

int px_sse_events_feed(struct px_sse_events *events, const char *bytes, size_t length,
                       void (*take)(void *closure, const struct px_sse_event *event), void *closure)
{
    for (const char *end = bytes + length; bytes < end;) {
        const char *stop = memchr(bytes, '\n', (size_t)(end - bytes));
        px_buffer_add(&events->line, bytes, (size_t)((stop ? stop : end) - bytes));
        if (events->line.length + events->data.length > PX_SSE_LENGTH_MAX || !px_buffer_ok(&events->line) ||
            !px_buffer_ok(&events->data))
            return -1;
        if (!stop)
            break;
        take_line(events, take, closure);
        bytes = stop + 1;
    }
    return 0;
}
