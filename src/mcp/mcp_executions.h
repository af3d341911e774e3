/* SPDX-License-Identifier: Apache-2.0 */
/* Runs that continue after their request was answered: run_python with `detach`, or as a task of the protocol. The
 * transport stores them: serve/ in its table of detached executions, `pyexec mcp` in mcp_kept.h. Here are their messages:
 *
 *   tools     run_python answers with an execution_id; get_execution, cancel_execution
 *   2025-11-25  a tools/call with `task`; tasks/get, tasks/result, tasks/cancel
 *   2026-07-28  `detach`, if the client has the extension for tasks; tasks/get, tasks/update, tasks/cancel */
#ifndef PX_MCP_MCP_EXECUTIONS_H
#define PX_MCP_MCP_EXECUTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/buffer.h"
#include "pyexec.h"

#define PX_MCP_EXECUTION_ID 128         /* bytes of an id, with its end */
#define PX_EXECUTION_WAIT_MAX_MS 300000 /* how long a request of a client may wait for the end of an execution */
/* Bytes of all results that are kept for one caller. The oldest executions that have ended are dropped first. */
#define PX_EXECUTIONS_KEPT_MAX (128L << 20)

struct px_mcp_call;

/* One execution, as its transport describes it. */
struct px_mcp_execution {
    const char *id;
    const char *session; /* without the caller's prefix; NULL: none */
    const char *state;   /* waiting, running or ended */
    bool ended;
    bool cancelled;      /* a client has cancelled it */
    bool failed;         /* it has ended, and the script failed or could not run */
    time_t times[3];     /* when it was made, and when it started and ended (0: not yet) */
    const char *whole;   /* JSON: the structured content of get_execution; NULL: there is no memory for it */
    const char *content; /* JSON: the content for the model when it has ended; NULL: its result as text */
    const char *result;  /* JSON: its result when it has ended; NULL: it could not run */
};

typedef void px_mcp_show_fn(struct px_mcp_call *call, const struct px_mcp_execution *execution);

/* The functions of a transport for the executions of the client that sent the call. */
struct px_mcp_executions {
    int64_t ttl_ms; /* how long they are kept after their end */
    /* Starts the call's run and takes call->request, also if it fails. `key` is its session, or NULL. */
    int (*start)(struct px_mcp_call *call, const char *key, char ret_id[PX_MCP_EXECUTION_ID], pyexec_error *error);
    /* Calls `show` if there is such an execution; else returns false. */
    bool (*show)(struct px_mcp_call *call, const char *id, px_mcp_show_fn *show);
    /* Cancels it. Returns false if there is none, or if it has ended or been cancelled before. */
    bool (*cancel)(struct px_mcp_call *call, const char *id);
};

/* True if the call starts a run that continues after its answer. Such a call does not take long. */
bool px_mcp_detaches(const struct px_mcp_call *call);

/* Returns the id of the execution for which the call waits before it is served; NULL: for none. *ret_ms: how long it
 * waits; -1: until the execution has ended. The id lives as long as the call. */
const char *px_mcp_awaits(const struct px_mcp_call *call, int64_t *ret_ms);

/* Returns the content that a model reads: the result, or the error if there is no result. It is JSON for
 * px_mcp_execution.content; the caller frees it. NULL: there is no memory. */
char *px_mcp_content_text(const pyexec_result *result, const pyexec_error *error);

/* Appends the beginning of an object that describes an execution: `{"execution_id": …, "ended_at": …`. */
void px_mcp_execution_write(struct px_buffer *out, const char *id, const char *session, const char *state,
                            const time_t times[3]);

#endif
