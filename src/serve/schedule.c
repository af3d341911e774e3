/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/schedule.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define SESSION_MAX 256                           /* longer than any id that is accepted */
#define WORKER_STACK (2u << 20)                   /* JSON of the greatest depth takes a quarter of it, twice */
#define WORKER_IDLE_NS (30 * INT64_C(1000000000)) /* then a worker without work ends */

/* A principal's part of one schedule. */
struct turn {
    struct px_principal *principal;
    int64_t running, queued;
    struct px_job *first, *last; /* waiting */
    double tokens;               /* of its rate */
    int64_t refilled_ns;
};

struct px_schedule {
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    size_t workers_max, queue_length;
    size_t workers, free_workers;
    bool limited;        /* by the principals' max_concurrent and rate */
    struct turn **turns; /* of those that have had work, in their order */
    size_t turn_count, next_turn;
    struct px_job *running; /* linked by next */
    struct px_schedule_counts counts;
    bool closed, ending;
};

/* ---- Choosing; with the lock held ---- */

static bool session_is_busy(const struct px_schedule *schedule, const struct px_job *job)
{
    for (const struct px_job *other = schedule->running; job->session && other; other = other->next)
        if (other->session && other->principal == job->principal && strcmp(other->session, job->session) == 0)
            return true;
    return false;
}

/* The first of the principal's that can run. A later call of the same session is never reached
 * before an earlier one: what keeps the earlier waiting keeps it waiting too. */
static struct px_job *take_from(struct px_schedule *schedule, struct turn *turn)
{
    int64_t most = schedule->limited ? turn->principal->max_concurrent : 0;
    if (most && turn->running >= most)
        return NULL;
    struct px_job *before = NULL, *job = turn->first;
    while (job && session_is_busy(schedule, job)) {
        before = job;
        job = job->next;
    }
    if (!job)
        return NULL;
    *(before ? &before->next : &turn->first) = job->next;
    if (turn->last == job)
        turn->last = before;
    turn->queued--;
    turn->running++;
    return job;
}

static struct px_job *take(struct px_schedule *schedule, struct turn **ret_turn)
{
    for (size_t i = 0; i < schedule->turn_count; i++) {
        size_t at = (schedule->next_turn + i) % schedule->turn_count;
        struct px_job *job = take_from(schedule, schedule->turns[at]);
        if (!job)
            continue;
        *ret_turn = schedule->turns[at];
        schedule->next_turn = at + 1;
        schedule->counts.waiting--;
        return job;
    }
    return NULL;
}

/* run() may free the job, so keep a stack copy of its session and principal in the running list. */
static void run_one(struct px_schedule *schedule, struct px_job *job, struct turn *turn)
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
    turn->running--;
    schedule->counts.running--;
    /* It may have been what another waited for. */
    if (schedule->counts.waiting)
        pthread_cond_broadcast(&schedule->work);
}

/* ---- Workers ---- */

static void *work(void *argument)
{
    struct px_schedule *schedule = argument;
    pthread_mutex_lock(&schedule->lock);
    for (;;) {
        struct turn *turn = NULL;
        struct px_job *job = take(schedule, &turn);
        if (job) {
            run_one(schedule, job, turn);
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
    pthread_cond_broadcast(&schedule->idle);
    pthread_mutex_unlock(&schedule->lock);
    return NULL;
}

static void start_worker(struct px_schedule *schedule)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, WORKER_STACK);
    if (pthread_create(&thread, &attributes, work, schedule) == 0)
        schedule->workers++;
    pthread_attr_destroy(&attributes);
}

int px_schedule_new(size_t workers, size_t queue_length, bool limited, struct px_schedule **ret, pyexec_error *error)
{
    struct px_schedule *schedule = calloc(1, sizeof *schedule);
    if (!schedule)
        return px_error_oom(error);
    schedule->workers_max = workers;
    schedule->queue_length = queue_length;
    schedule->limited = limited;
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
    for (size_t i = 0; i < schedule->turn_count; i++)
        free(schedule->turns[i]);
    free(schedule->turns);
    free(schedule);
}

/* ---- Submitting ---- */

/* NULL: out of memory. */
static struct turn *turn_of(struct px_schedule *schedule, struct px_principal *principal)
{
    for (size_t i = 0; i < schedule->turn_count; i++)
        if (schedule->turns[i]->principal == principal)
            return schedule->turns[i];
    struct turn **turns = realloc(schedule->turns, (schedule->turn_count + 1) * sizeof(struct turn *));
    if (!turns)
        return NULL;
    schedule->turns = turns;
    struct turn *turn = calloc(1, sizeof *turn);
    if (turn) {
        turn->principal = principal;
        turns[schedule->turn_count++] = turn;
    }
    return turn;
}

/* A token bucket that holds one second's worth, at least one. 0, or ms until the next token. */
static int over_rate(struct turn *turn)
{
    double rate = turn->principal->rate;
    if (!(rate > 0))
        return 0;
    double most = rate > 1 ? rate : 1;
    int64_t now = px_now_ns();
    if (!turn->refilled_ns)
        turn->tokens = most;
    else
        turn->tokens += (double)(now - turn->refilled_ns) / 1e9 * rate;
    turn->refilled_ns = now;
    if (turn->tokens > most)
        turn->tokens = most;
    if (turn->tokens >= 1) {
        turn->tokens -= 1;
        return 0;
    }
    return (int)((1 - turn->tokens) / rate * 1000) + 1;
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

static int admit(struct px_schedule *schedule, struct turn *turn, pyexec_error *error)
{
    if (schedule->closed)
        return px_error_set(error, PYEXEC_SHUTTING_DOWN, "the server is shutting down");
    /* One principal may fill half of the queue, so that there is always room for another. */
    size_t own_most = schedule->queue_length - schedule->queue_length / 2;
    bool full = schedule->counts.waiting >= schedule->queue_length || (size_t)turn->queued >= own_most;
    bool starts_now = schedule->counts.running < schedule->workers_max && !turn->queued;
    if (full && !starts_now)
        return refuse_full(schedule, error);
    int wait_ms = schedule->limited ? over_rate(turn) : 0;
    return wait_ms ? refuse_rate(schedule, turn->principal->rate, wait_ms, error) : 0;
}

/* With the lock held, and the job admitted. -1: there is no thread to run it. */
static int enqueue(struct px_schedule *schedule, struct turn *turn, struct px_job *job)
{
    if (schedule->counts.waiting >= schedule->free_workers && schedule->workers < schedule->workers_max)
        start_worker(schedule);
    if (!schedule->workers)
        return -1;
    job->next = NULL;
    job->submitted_ns = px_now_ns();
    *(turn->last ? &turn->last->next : &turn->first) = job;
    turn->last = job;
    turn->queued++;
    schedule->counts.waiting++;
    return 0;
}

int px_schedule_submit(struct px_schedule *schedule, struct px_job *job, pyexec_error *error)
{
    pthread_mutex_lock(&schedule->lock);
    struct turn *turn = turn_of(schedule, job->principal);
    int status = turn ? admit(schedule, turn, error) : px_error_oom(error);
    if (status == 0 && enqueue(schedule, turn, job) < 0)
        status = refuse_full(schedule, error);
    pthread_mutex_unlock(&schedule->lock);
    /* Not before: the worker would wake only to wait for the lock. */
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
