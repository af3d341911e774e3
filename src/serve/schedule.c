/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/schedule.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define SESSION_MAX 256                           /* longer than any accepted id */
#define WORKER_STACK (2u << 20)                   /* the deepest JSON that is accepted needs a quarter of it, twice */
#define WORKER_IDLE_NS (30 * INT64_C(1000000000)) /* a worker that has no job for this long ends */

/* The jobs of one principal in one schedule. */
struct principal_queue {
    struct px_principal *principal;
    int64_t running, queued;
    struct px_job *first, *last; /* waiting jobs */
    double tokens;               /* tokens of the bucket for `rate` */
    int64_t refilled_ns;
};

struct px_schedule {
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    struct px_schedule_limits limits;
    size_t workers, free_workers;
    bool takes_turn;                 /* a worker waits for the executor's next turn */
    struct principal_queue **queues; /* of all principals that have had jobs, in order of their first job */
    size_t queue_count, next_queue;
    struct px_job *running; /* list, linked by `next` */
    struct px_schedule_counts counts;
    bool closed, ending;
};

/* ---- Choosing a job; the caller holds the lock ---- */

static bool session_is_busy(const struct px_schedule *schedule, const struct px_job *job)
{
    for (const struct px_job *other = schedule->running; job->session && other; other = other->next)
        if (other->session && other->principal == job->principal && strcmp(other->session, job->session) == 0)
            return true;
    return false;
}

/* Returns how many jobs the principal may have at once, including those that sleep; 0: no limit. */
static int64_t most_at_once(const struct px_schedule *schedule, const struct principal_queue *queue)
{
    int64_t own = schedule->limits.executor ? (int64_t)queue->principal->max_concurrent : 0;
    return own ? own : (int64_t)schedule->limits.principal_jobs;
}

/* Finds the principal's first job that can run, and the job before it. It never finds a later call of a session
 * before an earlier one: the reason that makes the earlier one wait applies to the later one too. */
static struct px_job *find_in(const struct px_schedule *schedule, const struct principal_queue *queue,
                              struct px_job **ret_before)
{
    int64_t most = most_at_once(schedule, queue);
    if (most && queue->running >= most)
        return NULL;
    struct px_job *job = queue->first;
    *ret_before = NULL;
    while (job && session_is_busy(schedule, job)) {
        *ret_before = job;
        job = job->next;
    }
    return job;
}

/* Finds the job whose turn is next, and its place. Returns NULL when none can run. */
static struct px_job *find(const struct px_schedule *schedule, size_t *ret_queue, struct px_job **ret_before)
{
    for (size_t i = 0; i < schedule->queue_count; i++) {
        *ret_queue = (schedule->next_queue + i) % schedule->queue_count;
        struct px_job *job = find_in(schedule, schedule->queues[*ret_queue], ret_before);
        if (job)
            return job;
    }
    return NULL;
}

static bool is_any_ready(const struct px_schedule *schedule)
{
    size_t at;
    struct px_job *before;
    return find(schedule, &at, &before) != NULL;
}

static struct px_job *take(struct px_schedule *schedule, struct principal_queue **ret_queue)
{
    size_t at;
    struct px_job *before, *job = find(schedule, &at, &before);
    if (!job)
        return NULL;
    struct principal_queue *queue = schedule->queues[at];
    *(before ? &before->next : &queue->first) = job->next;
    if (queue->last == job)
        queue->last = before;
    queue->queued--;
    queue->running++;
    schedule->next_queue = at + 1;
    schedule->counts.waiting--;
    *ret_queue = queue;
    return job;
}

/* run() may free the job, so the list of running jobs gets a copy of its session and principal, on the stack. */
static void run_one(struct px_schedule *schedule, struct px_job *job, struct principal_queue *queue)
{
    char session[SESSION_MAX];
    struct px_job stand_in = {.next = schedule->running, .principal = job->principal};
    if (job->session) {
        snprintf(session, sizeof session, "%s", job->session);
        stand_in.session = session;
    }
    schedule->running = &stand_in;
    schedule->counts.running++;
    pthread_mutex_unlock(&schedule->lock);
    job->run(job);
    pthread_mutex_lock(&schedule->lock);
    struct px_job **at = &schedule->running;
    while (*at != &stand_in)
        at = &(*at)->next;
    *at = stand_in.next;
    queue->running--;
    schedule->counts.running--;
    /* Another job may have waited for this one. */
    if (schedule->counts.waiting)
        pthread_cond_broadcast(&schedule->work);
}

/* ---- Workers ---- */

static int start_worker(struct px_schedule *schedule);

/* Lets another worker continue with the waiting jobs while this one runs a job. */
static void hand_on(struct px_schedule *schedule)
{
    if (!is_any_ready(schedule))
        return;
    if (schedule->free_workers)
        pthread_cond_signal(&schedule->work);
    else if (schedule->workers < schedule->limits.workers)
        (void)!start_worker(schedule); /* when it fails, this worker continues later */
}

/* Waits for a turn, then chooses a job. If it gets no turn, the job runs all the same, and its execution reports
 * the reason. */
static bool run_with_turn(struct px_schedule *schedule)
{
    pyexec_error ignored;
    pyexec_turn *turn = NULL;
    schedule->takes_turn = true;
    pthread_mutex_unlock(&schedule->lock);
    (void)!pyexec_turn_take(schedule->limits.executor, &turn, &ignored);
    pthread_mutex_lock(&schedule->lock);
    schedule->takes_turn = false;
    struct principal_queue *queue = NULL;
    struct px_job *job = take(schedule, &queue);
    hand_on(schedule);
    if (job) {
        job->turn = turn;
        run_one(schedule, job, queue);
    }
    pyexec_turn_free(turn);
    return job != NULL;
}

static bool run_next(struct px_schedule *schedule)
{
    if (schedule->limits.executor)
        return !schedule->takes_turn && is_any_ready(schedule) && run_with_turn(schedule);
    struct principal_queue *queue = NULL;
    struct px_job *job = take(schedule, &queue);
    if (job)
        run_one(schedule, job, queue);
    return job != NULL;
}

static void *work(void *argument)
{
    struct px_schedule *schedule = argument;
    pthread_mutex_lock(&schedule->lock);
    for (;;) {
        if (run_next(schedule))
            continue;
        if (schedule->ending)
            break;
        schedule->free_workers++;
        int waited = px_cond_wait_until(&schedule->work, &schedule->lock, px_now_ns() + WORKER_IDLE_NS);
        schedule->free_workers--;
        if (waited && !schedule->counts.waiting)
            break;
    }
    schedule->workers--;
    pthread_cond_broadcast(&schedule->idle);
    pthread_mutex_unlock(&schedule->lock);
    return NULL;
}

/* Returns 0, or -1 when no thread can be made. */
static int start_worker(struct px_schedule *schedule)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, WORKER_STACK);
    int failed = pthread_create(&thread, &attributes, work, schedule);
    if (!failed)
        schedule->workers++;
    pthread_attr_destroy(&attributes);
    return failed ? -1 : 0;
}

int px_schedule_new(const struct px_schedule_limits *limits, struct px_schedule **ret, pyexec_error *error)
{
    struct px_schedule *schedule = calloc(1, sizeof *schedule);
    if (!schedule)
        return px_error_oom(error);
    schedule->limits = *limits;
    pthread_mutex_init(&schedule->lock, NULL);
    px_cond_init(&schedule->work);
    px_cond_init(&schedule->idle);
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
    while (schedule->workers)
        pthread_cond_wait(&schedule->idle, &schedule->lock);
    pthread_mutex_unlock(&schedule->lock);
}

void px_schedule_free(struct px_schedule *schedule)
{
    if (!schedule)
        return;
    px_schedule_end(schedule);
    pthread_cond_destroy(&schedule->work);
    pthread_cond_destroy(&schedule->idle);
    pthread_mutex_destroy(&schedule->lock);
    for (size_t i = 0; i < schedule->queue_count; i++)
        free(schedule->queues[i]);
    free(schedule->queues);
    free(schedule);
}

/* ---- Submitting ---- */

/* Returns NULL when there is no memory. */
static struct principal_queue *queue_of(struct px_schedule *schedule, struct px_principal *principal)
{
    for (size_t i = 0; i < schedule->queue_count; i++)
        if (schedule->queues[i]->principal == principal)
            return schedule->queues[i];
    struct principal_queue **queues =
        realloc(schedule->queues, (schedule->queue_count + 1) * sizeof(struct principal_queue *));
    if (!queues)
        return NULL;
    schedule->queues = queues;
    struct principal_queue *queue = calloc(1, sizeof *queue);
    if (queue) {
        queue->principal = principal;
        queues[schedule->queue_count++] = queue;
    }
    return queue;
}

/* Takes a token from the bucket, which holds the tokens of one second, at least one. Returns 0, or the
 * milliseconds until the next token. */
static int over_rate(struct principal_queue *queue)
{
    double rate = queue->principal->rate;
    if (!(rate > 0))
        return 0;
    double most = rate > 1 ? rate : 1;
    int64_t now = px_now_ns();
    if (!queue->refilled_ns)
        queue->tokens = most;
    else
        queue->tokens += (double)(now - queue->refilled_ns) / 1e9 * rate;
    queue->refilled_ns = now;
    if (queue->tokens > most)
        queue->tokens = most;
    if (queue->tokens >= 1) {
        queue->tokens -= 1;
        return 0;
    }
    return (int)((1 - queue->tokens) / rate * 1000) + 1;
}

static int refuse_full(struct px_schedule *schedule, pyexec_error *error)
{
    schedule->counts.refused_queue++;
    px_error_set(error, PYEXEC_OVERLOADED, "%zu requests are waiting", schedule->counts.waiting);
    px_error_hint(error, "Send it again later, or raise [host] max_concurrent or queue_length.");
    error->retry_after_ms = 1000;
    return -1;
}

static int refuse_rate(struct px_schedule *schedule, double rate, int wait_ms, pyexec_error *error)
{
    schedule->counts.refused_rate++;
    px_error_set(error, PYEXEC_OVERLOADED, "more than %g runs per second", rate);
    px_error_hint(error, "Wait %d ms, or have the principal's rate raised.", wait_ms);
    error->retry_after_ms = wait_ms;
    error->sys_errno = EAGAIN;
    return -1;
}

/* Returns how many jobs could start now. */
static size_t count_free(const struct px_schedule *schedule)
{
    size_t threads = schedule->limits.workers - schedule->counts.running;
    size_t turns = schedule->limits.executor ? (size_t)pyexec_executor_free_turns(schedule->limits.executor) : threads;
    return turns < threads ? turns : threads;
}

static int admit(struct px_schedule *schedule, struct principal_queue *queue, pyexec_error *error)
{
    if (schedule->closed)
        return px_error_set(error, PYEXEC_SHUTTING_DOWN, "the server is shutting down");
    /* One principal may fill half of the queue, so that there is always room for the others. */
    size_t own_most = schedule->limits.queue_length - schedule->limits.queue_length / 2;
    bool full = schedule->counts.waiting >= schedule->limits.queue_length || (size_t)queue->queued >= own_most;
    if (full && (queue->queued || schedule->counts.waiting >= count_free(schedule)))
        return refuse_full(schedule, error);
    int wait_ms = schedule->limits.executor ? over_rate(queue) : 0;
    return wait_ms ? refuse_rate(schedule, queue->principal->rate, wait_ms, error) : 0;
}

/* The caller holds the lock, and the job has been admitted. Returns -1 when there is no thread to run it. */
static int enqueue(struct px_schedule *schedule, struct principal_queue *queue, struct px_job *job)
{
    /* With turns, one worker waits for the next turn, and a worker that gets a job wakes another one. More workers
     * would only wait. */
    bool served = schedule->limits.executor ? schedule->takes_turn || schedule->free_workers
                                            : schedule->counts.waiting < schedule->free_workers;
    if (!served && schedule->workers < schedule->limits.workers)
        (void)!start_worker(schedule);
    if (!schedule->workers)
        return -1;
    job->next = NULL;
    job->submitted_ns = px_now_ns();
    *(queue->last ? &queue->last->next : &queue->first) = job;
    queue->last = job;
    queue->queued++;
    schedule->counts.waiting++;
    return 0;
}

int px_schedule_submit(struct px_schedule *schedule, struct px_job *job, pyexec_error *error)
{
    pthread_mutex_lock(&schedule->lock);
    struct principal_queue *queue = queue_of(schedule, job->principal);
    int status = queue ? admit(schedule, queue, error) : px_error_oom(error);
    if (status == 0 && enqueue(schedule, queue, job) < 0)
        status = refuse_full(schedule, error);
    pthread_mutex_unlock(&schedule->lock);
    /* The signal comes after unlocking. Before it, the worker would wake only to wait for the lock. */
    if (status == 0)
        pthread_cond_signal(&schedule->work);
    return status;
}

void px_schedule_count(struct px_schedule *schedule, struct px_schedule_counts *ret)
{
    pthread_mutex_lock(&schedule->lock);
    *ret = schedule->counts;
    pthread_mutex_unlock(&schedule->lock);
}
