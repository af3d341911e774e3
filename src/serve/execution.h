/* SPDX-License-Identifier: Apache-2.0 */
/* An execution whose script can call tools of the client. The client reads the calls as events,
 * and answers them with requests of their own (call_routes.c).
 *
 * Calls come on threads of the library, while the run's own thread sends output. The lock `emit` keeps each event whole, and no
 * event comes after the last one. It is taken before all other locks. */
#ifndef PX_SERVE_EXECUTION_H
#define PX_SERVE_EXECUTION_H

#include <pthread.h>
#include <stdbool.h>

#include "base/json.h"
#include "pyexec.h"

struct px_client_call;
struct px_detached;
struct px_http_request;
struct px_principal;
struct px_server;

struct px_execution {
    struct px_server *server;
    struct px_principal *principal;
    struct px_http_request *client; /* the client that gets the events; NULL: the execution is detached */
    struct px_detached *detached;   /* or NULL */
    pthread_mutex_t emit;
    bool ended;                   /* no more calls and events */
    struct px_client_call *calls; /* protected by the lock of the server's calls */
};

/* Takes `tools` and `detach` out of the body of an execute request. With one of them it makes the execution and
 * offers the tools to `run`; without them *ret stays NULL. *ret_detach: the execution continues without its
 * client. Returns 0, or -1 with invalid_request or when there is no memory. */
int px_execution_take(struct px_http_request *request, json_t *body, pyexec_request *run, struct px_execution **ret,
                      bool *ret_detach, pyexec_error *error);

/* Makes the execution of a detached run without tools of its client. Tool calls that need approval wait until somebody
 * allows them. NULL: there is no memory. */
struct px_execution *px_execution_new(struct px_http_request *request, pyexec_request *run, pyexec_error *error);

/* True if the body of the request may ask for `detach`. Then it is examined before it waits for a turn. */
bool px_execution_may_detach(const struct px_http_request *request);

/* To be called when the run has ended: it gets no more calls and events. `execution` may be NULL. */
void px_execution_end(struct px_execution *execution);

/* Call this after the run's request is freed, which waits for callbacks. `execution` may be NULL. */
void px_execution_free(struct px_execution *execution);

/* POST /v1/calls/{call_id}. */
void px_call_route_answer(struct px_http_request *request);

#endif
