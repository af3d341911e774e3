/* SPDX-License-Identifier: Apache-2.0 */
/* Decides who runs next. Only this module has the rules for the order of calls in a session, for fairness between
 * principals, and for admission. It has no threads, no locks and no turns: its owner has them (turns.h).
 *
 *               add                    begin
 *   PX_QUEUE_OUT ──▶ PX_QUEUE_WAITING ──────▶ PX_QUEUE_RUNNING
 *        ▲               leave │        leave     │
 *        └─────────────────────┴──────────────────┘
 *
 * Each principal has a queue of its own, and the principals take turns. While an entry of a session runs, the other
 * entries of this session wait. So the calls of a session begin in the order in which they were added. */
#ifndef PX_EXECUTOR_QUEUE_H
#define PX_EXECUTOR_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum px_queue_state { PX_QUEUE_OUT, PX_QUEUE_WAITING, PX_QUEUE_RUNNING };

struct px_queue_principal;

/* Something that waits for its turn. Its owner embeds it in a struct. {0} is PX_QUEUE_OUT. */
struct px_queue_entry {
    struct px_queue_entry *next; /* in the list of its principal's waiting entries, or of all running entries */
    struct px_queue_principal *principal;
    const char *session; /* NULL: no session. Must stay valid as long as the entry */
    enum px_queue_state state;
};

struct px_queue {
    size_t length;         /* how many entries may wait */
    int64_t principal_max; /* how many entries of one principal may run at once, if the principal has no limit of its
                              own; 0: no limit */
    size_t waiting;
    struct px_queue_principal **principals; /* in the order in which they were made */
    size_t principal_count, next_principal;
    struct px_queue_entry *running;
};

void px_queue_init(struct px_queue *queue, size_t length, int64_t principal_max);
void px_queue_done(struct px_queue *queue);

/* Returns the principal with this name, and makes it if there is none. The name NULL stands for entries without a
 * principal, which have no limits. Returns NULL when there is no memory. */
struct px_queue_principal *px_queue_principal(struct px_queue *queue, const char *name);

/* `max_concurrent` 0: the queue's principal_max applies. `rate` is in entries per second; 0: no limit. */
void px_queue_limit(struct px_queue_principal *principal, int64_t max_concurrent, double rate);
double px_queue_rate(const struct px_queue_principal *principal);

/* Decides whether another entry may be added, if `free_turns` entries could begin at once. With PX_QUEUE_OVER_RATE,
 * *ret_wait_ms is the time until the next entry may be added. */
enum px_queue_answer { PX_QUEUE_ADMITTED, PX_QUEUE_FULL, PX_QUEUE_OVER_RATE };
enum px_queue_answer px_queue_admit(const struct px_queue *queue, struct px_queue_principal *principal,
                                    size_t free_turns, int *ret_wait_ms);

void px_queue_add(struct px_queue *queue, struct px_queue_entry *entry);

/* Returns the waiting entry that is next, or NULL when none may begin. */
struct px_queue_entry *px_queue_next(const struct px_queue *queue);

/* Marks the entry as running. It must be the one that px_queue_next() returns. */
void px_queue_begin(struct px_queue *queue, struct px_queue_entry *entry);

/* Calls `call` for each waiting entry. */
void px_queue_each(const struct px_queue *queue, void (*call)(struct px_queue_entry *entry));

/* Takes the entry out: it has ended, or it no longer waits. Does nothing for an entry that is PX_QUEUE_OUT. */
void px_queue_leave(struct px_queue *queue, struct px_queue_entry *entry);

#endif
