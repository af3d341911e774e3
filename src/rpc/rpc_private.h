/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one RPC connection, for the rpc_*.c files. An id is kept as its JSON text. NULL is the id of a
 * notification, which gets no answer. */
#ifndef PX_RPC_RPC_PRIVATE_H
#define PX_RPC_RPC_PRIVATE_H

#include "base/json.h"
#include <pthread.h>
#include <stdbool.h>

#include "jsonrpc/json_diagnose.h"
#include "jsonrpc/line_transport.h"
#include "jsonrpc/tasks.h"
#include "pyexec.h"

struct px_rpc {
    struct px_line_transport lines;
    pyexec_executor *executor;
    struct px_tasks tasks; /* its lock also protects what follows */
    pthread_cond_t held;   /* the output that is sent as it comes */
    bool ended;
};

#define PX_RPC_PYEXEC_FAILED (-32000)

/* `result` is JSON and becomes part of the answer as it is. */
void px_rpc_answer(struct px_rpc *rpc, const char *id, const char *result);
void px_rpc_fail(struct px_rpc *rpc, const char *id, const pyexec_error *error);
/* The answer when there is no memory; making it needs none. `id` is JSON; "null" is no id. */
void px_rpc_lose(struct px_rpc *rpc, const char *id, size_t id_length);
/* An error of the protocol. Without an id it is answered to null. */
void px_rpc_refuse(struct px_rpc *rpc, const char *id, int code, const char *text);

/* Methods that take some time; each has its own thread (rpc_execute.c). */
void px_rpc_execute(struct px_rpc *rpc, const char *id, const json_t *params);
void px_rpc_execute_session(struct px_rpc *rpc, const char *id, const json_t *params);

/* The thread that sends their output as it comes, until `ended`. */
void *px_rpc_stream(void *rpc);

/* Interrupts or cancels the running request with this id; -1 when there is none. */
int px_rpc_stop(struct px_rpc *rpc, const char *id, bool cancel);

#endif
