/* SPDX-License-Identifier: Apache-2.0 */
/* Turns: `max_concurrent` runs may use the CPUs at once. A run whose process waits (activity.h) needs no turn: it
 * gives its turn to the next run. So up to `max_asleep` runs can be in progress besides those with a turn.
 *
 *              take                    waits
 *   PX_TURN_OUT ────▶ PX_TURN_BUSY ─────────▶ PX_TURN_ASLEEP
 *        ▲    give back  │   ▲  uses CPU time      │
 *        └───────────────┴───┼─────────────────────┤
 *                            └─────────────────────┘
 *
 * A run that wakes is busy at once, because nothing can stop it. So more than max_concurrent runs may be busy for a
 * while. No other run starts until fewer than max_concurrent are busy.
 *
 * The queue (queue.h) decides who gets the next turn. Two kinds of entries wait in it. A thread waits for its own turn
 * (px_turns_take). A server's job waits without a thread: a thread of the server takes the next job together with its
 * turn (px_turns_next). The thread that is next in the queue measures the running processes, so nothing is measured
 * while nobody waits. */
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
    struct px_turns *turns;          /* where it was taken, and where it is given back */
    struct px_turn *next, *previous; /* in the list of turns in progress */
    struct px_activity activity;     /* measures its process while its script runs */
    bool has_woken;                  /* it was asleep before */
};

struct px_turn_waiter {
    struct px_queue_entry entry; /* must be the first member: a pointer to it is cast to the waiter */
    pthread_cond_t *changed;     /* the thread that takes the turn waits for this */
};

struct px_turn_job {
    struct px_turn_waiter waiter; /* must be the first member, for the same reason */
    struct px_turn turn;
    int64_t added_ns; /* when it was added to the queue; 0: an execution has already counted this wait */
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
/* Call this before the first turn is taken. max_concurrent of `host` must have its final value. `policy` is the policy
 * that most runs have. */
void px_turns_configure(struct px_turns *turns, const struct px_host *host, const struct px_policy *policy);
void px_turns_done(struct px_turns *turns);

/* For work that is not a run: `count` turns at once, which are never asleep. */
void px_turns_configure_plain(struct px_turns *turns, size_t count, size_t queue_length);

/* Waits for a turn. Threads that wait get their turns in order of arrival. Returns -1 with overloaded when queue_length
 * others are waiting (with `patient` it still waits), or with shutting_down. */
int px_turns_take(struct px_turns *turns, struct px_turn *turn, bool patient, pyexec_error *error);

/* Takes the turn if one is free and nobody waits for it. Returns false if not. */
bool px_turns_try(struct px_turns *turns, struct px_turn *turn);

/* True if the turn is taken. Other threads can change its state when they measure, so this takes the lock. */
bool px_turn_is_held(struct px_turn *turn);

/* Does nothing if the turn is not taken. */
void px_turn_give_back(struct px_turn *turn);

/* Says that the script now runs in this child, whose CPU time was `cpu_ns`. NULL: the script has ended, and the
 * host does the rest of the run. For px_run_context.watch. */
void px_turn_watch(void *turn, const struct px_child *child, int64_t cpu_ns);

/* Adds a job to the queue of a principal. The caller has set the session of the job. Returns -1 with overloaded and
 * retry_after_ms when the queue is full or the principal is over its rate; for the rate, sys_errno is EAGAIN. */
int px_turns_add(struct px_turns *turns, struct px_turn_job *job, const char *principal, pyexec_error *error);
/* The same for a job that can begin at once, and then it has its turn: *ret_begun. Otherwise nothing was added. */
int px_turns_begin(struct px_turns *turns, struct px_turn_job *job, const char *principal, bool *ret_begun,
                   pyexec_error *error);
/* Sets how many jobs of one principal may run at once, if the principal has no limit of its own; 0: no limit. */
void px_turns_limit_principals(struct px_turns *turns, int64_t most);
/* Waits until a job has its turn, and returns this job. After px_turns_close() it returns the waiting jobs without a
 * turn, and their executions fail. Call it only while there are jobs: without one it waits until one is added. */
struct px_turn_job *px_turns_next(struct px_turns *turns);
/* The job has ended: gives its turn back, so that the next job of its session and of its principal may begin. A second
 * call does nothing. */
void px_turn_job_end(struct px_turns *turns, struct px_turn_job *job);
/* Sets the limits of a principal's jobs (px_queue_limit). Returns -1 when there is no memory. */
int px_turns_limit(struct px_turns *turns, const char *principal, int64_t max_concurrent, double rate,
                   pyexec_error *error);

/* Returns how many turns could be taken now without waiting. */
size_t px_turns_free(struct px_turns *turns);

struct px_turn_counts {
    size_t busy, asleep, queued;
};
void px_turns_count(struct px_turns *turns, struct px_turn_counts *ret);

/* From now on nobody gets a turn. */
void px_turns_close(struct px_turns *turns);

/* Call this after px_turns_close(). It waits for at most 100 ms, and returns true when no run is in progress and nobody
 * waits. */
bool px_turns_await_end(struct px_turns *turns);

#endif
