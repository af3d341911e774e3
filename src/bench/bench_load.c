/* SPDX-License-Identifier: Apache-2.0 */
/* Sustained load: threads that run the same script again and again. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "bench/bench.h"

/* Time before the measurement starts, so that every thread is running by then. */
#define WARM_UP_NS 200000000

struct worker {
    pthread_t thread;
    pyexec_executor *executor;
    char session[32]; /* "": runs, not calls of a session */
    int64_t begin_ns, end_ns;
    uint64_t runs; /* runs that ended between begin_ns and end_ns */
    int failed;
    pyexec_error error;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    pyexec_request *request = bench_request(&worker->error);
    worker->failed = !request;
    while (!worker->failed) {
        double us;
        worker->failed =
            bench_call(worker->executor, *worker->session ? worker->session : NULL, request, &us, &worker->error);
        int64_t now = px_now_ns();
        if (now >= worker->end_ns)
            break;
        if (now >= worker->begin_ns)
            worker->runs++;
    }
    pyexec_request_free(request);
    return NULL;
}

int bench_load(pyexec_executor *executor, bool sessions, int threads, int tenths, double *ret, pyexec_error *error)
{
    px_auto_free struct worker *workers = calloc((size_t)threads, sizeof *workers);
    if (!workers)
        return px_error_oom(error);
    int64_t begin = px_now_ns() + WARM_UP_NS, end = begin + tenths * INT64_C(100000000);
    int started = 0, failure = 0;
    for (; started < threads && !failure; started++) {
        struct worker *worker = &workers[started];
        *worker = (struct worker){.executor = executor, .begin_ns = begin, .end_ns = end};
        if (sessions)
            snprintf(worker->session, sizeof worker->session, "load-%d", started);
        failure = pthread_create(&worker->thread, NULL, work, worker);
        if (failure)
            break;
    }
    uint64_t runs = 0;
    const pyexec_error *first = NULL;
    for (int i = 0; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
        runs += workers[i].runs;
        if (workers[i].failed && !first)
            first = &workers[i].error;
    }
    if (failure)
        return px_error_errno(error, PYEXEC_INTERNAL, failure, "bench: can't start a thread");
    if (first) {
        *error = *first;
        return -1;
    }
    *ret = (double)runs * 10 / tenths;
    return 0;
}
