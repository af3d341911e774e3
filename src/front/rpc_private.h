/* The state of one RPC connection, for rpc.c and rpc_execute.c. */
#ifndef PX_FRONT_RPC_PRIVATE_H
#define PX_FRONT_RPC_PRIVATE_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>

#include "pyexec.h"

struct px_rpc_job;

struct px_rpc {
    int output;
    pthread_mutex_t output_lock;        /* whole lines */
    bool output_gone, stopping, cancelling;
    pyexec_executor *executor;
    pthread_mutex_t lock;               /* the jobs */
    pthread_cond_t changed;
    struct px_rpc_job *jobs;
    size_t job_count;
};

void px_rpc_send(struct px_rpc *rpc, json_t *message);
void px_rpc_answer(struct px_rpc *rpc, const json_t *id, json_t *result);
void px_rpc_fail(struct px_rpc *rpc, const json_t *id, const pyexec_error *error);

/* Methods that take their time, each on a thread of its own (rpc_execute.c). */
void px_rpc_execute(struct px_rpc *rpc, const json_t *id, const json_t *params);
void px_rpc_execute_session(struct px_rpc *rpc, const json_t *id, const json_t *params);

/* Interrupts or cancels the running request with this id; -1 when there is none. */
int px_rpc_stop(struct px_rpc *rpc, const json_t *id, bool cancel);

/* Cancels all and waits for them. */
void px_rpc_stop_all(struct px_rpc *rpc);

#endif
