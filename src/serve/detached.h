/* SPDX-License-Identifier: Apache-2.0 */
/* Executions that go on without their client: the table of them, their events and results, and who waits for these.
 *
 *   px_detached_start()   a job of its own in the schedule of runs; the client has its id
 *   events                go to the log of the execution, and wake who reads it
 *   the end               the result is kept for [host] execution_ttl
 *
 * One thread, the keeper, answers those who have waited long enough, sends comments to silent streams, and forgets what is
 * too old. Locks, in this order: an execution's `emit`, the table's, a request's, a log's or the calls'. */
#ifndef PX_SERVE_DETACHED_H
#define PX_SERVE_DETACHED_H

#include "serve/event_log.h"
#include "serve/execution.h"
#include "serve/http.h"

struct px_detached_table;

enum px_detached_state { PX_DETACHED_WAITING, PX_DETACHED_RUNNING, PX_DETACHED_ENDED, PX_DETACHED_STATES };

struct px_detached {
    struct px_http_request
        carrier; /* stands for a request, whose client is gone, in the schedule and in run_request.c */
    struct px_detached *next;
    struct px_detached_table *table;
    struct px_execution *execution;
    unsigned references; /* with the table's lock */
    enum px_detached_state state;
    char id[128];
    pyexec_request *run;
    struct px_buffer held[2]; /* of each stream: the start of a character to come */
    uint64_t seq;
    struct px_event_log log;
    _Atomic long kept_bytes; /* of its events and its result */
    char *result, *problem;  /* one of them, at the end */
    time_t created, started, ended;
    int64_t ended_ns;
};

/* 0, or -1 with an error. */
int px_detached_open(struct px_server *server, struct px_detached_table **ret, pyexec_error *error);
/* Cancels all. */
void px_detached_cancel_all(struct px_detached_table *table);
/* Nothing runs any more. */
void px_detached_close(struct px_detached_table *table);

/* Takes `run`, and `execution` (its tools; made by px_execution_take()). Answers the request. */
void px_detached_start(struct px_http_request *request, struct px_execution *execution, pyexec_request *run);

/* An event of an execution that is under way; with its `emit` held. */
void px_detached_emit(struct px_detached *detached, const char *name, const char *json, bool last);

/* One of the principal's by its id, held; NULL: there is none. */
struct px_detached *px_detached_find(struct px_detached_table *table, const struct px_principal *principal,
                                     const char *id);
void px_detached_release(struct px_detached *detached);

/* Appends what there is of it. `whole`: with its result and its calls' arguments, however long. */
void px_detached_write(struct px_detached *detached, struct px_buffer *out, bool whole);

/* Answers the request when it has ended, when a tool call waits, or after so long. Takes the reference. */
void px_detached_await(struct px_detached *detached, struct px_http_request *request, int64_t wait_ms);

/* Answers with the events after this number. Takes the reference. */
void px_detached_stream(struct px_detached *detached, struct px_http_request *request, uint64_t after);

/* Routes: GET and DELETE /v1/executions/{id}, GET /v1/executions. */
void px_detached_route_show(struct px_http_request *request);
void px_detached_route_cancel(struct px_http_request *request);
void px_detached_route_list(struct px_http_request *request);

extern const char *const px_detached_state_names[PX_DETACHED_STATES];
void px_detached_count(struct px_detached_table *table, size_t ret[PX_DETACHED_STATES]);

#endif
