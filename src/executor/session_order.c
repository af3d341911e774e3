/* SPDX-License-Identifier: Apache-2.0 */
#include "executor/session_order.h"

#include <stdlib.h>

/* ---- Timers ---- */

int px_session_timers_reserve(struct px_session_timers *timers, size_t count)
{
    if (count <= timers->room)
        return 0;
    size_t room = count < 32 ? 32 : 2 * count;
    struct px_session **items = realloc(timers->items, room * sizeof(struct px_session *));
    if (!items)
        return -1;
    timers->items = items;
    timers->room = room;
    return 0;
}

void px_session_timers_done(struct px_session_timers *timers)
{
    free(timers->items);
    *timers = (struct px_session_timers){0};
}

static void put(struct px_session_timers *timers, size_t index, struct px_session *session)
{
    timers->items[index] = session;
    session->timer = index + 1;
    timers->moves++;
}

/* Moves the session up or down from this free place, to where it belongs. */
static void place(struct px_session_timers *timers, size_t index, struct px_session *session)
{
    while (index > 0 && timers->items[(index - 1) / 2]->expires_ns > session->expires_ns) {
        put(timers, index, timers->items[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    for (;;) {
        size_t below = 2 * index + 1;
        if (below + 1 < timers->count && timers->items[below + 1]->expires_ns < timers->items[below]->expires_ns)
            below++;
        if (below >= timers->count || timers->items[below]->expires_ns >= session->expires_ns)
            break;
        put(timers, index, timers->items[below]);
        index = below;
    }
    put(timers, index, session);
}

void px_session_timer_stop(struct px_session_timers *timers, struct px_session *session)
{
    if (!session->timer)
        return;
    size_t index = session->timer - 1;
    struct px_session *last = timers->items[--timers->count];
    session->timer = 0;
    if (last != session)
        place(timers, index, last);
}

void px_session_timer_set(struct px_session_timers *timers, struct px_session *session, int64_t expires_ns)
{
    px_session_timer_stop(timers, session);
    session->expires_ns = expires_ns;
    if (expires_ns != INT64_MAX)
        place(timers, timers->count++, session);
}

struct px_session *px_session_timers_first(const struct px_session_timers *timers)
{
    return timers->count ? timers->items[0] : NULL;
}

/* ---- Owners ---- */

static size_t name_length(const struct px_session *session)
{
    return (size_t)(session->id - session->key);
}

static struct px_session_owner *find_owner(const struct px_sessions *sessions, const struct px_session *session)
{
    size_t length = name_length(session);
    struct px_session_owner *owner = sessions->owners[px_session_hash(session->key, length)];
    while (owner && !(owner->length == length && memcmp(owner->name, session->key, length) == 0))
        owner = owner->next;
    return owner;
}

int px_session_owner_join(struct px_sessions *sessions, struct px_session *session)
{
    struct px_session_owner *owner = find_owner(sessions, session);
    if (!owner) {
        size_t length = name_length(session);
        owner = calloc(1, sizeof *owner + length);
        if (!owner)
            return -1;
        owner->length = length;
        memcpy(owner->name, session->key, length);
        struct px_session_owner **bucket = &sessions->owners[px_session_hash(session->key, length)];
        owner->next = *bucket;
        *bucket = owner;
    }
    owner->count++;
    session->owner = owner;
    return 0;
}

void px_session_owner_leave(struct px_sessions *sessions, struct px_session *session)
{
    struct px_session_owner *owner = session->owner;
    if (!owner)
        return;
    px_session_owner_busy(session);
    session->owner = NULL;
    if (--owner->count)
        return;
    struct px_session_owner **slot = &sessions->owners[px_session_hash(owner->name, owner->length)];
    while (*slot != owner)
        slot = &(*slot)->next;
    *slot = owner->next;
    free(owner);
}

size_t px_session_owner_count(const struct px_sessions *sessions, const struct px_session *session)
{
    const struct px_session_owner *owner = find_owner(sessions, session);
    return owner ? owner->count : 0;
}

void px_session_owner_idle(struct px_session *session)
{
    struct px_session_owner *owner = session->owner;
    px_session_owner_busy(session);
    session->idle_previous = owner->newest_idle;
    session->idle_next = NULL;
    *(owner->newest_idle ? &owner->newest_idle->idle_next : &owner->oldest_idle) = session;
    owner->newest_idle = session;
}

void px_session_owner_busy(struct px_session *session)
{
    struct px_session_owner *owner = session->owner;
    if (owner->oldest_idle != session && !session->idle_previous)
        return;
    *(session->idle_previous ? &session->idle_previous->idle_next : &owner->oldest_idle) = session->idle_next;
    *(session->idle_next ? &session->idle_next->idle_previous : &owner->newest_idle) = session->idle_previous;
    session->idle_next = session->idle_previous = NULL;
}

/* A session that a call waits for is idle only until this call has the lock. */
struct px_session *px_session_owner_oldest_idle(const struct px_sessions *sessions, const struct px_session *session)
{
    const struct px_session_owner *owner = find_owner(sessions, session);
    struct px_session *idle = owner ? owner->oldest_idle : NULL;
    while (idle && idle->references)
        idle = idle->idle_next;
    return idle;
}
