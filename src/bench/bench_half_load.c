/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bench_half_load.h"

#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/processors.h"
#include "base/retry.h"
#include "cli/handles.h"

#define CALLERS_PER_CPU 16
#define CALLERS_MAX 256
#define LEAD_TIME_NS INT64_C(50000000)   /* between the last caller's warm-up and the first arrival */
#define OVERTIME_NS INT64_C(10000000000) /* calls that have not begun so long after the end are not made */

/* All callers begin together, when the slowest of them has opened its session. */
struct caller_start {
    sem_t ready, go;
    int64_t begin_ns; /* valid after `go` */
};

/* Each caller has arrivals of its own. Several Poisson processes together are one, so the callers need no lock between
 * them. A caller that is still in a call begins its next one late, and the latency contains the delay. */
struct caller {
    pthread_t thread;
    pyexec_executor *executor;
    const char *session; /* `name`, or NULL: runs */
    char name[32];
    double rate; /* arrivals per second of this caller */
    uint64_t random;
    struct caller_start *start;
    int64_t duration_ns;
    uint64_t planned;
    struct bench_histogram latency, late, call;
    int failed;
    pyexec_error error;
};

/* splitmix64: the same arrivals at each start of the program. Returns a number above 0, at most 1. */
static double draw(uint64_t *state)
{
    uint64_t bits = *state += UINT64_C(0x9E3779B97F4A7C15);
    bits = (bits ^ (bits >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    bits = (bits ^ (bits >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (double)(((bits ^ (bits >> 31)) >> 11) + 1) / (double)(UINT64_C(1) << 53);
}

static int64_t next_gap_ns(struct caller *caller)
{
    return (int64_t)(-log(draw(&caller->random)) / caller->rate * 1e9);
}

static int make_call(struct caller *caller, pyexec_request *request, int64_t planned_ns)
{
    double us;
    int64_t start = px_now_ns();
    if (bench_call(caller->executor, caller->session, request, &us, &caller->error) < 0)
        return -1;
    int64_t end = px_now_ns();
    bench_histogram_add(&caller->latency, end - planned_ns);
    bench_histogram_add(&caller->late, start - planned_ns);
    bench_histogram_add(&caller->call, end - start);
    return 0;
}

static void *be_caller(void *argument)
{
    struct caller *caller = argument;
    cli_auto_request pyexec_request *request = bench_request(&caller->error);
    double us;
    /* Without this the kernel may wake a sleeper 50 us late. */
    prctl(PR_SET_TIMERSLACK, 1UL);
    caller->failed = request ? bench_call(caller->executor, caller->session, request, &us, &caller->error)
                             : -1; /* opens the session */
    sem_post(&caller->start->ready);
    px_sem_wait(&caller->start->go);
    int64_t end_ns = caller->start->begin_ns + caller->duration_ns;
    int64_t planned_ns = caller->start->begin_ns + next_gap_ns(caller);
    for (; !caller->failed && planned_ns < end_ns; planned_ns += next_gap_ns(caller)) {
        caller->planned++;
        int64_t now = px_now_ns();
        if (now < planned_ns)
            px_sleep_ns(planned_ns - now);
        else if (now > end_ns + OVERTIME_NS)
            continue;
        caller->failed = make_call(caller, request, planned_ns);
    }
    return NULL;
}

/* Waits for the warm-up of all callers, and lets them go. With `cancelled` they make no calls. */
static void let_callers_go(struct caller_start *start, struct caller *callers, int count, bool cancelled)
{
    for (int i = 0; i < count; i++)
        px_sem_wait(&start->ready);
    start->begin_ns = px_now_ns() + LEAD_TIME_NS;
    for (int i = 0; i < count; i++) {
        if (cancelled)
            callers[i].duration_ns = 0;
        sem_post(&start->go);
    }
}

static int collect(struct bench_half_load_kind *kind, struct caller *callers, int count, pyexec_error *error)
{
    int result = 0;
    for (int i = 0; i < count; i++) {
        pthread_join(callers[i].thread, NULL);
        kind->planned += callers[i].planned;
        bench_histogram_merge(&kind->latency, &callers[i].latency);
        bench_histogram_merge(&kind->late, &callers[i].late);
        bench_histogram_merge(&kind->call, &callers[i].call);
        if (callers[i].failed && result == 0) {
            *error = callers[i].error;
            result = -1;
        }
    }
    return result;
}

static int make_arrivals(struct bench_half_load_kind *kind, bool sessions, int seconds, int count,
                         pyexec_executor *executor, pyexec_error *error)
{
    px_auto_free struct caller *callers = calloc((size_t)count, sizeof *callers);
    if (!callers)
        return px_error_oom(error);
    struct caller_start start;
    sem_init(&start.ready, 0, 0);
    sem_init(&start.go, 0, 0);
    int started = 0, failure = 0;
    for (; started < count; started++) {
        struct caller *caller = &callers[started];
        caller->executor = executor;
        caller->rate = kind->rate / count;
        caller->random = (uint64_t)started << 32;
        caller->start = &start;
        caller->duration_ns = seconds * INT64_C(1000000000);
        snprintf(caller->name, sizeof caller->name, "half-load-%d", started);
        caller->session = sessions ? caller->name : NULL;
        failure = pthread_create(&caller->thread, NULL, be_caller, caller);
        if (failure)
            break;
    }
    let_callers_go(&start, callers, started, failure != 0);
    int result = collect(kind, callers, started, error);
    sem_destroy(&start.ready);
    sem_destroy(&start.go);
    if (result < 0)
        return -1;
    return failure ? px_error_errno(error, PYEXEC_INTERNAL, failure, "bench: can't start a thread") : 0;
}

int bench_half_load_run(struct bench_half_load *ret, int seconds, const struct bench_plan *plan,
                        const struct cli_settings *settings, pyexec_error *error)
{
    int callers = (int)px_processors() * CALLERS_PER_CPU;
    ret->seconds = seconds;
    ret->callers = callers > CALLERS_MAX ? CALLERS_MAX : callers;
    if (bench_find_python(&ret->python, settings, error) < 0)
        return -1;
    for (enum bench_call_kind i = 0; i < BENCH_CALL_KINDS; i++) {
        cli_auto_executor pyexec_executor *executor = NULL;
        struct bench_half_load_kind *kind = &ret->kinds[i];
        bool sessions = i == BENCH_CALL_SESSION;
        if (bench_new_executor(settings, settings->host.zygotes, true, NULL, &executor, error) < 0 ||
            bench_load(executor, sessions, ret->callers, plan->seconds_tenths, &kind->saturation, error) < 0)
            return -1;
        kind->rate = kind->saturation / 2;
        if (!(kind->rate > 0))
            return px_error_set(error, PYEXEC_INTERNAL, "bench: no call ended in %d tenths of a second",
                                plan->seconds_tenths);
        if (make_arrivals(kind, sessions, seconds, ret->callers, executor, error) < 0)
            return -1;
    }
    return 0;
}

void bench_half_load_done(struct bench_half_load *half_load)
{
    free(half_load->python);
}
