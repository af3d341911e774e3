/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one RPC connection, and of its executions, for the rpc_*.c files. An id is kept as its JSON text. NULL is
 * the id of a notification, which gets no answer. */
#ifndef PX_RPC_RPC_PRIVATE_H
#define PX_RPC_RPC_PRIVATE_H

#include "base/json.h"
#include <pthread.h>
#include <stdbool.h>

#include "jsonrpc/json_diagnose.h"
#include "jsonrpc/line_server.h"
#include "jsonrpc/line_transport.h"
#include "jsonrpc/tasks.h"
#include "pyexec.h"
#include "rpc/rpc.h"

struct px_rpc_call;

#define PX_RPC_CALL_CHAINS 256

struct px_rpc {
    struct px_line_transport lines;
    struct px_line_server server; /* the threads */
    pyexec_executor *executor;
    const json_t *defaults; /* sections of the configuration, or NULL */
    px_rpc_opened_fn opened;
    void *closure;
    struct px_tasks tasks; /* tasks.lock also protects the members below */
    pthread_cond_t held;   /* signalled when there is something to send; see px_rpc_stream() */
    bool ended;
    bool input_ended;                              /* the client can't send answers any more */
    struct px_rpc_call *calls[PX_RPC_CALL_CHAINS]; /* tool calls without an answer, by the hash of their ids */
};

/* One execution. */
struct px_rpc_job {
    struct px_task task; /* must be the first member */
    struct px_rpc *rpc;
    char *id;
    pyexec_request *request;
    char *session_id; /* NULL: a single run without a session */
    /* Data to send. tasks.lock protects it. */
    struct px_buffer held[2]; /* for stdout and stderr: the output that has not been sent yet */
    char **ready; /* complete notifications, which are sent before `held`: displays, and the output before them */
    size_t ready_count;
    struct px_rpc_call *calls; /* its tool calls without an answer, in order of arrival */
    bool sending;              /* a thread is sending, with the lock released */
    bool lost;                 /* something could not be sent, because there was no memory */
    bool over;                 /* the run has ended: no tool call is sent */
    unsigned long long seq;
};

#define PX_RPC_PYEXEC_FAILED (-32000)
#define PX_RPC_DENIED (-32001) /* the code in the answer of a tool call by which the caller refuses the call */

/* Sends an answer. `result` is JSON, and is copied into the answer unchanged. */
void px_rpc_answer(struct px_rpc *rpc, const char *id, const char *result);
void px_rpc_fail(struct px_rpc *rpc, const char *id, const pyexec_error *error);
/* Answers that there is no memory, without allocating any. `id` is JSON; "null": the request has no id. */
void px_rpc_lose(struct px_rpc *rpc, const char *id, size_t id_length);
/* Answers with an error of the protocol. Without an id the answer has the id null. */
void px_rpc_refuse(struct px_rpc *rpc, const char *id, int code, const char *text);

/* Answers {} and sends all later lines to `fd`, which it takes. Returns false, and moves nothing, when there is no memory. */
bool px_rpc_answer_and_move(struct px_rpc *rpc, const char *id, int fd);
void px_rpc_move_answers(struct px_rpc *rpc, const char *id, const json_t *params); /* rpc_move.c */

/* Methods that can take long: another thread reads the next request meanwhile (rpc_execute.c). */
void px_rpc_execute(struct px_rpc *rpc, const char *id, const json_t *params);
void px_rpc_execute_session(struct px_rpc *rpc, const char *id, const json_t *params);
void px_rpc_create_session(struct px_rpc *rpc, const char *id, const json_t *params);
void px_rpc_fork_session(struct px_rpc *rpc, const char *id, const json_t *params); /* rpc_fork.c */
void px_rpc_reset_session(struct px_rpc *rpc, const char *id, const json_t *params);
void px_rpc_undo(struct px_rpc *rpc, const char *id, const json_t *params);

void px_rpc_verify(struct px_rpc *rpc, const char *id, const json_t *params); /* rpc_verify.c */

/* ---- What an execution sends during its run (rpc_stream.c) ---- */

/* The main function of the sending thread. It returns when `ended` is set. */
void *px_rpc_stream(void *rpc);

/* Sends the job's next notification or call, with the lock released. Returns false when there is nothing to send
 * or another thread is sending. The caller holds the lock. */
bool px_rpc_send_next(struct px_rpc_job *job);

/* Send a line, or a line that consists of parts. The caller holds the lock, has already removed the data from the job, and
 * loses the lock during the sending. */
void px_rpc_send_line(struct px_rpc_job *job, struct px_buffer *line);
void px_rpc_send_parts(struct px_rpc_job *job, const struct iovec *parts, size_t count);

/* Callbacks of the library; `job` is a struct px_rpc_job. */
int px_rpc_on_output(void *job, int stream, const char *bytes, size_t length);
int px_rpc_on_display(void *job, const char *json, size_t length);

/* Sends the rest of a run that has ended, and releases its calls. */
void px_rpc_send_rest(struct px_rpc_job *job);

/* ---- Tool calls: requests from the server to the client (rpc_tools.c) ---- */

/* A callback of the library: the call becomes a request to the client. */
void px_rpc_on_tool_call(void *job, pyexec_tool_call *call);
/* The same for a call that needs approval: the request asks the client to allow it. */
void px_rpc_on_approval(void *job, pyexec_tool_call *call);

/* Sends the job's next call, if there is one. Call it with the lock. */
bool px_rpc_send_call(struct px_rpc_job *job);

/* Releases all calls of the job. The caller holds the lock. */
void px_rpc_end_calls(struct px_rpc_job *job);

/* Handles a message without a method if it is an answer: it has the id of a call, or an id and a result or an error. Returns false
 * for any other message. */
bool px_rpc_take_answer(struct px_rpc *rpc, const json_t *message, const char *id);

/* Fails the call that a line with this id (JSON) should answer, because the line can't be used. Returns false when
 * no call waits for it. */
bool px_rpc_take_bad_answer(struct px_rpc *rpc, const char *id, size_t id_length, int code, const pyexec_error *error);

/* No answer can come any more: all calls fail, now and later. */
void px_rpc_end_answers(struct px_rpc *rpc);

/* Interrupts or cancels the running request with this id. Returns -1 when there is none. */
int px_rpc_stop(struct px_rpc *rpc, const char *id, bool cancel);

#endif
