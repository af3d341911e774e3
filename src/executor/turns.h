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
 * and no other starts until they are fewer.
 *
 * Who gets the next turn is said by the queue (queue.h). Two kinds wait in it: threads, each for its own turn
 * (px_turns_take), and jobs of a server, of which a thread of the server's takes the next one with its turn
 * (px_turns_next). The thread whose turn is next measures the others, so that nothing is measured while nobody
 * waits. */
#ifndef PX_EXECUTOR_TURNS_H
#define PX_EXECUTOR_TURNS_H

#include <pthread.h>

#include "executor/queue.h"
#include "policy/config.h"
#include "policy/policy.h"
#include "runner/activity.h"

enum px_turn_state { PX_TURN_OUT, PX_TURN_BUSY, PX_TURN_ASLEEP };

/* The turn of one run. {0} is PX_TURN_OUT. */
struct px_turn {
    enum px_turn_state state;
    struct px_turns *turns;          /* where it was taken */
    struct px_turn *next, *previous; /* of those in progress */
    struct px_activity activity;     /* measures its process while its script runs */
    bool has_woken;
};

struct px_turn_waiter {
    struct px_queue_entry entry; /* first */
    pthread_cond_t *changed;     /* of the thread that takes its turn */
};

struct px_turn_job {
    struct px_turn_waiter waiter; /* first */
    struct px_turn turn;
};

struct px_turns {
    pthread_mutex_t lock;
    pthread_cond_t left; /* for px_turns_await_end() */
    pthread_cond_t jobs; /* for px_turns_next() */
    size_t busy_max, asleep_max;
    uint64_t run_bytes; /* the most that a run may use: address space and workspace */
    size_t busy, asleep;
    struct px_turn *first;
    struct px_queue queue;
    int64_t measured_ns;
    bool has_memory; /* at the last measurement */
    bool closed;
};

void px_turns_init(struct px_turns *turns);
/* Call it before the first turn is taken. `host` has its final max_concurrent; `policy` is the one that most
 * runs have. */
void px_turns_configure(struct px_turns *turns, const struct px_host *host, const struct px_policy *policy);
void px_turns_done(struct px_turns *turns);

/* For turns of other work than runs: `count` at once, which are never asleep. */
void px_turns_configure_plain(struct px_turns *turns, size_t count, size_t queue_length);

/* Waits for a turn; those who wait get theirs in order of arrival. Returns -1 with overloaded when queue_length
 * are waiting (unless `patient`), or with shutting_down. */
int px_turns_take(struct px_turns *turns, struct px_turn *turn, bool patient, pyexec_error *error);

/* True if it is taken. Other threads measure it, so the state is read with the lock held. */
bool px_turn_is_held(struct px_turn *turn);

/* Does nothing for one that is not taken. */
void px_turn_give_back(struct px_turn *turn);

/* Says that the script now runs in this child, whose CPU time was `cpu_ns`. NULL: the script has ended, and the
 * host does the rest of the run. For px_run_context.watch. */
void px_turn_watch(void *turn, const struct px_child *child, int64_t cpu_ns);

/* Adds a job, whose session is set, to the queue of a principal. Returns -1 with overloaded and retry_after_ms when the
 * queue is full, and with sys_errno EAGAIN too when the principal is over its rate. */
int px_turns_add(struct px_turns *turns, struct px_turn_job *job, const char *principal, pyexec_error *error);
/* How many jobs of a principal without a limit of its own may run at once; 0: any number. */
void px_turns_limit_principals(struct px_turns *turns, int64_t most);
/* Waits until a job has its turn, and returns this job. After px_turns_close() they have none, and their executions
 * fail. Wait only while there are jobs. */
struct px_turn_job *px_turns_next(struct px_turns *turns);
/* The job has ended: gives its turn back, and the next of its session and of its principal may begin. Does nothing a
 * second time. */
void px_turn_job_end(struct px_turns *turns, struct px_turn_job *job);
/* The limits of a principal's jobs (px_queue_limit). Returns -1 when there is no memory. */
int px_turns_limit(struct px_turns *turns, const char *principal, int64_t max_concurrent, double rate,
                   pyexec_error *error);

/* How many turns could be taken now without waiting. */
size_t px_turns_free(struct px_turns *turns);

struct px_turn_counts {
    size_t busy, asleep, queued;
};
void px_turns_count(struct px_turns *turns, struct px_turn_counts *ret);

/* From now on nobody gets a turn. */
void px_turns_close(struct px_turns *turns);

/* Call it after px_turns_close(): waits for some time. True when no run is in progress and nobody waits. */
bool px_turns_await_end(struct px_turns *turns);

#endif
