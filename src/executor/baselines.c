/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec_measure_floors: measures how long the smallest possible run takes on this machine. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/retry.h"
#include "executor/runtime.h"

#define FIRST_PAUSE_NS 3000000 /* `pyexec bench` gives its pool the same time */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static pyexec_floor percentiles(double *us, size_t count)
{
    qsort(us, count, sizeof *us, ascending);
    return (pyexec_floor){us[count / 2], us[count * 9 / 10], us[count * 99 / 100]};
}

static int measure_clone(struct px_zygote_group *kind, uint32_t op, double *us, size_t count, pyexec_error *error)
{
    for (size_t i = 0; i < count; i++) {
        struct px_clone_request request = {.op = op};
        struct px_clone_reply reply;
        struct px_cloned answered;
        bool lost;
        if (px_zygotes_clone(kind->zygotes, &request, NULL, 0, &reply, &answered, &lost, error) < 0)
            return -1;
        us[i] = (double)reply.elapsed_ns / 1e3;
    }
    return 0;
}

/* Makes a child that waits and evaluates 1+1 for each message. Returns the socket to it, or -1. */
static int start_echo(pyexec_executor *executor, struct px_zygote_group *kind, pyexec_error *error)
{
    int pair[2];
    struct px_cloned answered;
    bool lost;
    struct px_clone_request request = {.op = PX_CLONE_BASELINE_ECHO};
    struct px_clone_reply reply;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't make a socket");
    px_auto_fd int ours = pair[0];
    px_auto_fd int theirs = pair[1];
    if (px_zygotes_clone(kind->zygotes, &request, &theirs, 1, &reply, &answered, &lost, error) < 0)
        return -1;
    px_launcher_forget(executor->launcher, reply.pid);
    return TAKE_FD(ours);
}

static int round_trip(int socket, double *ret_us, pyexec_error *error)
{
    char text[16];
    int64_t before = px_now_ns();
    if (px_send(socket, "x", 1, MSG_NOSIGNAL) < 0 || px_recv(socket, text, sizeof text, 0) != 1)
        return px_error_set(error, PYEXEC_INTERNAL, "the echoing child is gone");
    *ret_us = (double)(px_now_ns() - before) / 1e3;
    return 0;
}

static int measure_repeated(pyexec_executor *executor, struct px_zygote_group *kind, double *us, size_t count,
                            pyexec_error *error)
{
    px_auto_fd int socket = start_echo(executor, kind, error);
    if (socket < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (round_trip(socket, &us[i], error) < 0)
            return -1;
    return 0;
}

/* Each message goes to another child, which has already waited for some time. */
static int measure_first(pyexec_executor *executor, struct px_zygote_group *kind, double *us, size_t count,
                         pyexec_error *error)
{
    for (size_t i = 0; i < count; i++) {
        px_auto_fd int socket = start_echo(executor, kind, error);
        if (socket < 0)
            return -1;
        px_sleep_ns(FIRST_PAUSE_NS);
        if (round_trip(socket, &us[i], error) < 0)
            return -1;
    }
    return 0;
}

static int measure(pyexec_executor *executor, struct px_zygote_group *kind, pyexec_floors *ret, double *us,
                   size_t count, pyexec_error *error)
{
    size_t firsts = (count + 4) / 5; /* they take long */
    if (measure_clone(kind, PX_CLONE_BASELINE, us, count, error) < 0)
        return -1;
    ret->clone = percentiles(us, count);
    if (measure_clone(kind, PX_CLONE_BASELINE_NAMESPACES, us, count, error) < 0)
        return -1;
    ret->clone_namespaces = percentiles(us, count);
    if (measure_repeated(executor, kind, us, count, error) < 0)
        return -1;
    ret->socket_round_trip = percentiles(us, count);
    if (measure_first(executor, kind, us, firsts, error) < 0)
        return -1;
    ret->socket_round_trip_first = percentiles(us, firsts);
    return 0;
}

int pyexec_floors_measure(pyexec_executor *executor, int iterations, pyexec_floors *ret, pyexec_error *error)
{
    size_t count = iterations < 1 ? 1 : (size_t)iterations;
    struct px_zygote_group *kind;
    px_auto_free double *us = calloc(count, sizeof *us);
    if (!us)
        return px_error_oom(error);
    if (px_runtime_acquire(executor, &executor->policy, &kind, error) < 0)
        return -1;
    int result = measure(executor, kind, ret, us, count, error);
    px_runtime_release(executor, kind);
    return result;
}

static json_t *floor_json(const pyexec_floor *floor)
{
    return json_pack("{s:f, s:f, s:f}", "p50", floor->p50, "p90", floor->p90, "p99", floor->p99);
}

int pyexec_measure_floors(pyexec_executor *executor, int iterations, char **ret, pyexec_error *error)
{
    pyexec_floors floors;
    if (pyexec_floors_measure(executor, iterations, &floors, error) < 0)
        return -1;
    char *text = px_json_take_text(json_pack("{s:o, s:o, s:o, s:o}", "clone", floor_json(&floors.clone),
                                             "clone_namespaces", floor_json(&floors.clone_namespaces),
                                             "socket_round_trip", floor_json(&floors.socket_round_trip),
                                             "socket_round_trip_first", floor_json(&floors.socket_round_trip_first)));
    if (!text)
        return px_error_oom(error);
    *ret = text;
    return 0;
}
