/* SPDX-License-Identifier: Apache-2.0 */
/* Executions that continue without their client: the table of them, their events and results, and the clients that wait for these.
 *
 *   px_detached_start()   a job of its own in the schedule of runs; the client has its id
 *   events                go to the log of the execution, and wake its readers
 *   the end               the result is kept for [host] execution_ttl
 *
 * One thread, the keeper, answers the clients that have waited long enough, sends comments to silent streams, and forgets results
 * that are too old. Locks, in this order: an execution's `emit`, the table's, a request's, a log's or the calls'. */
#ifndef PX_SERVE_DETACHED_H
#define PX_SERVE_DETACHED_H

#include "mcp/mcp_executions.h"
#include "serve/event_log.h"
#include "serve/execution.h"
#include "serve/http.h"

struct px_detached_table;

enum px_detached_state { PX_DETACHED_WAITING, PX_DETACHED_RUNNING, PX_DETACHED_ENDED, PX_DETACHED_STATES };

struct px_detached {
    struct px_http_request
        carrier; /* stands for the answered request of the client, in the schedule and in run_request.c */
    struct px_detached *next;
    struct px_detached_table *table;
    struct px_execution *execution;
    unsigned references; /* protected by the table's lock */
    enum px_detached_state state;
    char id[PX_MCP_EXECUTION_ID];
    pyexec_request *run;
    struct px_buffer held[2]; /* for each stream: the beginning of an incomplete character */
    uint64_t seq;
    struct px_event_log log;
    _Atomic long kept_bytes; /* bytes of its events and its result */
    char *result, *problem;  /* one of them is set at the end */
    bool for_model;          /* an MCP client started it: `content` is what a model reads, from the end on */
    char *content;
    bool cancelled, failed; /* protected by the table's lock */
    time_t created, started, ended;
    int64_t ended_ns;
};

/* Returns 0, or -1 with `error`. */
int px_detached_open(struct px_server *server, struct px_detached_table **ret, pyexec_error *error);
/* Cancels all executions. */
void px_detached_cancel_all(struct px_detached_table *table);
/* Call this when no execution runs any more. */
void px_detached_close(struct px_detached_table *table);

/* Takes ownership of `run` and of `execution` (its tools; px_execution_take() makes it). Answers the request. */
void px_detached_start(struct px_http_request *request, struct px_execution *execution, pyexec_request *run);

/* The same without an answer: the id goes to `ret_id`, which has the size of px_detached.id. Returns 0, or -1 with
 * `error`; it takes ownership in both cases. */
int px_detached_begin(struct px_http_request *request, struct px_execution *execution, pyexec_request *run,
                      bool for_model, char *ret_id, pyexec_error *error);

/* Cancels it. Returns false if it has ended or been cancelled before. */
bool px_detached_cancel(struct px_detached *detached);

/* Adds an event of an execution that is in progress. The caller holds its `emit`. */
void px_detached_emit(struct px_detached *detached, const char *name, const char *json, bool last);

/* Returns the principal's execution with this id and a reference; NULL when there is none. */
struct px_detached *px_detached_find(struct px_detached_table *table, const struct px_principal *principal,
                                     const char *id);
void px_detached_release(struct px_detached *detached);

/* Appends what is known about it. With `whole`, also its result and its calls' arguments, however long they are. */
void px_detached_write(struct px_detached *detached, struct px_buffer *out, bool whole);

/* Calls `answer` (NULL: answers with px_detached_write()) when the execution has ended, when a tool call waits, or after
 * `wait_ms`; with -1 only when the execution has ended, or the server ends. Takes the reference. */
void px_detached_await(struct px_detached *detached, struct px_http_request *request, int64_t wait_ms,
                       void (*answer)(struct px_http_request *request));

/* Answers with the events after this number. Takes the reference. */
void px_detached_stream(struct px_detached *detached, struct px_http_request *request, uint64_t after);

/* Routes: GET and DELETE /v1/executions/{id}, GET /v1/executions. */
void px_detached_route_show(struct px_http_request *request);
void px_detached_route_cancel(struct px_http_request *request);
void px_detached_route_list(struct px_http_request *request);

extern const char *const px_detached_state_names[PX_DETACHED_STATES];
void px_detached_count(struct px_detached_table *table, size_t ret[PX_DETACHED_STATES]);

#endif
