/* SPDX-License-Identifier: Apache-2.0 */
/* The server's threads for its requests. The library's queue (pyexec_queue_new) decides which request is next, and whether
 * another one is accepted. Runs use the queue of the executor, and other work a queue of its own.
 *
 *   submitted → waiting → on a worker thread, with a turn → its `run` returns
 *
 * Workers are threads that are made when needed, at most `workers`. There can be more threads than turns, because a run
 * that sleeps keeps its thread but needs no turn. Only one free worker waits for the next job; waiting jobs hold no worker.
 *
 * While nothing waits and a turn is free, a job can also begin on the thread that submits it: px_schedule_begin(). */
#ifndef PX_SERVE_SCHEDULE_H
#define PX_SERVE_SCHEDULE_H

#include <stdint.h>

#include "serve/principal.h"

struct px_schedule;

/* A piece of work. Its owner embeds it in a struct. */
struct px_job {
    struct px_principal *principal;
    const char *session; /* NULL: no session. Must stay valid as long as the job */
    void (*run)(struct px_job *job);
    int64_t submitted_ns;
    pyexec_turn *turn; /* set while it runs, in a schedule with an executor */
};

struct px_schedule_limits {
    size_t workers;            /* threads */
    size_t queue_length;       /* how many jobs may wait; with an executor, the executor's limit applies instead */
    size_t principal_jobs;     /* jobs of one principal at once, unless it has a max_concurrent; 0: no limit */
    pyexec_executor *executor; /* the jobs take turns of this executor, and the principals' max_concurrent and rate
                                  apply; NULL: jobs need no turn of an executor */
};
int px_schedule_new(const struct px_schedule_limits *limits, struct px_schedule **ret, pyexec_error *error);

/* Refuses new work, as px_schedule_close() does, and waits until all workers and all jobs have ended. */
void px_schedule_end(struct px_schedule *schedule);

/* Ends the schedule too. After this call nobody may submit a job, not even to be refused. */
void px_schedule_free(struct px_schedule *schedule);

/* Adds a job. Returns -1 with overloaded and retry_after_ms when the queue is full or the principal is over its rate; for
 * the rate, sys_errno is EAGAIN. */
int px_schedule_submit(struct px_schedule *schedule, struct px_job *job, pyexec_error *error);

/* A job that begins at once, on the thread that has submitted it. */
struct px_begun_job {
    struct px_schedule *schedule; /* NULL: there is none */
    struct px_job *job;
    pyexec_turn *turn;
};
/* Adds a job as px_schedule_submit() does, but if no other job waits and a turn is free, the job begins: the caller must
 * then call px_schedule_run() soon. */
int px_schedule_begin(struct px_schedule *schedule, struct px_job *job, struct px_begun_job *ret, pyexec_error *error);
/* Runs the job, which may be freed then. */
void px_schedule_run(const struct px_begun_job *begun);

/* Refuses new work from now on, with shutting_down. */
void px_schedule_close(struct px_schedule *schedule);

/* Call this when the limits of a principal have changed. It only has an effect in a schedule with an executor. */
int px_schedule_limit(struct px_schedule *schedule, const struct px_principal *principal, pyexec_error *error);

struct px_schedule_counts {
    size_t waiting, running;
    uint64_t refused_queue, refused_rate;
};
void px_schedule_count(struct px_schedule *schedule, struct px_schedule_counts *ret);

#endif
