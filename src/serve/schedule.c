/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/schedule.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"

#define WORKER_STACK (2u << 20) /* parsing the deepest JSON that is accepted needs half of it at most */
#define WORKER_IDLE_NS (30 * INT64_C(1000000000)) /* a worker that has no job for this long ends */

struct px_schedule {
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    struct px_schedule_limits limits;
    pyexec_queue *queue;
    size_t workers, free_workers;
    size_t elsewhere;              /* jobs that run on threads of the caller */
    struct px_ended_threads ended; /* workers */
    bool takes_job;                /* a worker waits for the next job */
    struct px_schedule_counts counts;
    bool closed, ending;
};

/* ---- Workers ---- */

static int start_worker(struct px_schedule *schedule);

/* Another worker waits for the next job, while this one is busy with its own. */
static void hand_on(struct px_schedule *schedule)
{
    if (!schedule->counts.waiting)
        return;
    if (schedule->free_workers)
        pthread_cond_signal(&schedule->work);
    else if (schedule->workers < schedule->limits.workers)
        (void)!start_worker(schedule); /* if this fails, this worker takes the next job later */
}

/* Waits until the queue says which job is next. The job may be freed when it has run. */
static void run_next(struct px_schedule *schedule)
{
    void *next;
    schedule->takes_job = true;
    pthread_mutex_unlock(&schedule->lock);
    pyexec_turn *turn = pyexec_queue_next(schedule->queue, &next);
    pthread_mutex_lock(&schedule->lock);
    schedule->takes_job = false;
    schedule->counts.waiting--;
    schedule->counts.running++;
    hand_on(schedule);
    pthread_mutex_unlock(&schedule->lock);
    struct px_job *job = next;
    job->turn = schedule->limits.executor ? turn : NULL;
    job->run(job);
    pyexec_turn_free(turn);
    pthread_mutex_lock(&schedule->lock);
    schedule->counts.running--;
}

static void *work(void *argument)
{
    struct px_schedule *schedule = argument;
    pthread_mutex_lock(&schedule->lock);
    for (;;) {
        if (schedule->counts.waiting && !schedule->takes_job) {
            run_next(schedule);
            continue;
        }
        if (schedule->ending)
            break;
        schedule->free_workers++;
        int waited = px_cond_wait_until(&schedule->work, &schedule->lock, px_now_ns() + WORKER_IDLE_NS);
        schedule->free_workers--;
        if (waited && !schedule->counts.waiting)
            break;
    }
    schedule->workers--;
    struct px_ended_threads before = px_threads_leave(&schedule->ended);
    pthread_cond_broadcast(&schedule->idle);
    pthread_mutex_unlock(&schedule->lock);
    px_threads_join(before);
    return NULL;
}

/* 0, or -1: there is no thread for it. */
static int start_worker(struct px_schedule *schedule)
{
    pthread_t thread;
    if (px_thread_create_sized(&thread, WORKER_STACK, work, schedule))
        return -1;
    schedule->workers++;
    return 0;
}

/* ---- Its life ---- */

int px_schedule_new(const struct px_schedule_limits *limits, struct px_schedule **ret, pyexec_error *error)
{
    struct px_schedule *schedule = calloc(1, sizeof *schedule);
    if (!schedule)
        return px_error_oom(error);
    schedule->limits = *limits;
    pthread_mutex_init(&schedule->lock, NULL);
    px_cond_init(&schedule->work);
    px_cond_init(&schedule->idle);
    int status = limits->executor ? pyexec_queue_new(limits->executor, limits->principal_jobs, &schedule->queue, error)
                                  : pyexec_queue_new_plain(limits->workers, limits->queue_length,
                                                           limits->principal_jobs, &schedule->queue, error);
    if (status < 0) {
        px_schedule_free(schedule);
        return -1;
    }
    *ret = schedule;
    return 0;
}

void px_schedule_close(struct px_schedule *schedule)
{
    pthread_mutex_lock(&schedule->lock);
    schedule->closed = true;
    pthread_mutex_unlock(&schedule->lock);
}

void px_schedule_end(struct px_schedule *schedule)
{
    if (!schedule)
        return;
    pthread_mutex_lock(&schedule->lock);
    schedule->closed = schedule->ending = true;
    pthread_cond_broadcast(&schedule->work);
    while (schedule->workers || schedule->elsewhere)
        pthread_cond_wait(&schedule->idle, &schedule->lock);
    struct px_ended_threads ended = schedule->ended;
    schedule->ended.any = false;
    pthread_mutex_unlock(&schedule->lock);
    px_threads_join(ended);
}

void px_schedule_free(struct px_schedule *schedule)
{
    if (!schedule)
        return;
    px_schedule_end(schedule);
    pyexec_queue_free(schedule->queue);
    pthread_cond_destroy(&schedule->work);
    pthread_cond_destroy(&schedule->idle);
    pthread_mutex_destroy(&schedule->lock);
    free(schedule);
}

/* ---- Submitting ---- */

static int refuse(struct px_schedule *schedule, pyexec_error *error)
{
    if (error->code == PYEXEC_OVERLOADED && error->sys_errno == EAGAIN)
        schedule->counts.refused_rate++;
    else if (error->code == PYEXEC_OVERLOADED)
        schedule->counts.refused_queue++;
    return -1;
}

/* One worker that waits for the next job is enough: when it gets a job, it starts another worker. */
static int find_worker(struct px_schedule *schedule, pyexec_error *error)
{
    if (!schedule->takes_job && !schedule->free_workers && schedule->workers < schedule->limits.workers)
        (void)!start_worker(schedule);
    if (schedule->workers)
        return 0;
    px_error_set(error, PYEXEC_OVERLOADED, "there is no thread for the request");
    error->retry_after_ms = 1000;
    return px_error_hint(error, "Send it again later, or raise the host's limit of threads (ulimit -u, TasksMax=).");
}

static int limit(struct px_schedule *schedule, const struct px_principal *principal, pyexec_error *error)
{
    return schedule->limits.executor
               ? pyexec_queue_limit(schedule->queue, principal->name, principal->max_concurrent, principal->rate, error)
               : 0;
}

static int prepare(struct px_schedule *schedule, struct px_job *job, pyexec_error *error)
{
    if (schedule->closed)
        return px_error_set(error, PYEXEC_SHUTTING_DOWN, "the server is shutting down");
    job->submitted_ns = px_now_ns();
    return limit(schedule, job->principal, error);
}

/* The caller holds the lock: so the job is counted before a worker can take it. */
static int submit(struct px_schedule *schedule, struct px_job *job, pyexec_error *error)
{
    if (find_worker(schedule, error) < 0 ||
        pyexec_queue_add(schedule->queue, job->principal->name, job->session, job, error) < 0)
        return refuse(schedule, error);
    schedule->counts.waiting++;
    return 0;
}

int px_schedule_submit(struct px_schedule *schedule, struct px_job *job, pyexec_error *error)
{
    pthread_mutex_lock(&schedule->lock);
    int status = prepare(schedule, job, error) < 0 ? -1 : submit(schedule, job, error);
    pthread_mutex_unlock(&schedule->lock);
    /* Not before: the worker would wake only to wait for the lock. */
    if (status == 0)
        pthread_cond_signal(&schedule->work);
    return status;
}

/* With the lock held. *ret is the turn, or NULL: the job must wait. */
static int begin(struct px_schedule *schedule, struct px_job *job, pyexec_turn **ret, pyexec_error *error)
{
    if (prepare(schedule, job, error) < 0)
        return -1;
    if (!schedule->counts.waiting &&
        pyexec_queue_begin(schedule->queue, job->principal->name, job->session, job, ret, error) < 0)
        return refuse(schedule, error);
    if (!*ret)
        return submit(schedule, job, error);
    job->turn = schedule->limits.executor ? *ret : NULL;
    schedule->counts.running++;
    schedule->elsewhere++;
    return 0;
}

int px_schedule_begin(struct px_schedule *schedule, struct px_job *job, struct px_begun_job *ret, pyexec_error *error)
{
    pyexec_turn *turn = NULL;
    pthread_mutex_lock(&schedule->lock);
    int status = begin(schedule, job, &turn, error);
    pthread_mutex_unlock(&schedule->lock);
    if (turn)
        *ret = (struct px_begun_job){schedule, job, turn};
    else if (status == 0)
        pthread_cond_signal(&schedule->work);
    return status;
}

void px_schedule_run(const struct px_begun_job *begun)
{
    struct px_schedule *schedule = begun->schedule;
    begun->job->run(begun->job);
    pyexec_turn_free(begun->turn);
    pthread_mutex_lock(&schedule->lock);
    schedule->counts.running--;
    schedule->elsewhere--;
    pthread_cond_broadcast(&schedule->idle);
    pthread_mutex_unlock(&schedule->lock);
}

int px_schedule_limit(struct px_schedule *schedule, const struct px_principal *principal, pyexec_error *error)
{
    return limit(schedule, principal, error);
}

void px_schedule_count(struct px_schedule *schedule, struct px_schedule_counts *ret)
{
    pthread_mutex_lock(&schedule->lock);
    *ret = schedule->counts;
    pthread_mutex_unlock(&schedule->lock);
}
