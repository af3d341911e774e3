/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sse_events.h"
#include "base/buffer.h"

#include <string.h>

void px_sse_events_done(struct px_sse_events *events)
{
    px_buffer_done(&events->line);
    px_buffer_done(&events->data);
    *events = (struct px_sse_events){0};
}

static void keep(char to[PX_SSE_NAME_MAX + 1], const char *value, size_t length)
{
    if (length > PX_SSE_NAME_MAX)
        length = PX_SSE_NAME_MAX;
    memcpy(to, value, length);
    to[length] = '\0';
}

static bool is_field(const char *line, size_t length, const char *name)
{
    return length == strlen(name) && memcmp(line, name, length) == 0;
}

static void take_field(struct px_sse_events *events, const char *line, size_t length)
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
        keep(events->name, value, left);
    } else if (is_field(line, name, "id")) {
        keep(events->id, value, left);
    }
}

static void end_event(struct px_sse_events *events, void (*take)(void *closure, const struct px_sse_event *event),
                      void *closure)
{
    const struct px_sse_event event = {events->name, events->id, px_buffer_shown(&events->data),
                                       px_buffer_length(&events->data)};
    if (events->has_data && px_buffer_ok(&events->data))
        take(closure, &event);
    px_buffer_done(&events->data); /* it may be many megabytes */
    events->name[0] = events->id[0] = '\0';
    events->has_data = false;
}

static void take_line(struct px_sse_events *events, void (*take)(void *closure, const struct px_sse_event *event),
                      void *closure)
{
    static const char mark[] = "\xEF\xBB\xBF";
    const char *line = px_buffer_shown(&events->line);
    size_t length = px_buffer_length(&events->line);
    if (!events->begun && length >= 3 && memcmp(line, mark, 3) == 0) {
        line += 3;
        length -= 3;
    }
    events->begun = true;
    if (!length)
        end_event(events, take, closure);
    else if (*line != ':')
        take_field(events, line, length);
    events->line.length = 0;
}

int px_sse_events_feed(struct px_sse_events *events, const char *bytes, size_t length, size_t most,
                       void (*take)(void *closure, const struct px_sse_event *event), void *closure)
{
    const char *end = bytes + length, *lf = NULL;
    while (bytes < end) {
        if (events->after_cr && *bytes == '\n') {
            events->after_cr = false;
            bytes++;
            continue;
        }
        events->after_cr = false;
        if (!lf || lf < bytes) /* so each byte is searched once, whatever the lines end with */
            lf = memchr(bytes, '\n', (size_t)(end - bytes));
        if (!lf)
            lf = end;
        const char *cr = memchr(bytes, '\r', (size_t)(lf - bytes)), *stop = cr ? cr : lf;
        px_buffer_add(&events->line, bytes, (size_t)(stop - bytes));
        if (events->line.length + events->data.length > most || !px_buffer_ok(&events->line) ||
            !px_buffer_ok(&events->data))
            return -1;
        if (stop < end) {
            events->after_cr = cr != NULL;
            take_line(events, take, closure);
            stop++;
        }
        bytes = stop;
    }
    return 0;
}
