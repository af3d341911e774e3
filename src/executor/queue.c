/* SPDX-License-Identifier: Apache-2.0 */
#include "executor/queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct px_queue_principal {
    char *name; /* NULL: for entries without a principal */
    int64_t max_concurrent;
    double rate, tokens;
    int64_t refilled_ns;
    int64_t running;
    size_t waiting;
    struct px_queue_entry *first, *last; /* waiting entries */
};

void px_queue_init(struct px_queue *queue, size_t length, int64_t principal_max)
{
    *queue = (struct px_queue){.length = length, .principal_max = principal_max};
}

void px_queue_done(struct px_queue *queue)
{
    for (size_t i = 0; i < queue->principal_count; i++) {
        free(queue->principals[i]->name);
        free(queue->principals[i]);
    }
    free(queue->principals);
    *queue = (struct px_queue){0};
}

/* ---- Principals ---- */

static bool has_name(const struct px_queue_principal *principal, const char *name)
{
    return name && principal->name ? strcmp(name, principal->name) == 0 : name == principal->name;
}

static struct px_queue_principal *new_principal(const char *name)
{
    struct px_queue_principal *principal = calloc(1, sizeof *principal);
    if (principal && name && !(principal->name = strdup(name))) {
        free(principal);
        return NULL;
    }
    return principal;
}

struct px_queue_principal *px_queue_principal(struct px_queue *queue, const char *name)
{
    for (size_t i = 0; i < queue->principal_count; i++)
        if (has_name(queue->principals[i], name))
            return queue->principals[i];
    struct px_queue_principal **principals =
        realloc(queue->principals, (queue->principal_count + 1) * sizeof(struct px_queue_principal *));
    if (!principals)
        return NULL;
    queue->principals = principals;
    struct px_queue_principal *principal = new_principal(name);
    if (principal)
        principals[queue->principal_count++] = principal;
    return principal;
}

void px_queue_limit(struct px_queue_principal *principal, int64_t max_concurrent, double rate)
{
    principal->max_concurrent = max_concurrent;
    principal->rate = rate;
}

double px_queue_rate(const struct px_queue_principal *principal)
{
    return principal->rate;
}

/* ---- Admission ---- */

/* A token bucket that holds the tokens of one second, but at least one token. Takes a token and returns 0, or returns
 * the milliseconds until the next token. */
static int over_rate(struct px_queue_principal *principal)
{
    double rate = principal->rate;
    if (!(rate > 0))
        return 0;
    double most = rate > 1 ? rate : 1;
    int64_t now = px_now_ns();
    if (!principal->refilled_ns)
        principal->tokens = most;
    else
        principal->tokens += (double)(now - principal->refilled_ns) / 1e9 * rate;
    principal->refilled_ns = now;
    if (principal->tokens > most)
        principal->tokens = most;
    if (principal->tokens >= 1) {
        principal->tokens -= 1;
        return 0;
    }
    return (int)((1 - principal->tokens) / rate * 1000) + 1;
}

enum px_queue_answer px_queue_admit(const struct px_queue *queue, struct px_queue_principal *principal,
                                    size_t free_turns, int *ret_wait_ms)
{
    /* One principal may fill half of the queue, so that there is always room for another. */
    size_t own_most = principal->name ? queue->length - queue->length / 2 : queue->length;
    bool full = queue->waiting >= queue->length || principal->waiting >= own_most;
    if (full && (principal->waiting || queue->waiting >= free_turns))
        return PX_QUEUE_FULL;
    *ret_wait_ms = over_rate(principal);
    return *ret_wait_ms ? PX_QUEUE_OVER_RATE : PX_QUEUE_ADMITTED;
}

/* ---- Order ---- */

void px_queue_add(struct px_queue *queue, struct px_queue_entry *entry)
{
    struct px_queue_principal *principal = entry->principal;
    entry->state = PX_QUEUE_WAITING;
    entry->next = NULL;
    *(principal->last ? &principal->last->next : &principal->first) = entry;
    principal->last = entry;
    principal->waiting++;
    queue->waiting++;
}

static bool session_is_busy(const struct px_queue *queue, const struct px_queue_entry *entry)
{
    for (const struct px_queue_entry *other = queue->running; entry->session && other; other = other->next)
        if (other->session && other->principal == entry->principal && strcmp(other->session, entry->session) == 0)
            return true;
    return false;
}

/* Returns the principal's first entry that may begin. A later call of a session never overtakes an earlier one: while
 * the session is busy, both must wait. */
static struct px_queue_entry *next_of(const struct px_queue *queue, const struct px_queue_principal *principal)
{
    int64_t most = principal->max_concurrent ? principal->max_concurrent : principal->name ? queue->principal_max : 0;
    struct px_queue_entry *entry = most && principal->running >= most ? NULL : principal->first;
    while (entry && session_is_busy(queue, entry))
        entry = entry->next;
    return entry;
}

struct px_queue_entry *px_queue_next(const struct px_queue *queue)
{
    for (size_t i = 0; queue->waiting && i < queue->principal_count; i++) {
        size_t at = (queue->next_principal + i) % queue->principal_count;
        struct px_queue_entry *entry = next_of(queue, queue->principals[at]);
        if (entry)
            return entry;
    }
    return NULL;
}

void px_queue_each(const struct px_queue *queue, void (*call)(struct px_queue_entry *entry))
{
    for (size_t i = 0; i < queue->principal_count; i++)
        for (struct px_queue_entry *entry = queue->principals[i]->first; entry; entry = entry->next)
            call(entry);
}

static void stop_waiting(struct px_queue *queue, struct px_queue_entry *entry)
{
    struct px_queue_principal *principal = entry->principal;
    struct px_queue_entry **at = &principal->first, *before = NULL;
    while (*at != entry) {
        before = *at;
        at = &before->next;
    }
    *at = entry->next;
    if (principal->last == entry)
        principal->last = before;
    principal->waiting--;
    queue->waiting--;
}

void px_queue_begin(struct px_queue *queue, struct px_queue_entry *entry)
{
    stop_waiting(queue, entry);
    for (size_t i = 0; i < queue->principal_count; i++)
        if (queue->principals[i] == entry->principal)
            queue->next_principal = i + 1;
    entry->state = PX_QUEUE_RUNNING;
    entry->principal->running++;
    entry->next = queue->running;
    queue->running = entry;
}

void px_queue_leave(struct px_queue *queue, struct px_queue_entry *entry)
{
    if (entry->state == PX_QUEUE_WAITING) {
        stop_waiting(queue, entry);
    } else if (entry->state == PX_QUEUE_RUNNING) {
        struct px_queue_entry **at = &queue->running;
        while (*at != entry)
            at = &(*at)->next;
        *at = entry->next;
        entry->principal->running--;
    }
    entry->state = PX_QUEUE_OUT;
}
