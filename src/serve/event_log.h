/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a detached execution, numbered from 1, for clients that disconnect and come back. It keeps the
 * newest events, up to PX_EVENTS_MAX bytes, and always the last one. A reader learns how many were dropped. Any
 * number of threads may use it. */
#ifndef PX_SERVE_EVENT_LOG_H
#define PX_SERVE_EVENT_LOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

#define PX_EVENTS_MAX (8u << 20)

struct px_event;

struct px_event_log {
    pthread_mutex_t lock;
    struct px_event *first, *last;
    size_t bytes;
    uint64_t count; /* number of the newest event */
    bool ended;
};

void px_event_log_init(struct px_event_log *log);
void px_event_log_done(struct px_event_log *log);

/* Returns by how many bytes the log has grown; less than 0 when older events were dropped. `last`: no event comes
 * after this one. Without memory the event is missing, and its number too. */
long px_event_log_add(struct px_event_log *log, const char *name, const char *json, bool last);

/* Appends the event after number *after and sets *after to its number. If events between them were dropped,
 * appends an event `dropped` before it. Returns false when there is no event yet; *ret_ended says whether there
 * will be one. */
bool px_event_log_read(struct px_event_log *log, uint64_t *after, struct px_buffer *out, bool *ret_ended);

#endif
