/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/event_log.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct px_event {
    struct px_event *next;
    uint64_t number;
    size_t length;
    char *text; /* in the form in which it is sent */
};

void px_event_log_init(struct px_event_log *log)
{
    pthread_mutex_init(&log->lock, NULL);
}

static size_t drop_first(struct px_event_log *log)
{
    struct px_event *event = log->first;
    size_t length = event->length;
    log->first = event->next;
    log->bytes -= length;
    free(event->text);
    free(event);
    return length;
}

void px_event_log_done(struct px_event_log *log)
{
    while (log->first)
        drop_first(log);
    pthread_mutex_destroy(&log->lock);
}

long px_event_log_add(struct px_event_log *log, const char *name, const char *json, bool last)
{
    long grown = 0;
    struct px_buffer text = {0};
    struct px_event *event = calloc(1, sizeof *event);
    pthread_mutex_lock(&log->lock);
    uint64_t number = ++log->count;
    log->ended |= last;
    px_buffer_printf(&text, "id: %llu\nevent: %s\ndata: ", (unsigned long long)number, name);
    px_buffer_add_string(&text, json);
    px_buffer_add_string(&text, "\n\n");
    size_t length = text.length;
    char *taken = event ? px_buffer_take(&text) : NULL;
    if (taken) {
        *event = (struct px_event){.number = number, .length = length, .text = taken};
        *(log->first ? &log->last->next : &log->first) = event;
        log->last = event;
        log->bytes += length;
        grown = (long)length;
        while (log->bytes > PX_EVENTS_MAX && log->first != event)
            grown -= (long)drop_first(log);
    }
    pthread_mutex_unlock(&log->lock);
    px_buffer_done(&text);
    if (!taken)
        free(event);
    return grown;
}

bool px_event_log_read(struct px_event_log *log, uint64_t *after, struct px_buffer *out, bool *ret_ended)
{
    pthread_mutex_lock(&log->lock);
    const struct px_event *event = log->first;
    while (event && event->number <= *after)
        event = event->next;
    if (event) {
        if (event->number > *after + 1)
            px_buffer_printf(out, "event: dropped\ndata: {\"events\":%llu}\n\n",
                             (unsigned long long)(event->number - *after - 1));
        px_buffer_add(out, event->text, event->length);
        *after = event->number;
    }
    *ret_ended = log->ended;
    pthread_mutex_unlock(&log->lock);
    return event != NULL;
}
