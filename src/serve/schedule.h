/* SPDX-License-Identifier: Apache-2.0 */
/* The server's threads for its requests. Which request is next, and whether another is taken, is said by the library's
 * queue (pyexec_queue_new): of the executor for runs, and one without turns for other work.
 *
 *   submitted → waiting → on a worker thread, with a turn → its `run` returns
 *
 * Workers are threads made when needed, at most `workers`. Threads and turns are two numbers: a run that sleeps keeps
 * its thread but needs no turn. One free worker at a time waits for the next job; waiting jobs hold no worker. */
#ifndef PX_SERVE_SCHEDULE_H
#define PX_SERVE_SCHEDULE_H

#include <stdint.h>

#include "serve/principal.h"

struct px_schedule;

/* A piece of work; its owner embeds it. */
struct px_job {
    struct px_principal *principal;
    const char *session; /* NULL: no session. Must stay valid as long as the job */
    void (*run)(struct px_job *job);
    int64_t submitted_ns;
    pyexec_turn *turn; /* set while it runs, in a schedule with an executor */
};

struct px_schedule_limits {
    size_t workers;            /* threads */
    size_t queue_length;       /* jobs that wait at most; with an executor its own applies */
    size_t principal_jobs;     /* jobs of one principal at once, unless it has a max_concurrent; 0: no limit */
    pyexec_executor *executor; /* whose turns the jobs take, limited by the principals' max_concurrent and rate
                                  too; NULL: they need none */
};
int px_schedule_new(const struct px_schedule_limits *limits, struct px_schedule **ret, pyexec_error *error);

/* Refuses new work, as px_schedule_close() does, and waits for what is under way. */
void px_schedule_end(struct px_schedule *schedule);

/* Ends it too. Nobody may submit to it any more, not even to be refused. */
void px_schedule_free(struct px_schedule *schedule);

/* overloaded with retry_after_ms when the queue is full, and with sys_errno EAGAIN too when the
 * principal is over its rate. */
int px_schedule_submit(struct px_schedule *schedule, struct px_job *job, pyexec_error *error);

/* No new work from now on: shutting_down. */
void px_schedule_close(struct px_schedule *schedule);

/* The principal's limits have changed, in a schedule of an executor. */
int px_schedule_limit(struct px_schedule *schedule, const struct px_principal *principal, pyexec_error *error);

struct px_schedule_counts {
    size_t waiting, running;
    uint64_t refused_queue, refused_rate;
};
void px_schedule_count(struct px_schedule *schedule, struct px_schedule_counts *ret);

#endif
