/* The state of one RPC connection, for the rpc_*.c files. An id is kept as its JSON text; NULL
 * is that of a notification, which is never answered. */
#ifndef PX_FRONT_RPC_PRIVATE_H
#define PX_FRONT_RPC_PRIVATE_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/buffer.h"
#include "pyexec.h"

struct px_rpc_job;

struct px_rpc {
    int output, stop;                   /* stop: readable when all shall end; or -1 */
    pthread_mutex_t output_lock;        /* whole lines */
    _Atomic bool output_gone;
    bool stopping;
    pyexec_executor *executor;
    pthread_mutex_t lock;               /* what follows */
    pthread_cond_t changed, held;       /* held: output that is to be streamed */
    bool ended;
    struct px_rpc_job *jobs;
    size_t job_count;
    size_t unsent_bytes;                /* of lines that wait for the client to read */
};

/* JSON-RPC 2.0, section 5.1. */
enum { PX_RPC_PARSE_ERROR = -32700, PX_RPC_INVALID_REQUEST = -32600,
       PX_RPC_METHOD_NOT_FOUND = -32601, PX_RPC_INVALID_PARAMS = -32602,
       PX_RPC_PYEXEC_FAILED = -32000 };

/* How an id becomes text; two are the same when their texts are. */
#define PX_RPC_ID_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY)

/* Sends one line, waiting for the client as long as it takes (rpc_output.c). */
void px_rpc_send(struct px_rpc *rpc, struct px_buffer *line);
/* `result` is JSON, put into the answer as it is. */
void px_rpc_answer(struct px_rpc *rpc, const char *id, const char *result);
void px_rpc_fail(struct px_rpc *rpc, const char *id, const pyexec_error *error);
/* An error of the protocol. Without an id it is answered to null. */
void px_rpc_refuse(struct px_rpc *rpc, const char *id, int code, const char *text);
/* Waits until little enough is unsent for another request to be taken. */
void px_rpc_await_room(struct px_rpc *rpc);

/* Answers a line that jansson refused, under its id when it is JSON all the same (rpc_refuse.c). */
void px_rpc_refuse_line(struct px_rpc *rpc, const char *line, size_t length,
                        const json_error_t *problem);

/* Methods that take their time, each on a thread of its own (rpc_execute.c). */
void px_rpc_execute(struct px_rpc *rpc, const char *id, const json_t *params);
void px_rpc_execute_session(struct px_rpc *rpc, const char *id, const json_t *params);

/* The thread that sends their output as it comes, until `ended`. */
void *px_rpc_stream(void *rpc);

/* Interrupts or cancels the running request with this id; -1 when there is none. */
int px_rpc_stop(struct px_rpc *rpc, const char *id, bool cancel);

/* Cancels all and waits for them. */
void px_rpc_stop_all(struct px_rpc *rpc);

#endif
