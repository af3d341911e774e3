/* SPDX-License-Identifier: Apache-2.0 */
/* Who runs next. This is the one place for the order of calls in a session, for fairness between principals, and for
 * admission. It has rules alone: no threads, no locks and no turns, which its owner has (turns.h).
 *
 *               add                    begin
 *   PX_QUEUE_OUT ──▶ PX_QUEUE_WAITING ──────▶ PX_QUEUE_RUNNING
 *        ▲               leave │        leave     │
 *        └─────────────────────┴──────────────────┘
 *
 * Each principal has a queue of its own, and the principals take turns. An entry whose session has an entry that runs
 * waits for its end, and so the calls of a session begin in the order in which they were added. */
#ifndef PX_EXECUTOR_QUEUE_H
#define PX_EXECUTOR_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum px_queue_state { PX_QUEUE_OUT, PX_QUEUE_WAITING, PX_QUEUE_RUNNING };

struct px_queue_principal;

/* Something that waits for its turn; its owner embeds it. {0} is PX_QUEUE_OUT. */
struct px_queue_entry {
    struct px_queue_entry *next; /* of its principal's that wait, or of all that run */
    struct px_queue_principal *principal;
    const char *session; /* NULL: of no session; lives as long as the entry */
    enum px_queue_state state;
};

struct px_queue {
    size_t length; /* how many may wait */
    int64_t
        principal_max; /* how many of one principal may run at once, unless it has a limit of its own; 0: any number */
    size_t waiting;
    struct px_queue_principal **principals; /* those that have had entries, in their order */
    size_t principal_count, next_principal;
    struct px_queue_entry *running;
};

void px_queue_init(struct px_queue *queue, size_t length, int64_t principal_max);
void px_queue_done(struct px_queue *queue);

/* The principal of a name, made when it is new. NULL is for entries of nobody in particular, which have no limits.
 * Returns NULL when there is no memory. */
struct px_queue_principal *px_queue_principal(struct px_queue *queue, const char *name);

/* `max_concurrent` 0: that of the queue. `rate` is in entries per second; 0: any. */
void px_queue_limit(struct px_queue_principal *principal, int64_t max_concurrent, double rate);
double px_queue_rate(const struct px_queue_principal *principal);

/* Whether another entry may be added, when `free_turns` could begin at once. PX_QUEUE_OVER_RATE: *ret_wait_ms says how
 * long it takes until one may. */
enum px_queue_answer { PX_QUEUE_ADMITTED, PX_QUEUE_FULL, PX_QUEUE_OVER_RATE };
enum px_queue_answer px_queue_admit(const struct px_queue *queue, struct px_queue_principal *principal,
                                    size_t free_turns, int *ret_wait_ms);

void px_queue_add(struct px_queue *queue, struct px_queue_entry *entry);

/* The waiting entry whose turn it is, or NULL when none may begin. */
struct px_queue_entry *px_queue_next(const struct px_queue *queue);

/* It begins; it must be what px_queue_next() returns. */
void px_queue_begin(struct px_queue *queue, struct px_queue_entry *entry);

/* Calls it for each that waits. */
void px_queue_each(const struct px_queue *queue, void (*call)(struct px_queue_entry *entry));

/* It has ended, or waits no longer. Does nothing for one that is out. */
void px_queue_leave(struct px_queue *queue, struct px_queue_entry *entry);

#endif
