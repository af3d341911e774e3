/* SPDX-License-Identifier: Apache-2.0 */
/* Turns: `max_concurrent` runs may use the CPUs at once. A run whose process waits (activity.h) needs none: it
 * gives its turn to the next, and up to `max_asleep` runs are in progress beside those with a turn.
 *
 *              take                    waits
 *   PX_TURN_OUT ────▶ PX_TURN_BUSY ─────────▶ PX_TURN_ASLEEP
 *        ▲    give back  │   ▲  uses CPU time      │
 *        └───────────────┴───┼─────────────────────┤
 *                            └─────────────────────┘
 *
 * A run that wakes is busy at once, since it can't be stopped: more than max_concurrent may be busy for a while,
 * and no other starts until they are fewer. Whoever waits first for a turn measures the others, so that nothing
 * is measured while nobody waits. */
#ifndef PX_EXECUTOR_TURNS_H
#define PX_EXECUTOR_TURNS_H

#include <pthread.h>

#include "policy/config.h"
#include "policy/policy.h"
#include "runner/activity.h"

enum px_turn_state { PX_TURN_OUT, PX_TURN_BUSY, PX_TURN_ASLEEP };

/* Of one run; {0} is PX_TURN_OUT. */
struct px_turn {
    enum px_turn_state state;
    struct px_turns *turns;          /* where it was taken */
    struct px_turn *next, *previous; /* of those in progress */
    struct px_activity activity;     /* of its process, while its script runs */
    bool has_woken;
};

struct px_turn_waiter;

struct px_turns {
    pthread_mutex_t lock;
    pthread_cond_t left; /* for px_turns_await_end() */
    size_t busy_max, asleep_max, queue_max;
    uint64_t run_bytes; /* that a run may come to: address space and workspace */
    size_t busy, asleep, queued;
    struct px_turn *first;
    struct px_turn_waiter *first_waiter, *last_waiter; /* first come, first served */
    int64_t measured_ns;
    bool has_memory; /* at the last measurement */
    bool closed;
};

void px_turns_init(struct px_turns *turns);
/* Before the first turn is taken. `host` with its max_concurrent decided; the policy that most runs have. */
void px_turns_configure(struct px_turns *turns, const struct px_host *host, const struct px_policy *policy);
void px_turns_done(struct px_turns *turns);

/* Waits for a turn, in order of arrival. -1: overloaded when queue_length are waiting, unless `patient`;
 * shutting_down. */
int px_turns_take(struct px_turns *turns, struct px_turn *turn, bool patient, pyexec_error *error);

/* Whether it is taken. Other threads measure it, so that its state is read with the lock. */
bool px_turn_is_held(struct px_turn *turn);

/* Nothing for one that is out. */
void px_turn_give_back(struct px_turn *turn);

/* The script runs in this child from now on, whose CPU time was `cpu_ns` then; NULL: it has ended, and the host
 * does the rest of the run. For px_run_context.watch. */
void px_turn_watch(void *turn, const struct px_child *child, int64_t cpu_ns);

/* How many more could be taken now without waiting. */
size_t px_turns_free(struct px_turns *turns);

struct px_turn_counts {
    size_t busy, asleep, queued;
};
void px_turns_count(struct px_turns *turns, struct px_turn_counts *ret);

/* No turn is given any more. */
void px_turns_close(struct px_turns *turns);

/* After px_turns_close(): waits a while. True when no run is in progress and nobody waits. */
bool px_turns_await_end(struct px_turns *turns);

#endif
