/* SPDX-License-Identifier: Apache-2.0 */
/* Decides which request runs next. Requests wait in the queue of their principal, the principals take turns, and
 * the calls of one session run one after another in order of arrival, without occupying a worker while they wait.
 *
 *   submitted → waiting → on a worker thread, with a turn → its `run` returns
 *
 * Workers are threads. They are made when they are needed, at most `workers`. Threads and turns are counted
 * separately: in a schedule with an executor each job takes one of the executor's turns, and a run that sleeps
 * keeps its thread but needs no turn. One free worker at a time waits for a turn, and it chooses the job when it
 * has the turn. */
#ifndef PX_SERVE_SCHEDULE_H
#define PX_SERVE_SCHEDULE_H

#include <stdint.h>

#include "serve/principal.h"

struct px_schedule;

/* A piece of work. Its owner embeds this struct. */
struct px_job {
    struct px_job *next;
    struct px_principal *principal;
    const char *session; /* NULL: no session. Must stay valid as long as the job */
    void (*run)(struct px_job *job);
    int64_t submitted_ns;
    pyexec_turn *turn; /* set while it runs, in a schedule with an executor */
};

struct px_schedule_limits {
    size_t workers;            /* threads */
    size_t queue_length;       /* jobs that wait at most */
    size_t principal_jobs;     /* jobs of one principal at once, unless it has a max_concurrent; 0: no limit */
    pyexec_executor *executor; /* the jobs take its turns, and the principals' max_concurrent and rate apply;
                                  NULL: jobs need no turn */
};
int px_schedule_new(const struct px_schedule_limits *limits, struct px_schedule **ret, pyexec_error *error);

/* Refuses new work, as px_schedule_close() does, and waits until all jobs have ended. */
void px_schedule_end(struct px_schedule *schedule);

/* Also ends the schedule, and frees it. After this nobody may submit, not even to be refused. */
void px_schedule_free(struct px_schedule *schedule);

/* Returns 0, or -1 with `error`: overloaded with retry_after_ms when the queue is full; also with sys_errno EAGAIN
 * when the principal is over its rate. */
int px_schedule_submit(struct px_schedule *schedule, struct px_job *job, pyexec_error *error);

/* Refuses new work from now on, with shutting_down. */
void px_schedule_close(struct px_schedule *schedule);

struct px_schedule_counts {
    size_t waiting, running;
    uint64_t refused_queue, refused_rate;
};
void px_schedule_count(struct px_schedule *schedule, struct px_schedule_counts *ret);

#endif
