/* SPDX-License-Identifier: Apache-2.0 */
/* Model Context Protocol, without a transport: a message goes in, its answer and notifications come
 * out. Both eras are served side by side: revisions up to 2025-11-25, which begin with `initialize`,
 * and 2026-07-28, in which each request contains everything that the server must know. No state is kept between messages:
 * sessions of the sandbox are an argument of the tools.
 *
 *     struct px_mcp_call *call = px_mcp_read(mcp, &caller, bytes, length);
 *     if (!call->answer.length)
 *         px_mcp_serve(call);             // takes as long as the script where call->slow
 *     send(call->answer)                  // unless it is empty (a notification) or withdrawn
 *     px_mcp_call_free(call);
 *
 * Messages are hostile. Calls are served at once on any number of threads. */
#ifndef PX_MCP_MCP_H
#define PX_MCP_MCP_H

#include "base/json.h"
#include <stdbool.h>

#include "base/buffer.h"
#include "mcp/mcp_approval.h"
#include "mcp/mcp_executions.h"
#include "mcp_client/mcp_client.h"
#include "policy/config.h"
#include "policy/policy.h"
#include "pyexec.h"

/* The prefix of the protocol's own names in _meta. */
#define PX_MCP_META "io.modelcontextprotocol/"
#define PX_MCP_TASKS PX_MCP_META "tasks" /* the extension of the modern revision for tasks */

#define PX_MCP_MODERN "2026-07-28"  /* the revision without sessions */
#define PX_MCP_ASSUMED "2025-03-26" /* the version for a legacy request that names none */

/* Error codes of the modern revision; all others are those of JSON-RPC. */
enum { PX_MCP_HEADER_MISMATCH = -32020, PX_MCP_MISSING_CAPABILITY = -32021, PX_MCP_UNSUPPORTED_VERSION = -32022 };

/* How long a request waits for other servers to start. */
#define PX_MCP_CLIENTS_WAIT_MS 20000

struct px_mcp;

/* Also starts the thread that sends progress. The executor must live longer. */
int px_mcp_new(pyexec_executor *executor, struct px_mcp **ret, pyexec_error *error);
void px_mcp_free(struct px_mcp *mcp);

/* The sender of a message, as far as the transport knows. Everything here must live longer than the call. */
struct px_mcp_caller {
    const char *prefix;  /* put before the ids of its sessions: "" or "PRINCIPAL/" */
    const char *scope;   /* the scope in which the ids of its requests are unique; NULL: it can't cancel any */
    const char *version; /* legacy: the version that client and server have agreed on */
    const struct px_policy *policy;     /* the policy of its runs, for descriptions when tools/list is served */
    struct px_clients *clients;         /* other servers, whose tools its scripts call; NULL: none */
    bool told_of_changes;               /* the client gets a notification when the tools of other servers change */
    struct px_mcp_approvals *approvals; /* asks its user for approval of tool calls; NULL: it can't be asked */
    const struct px_mcp_executions *executions; /* its runs that continue after their answer */
    const char *traceparent, *tracestate;       /* its span, from headers of the transport; NULL: none */
    bool relayed;          /* a worker passed the message on: that span is below the one in _meta */
    const char *principal; /* for spans; NULL: there are no principals */
    pyexec_turn *turn;     /* the turn of the call; NULL: it takes one */
    json_t *ceiling;       /* the most it may ask for, as for pyexec_request_set_ceiling_object() */
    const char *secrets;   /* as for pyexec_request_set_secrets() */
    /* Sends a message that belongs to the call, before its answer. Called from another thread; it may wait. */
    void (*notify)(void *closure, const char *message);
    /* Both may be NULL. `runs` is called before a run begins, with its request and code. It returns 0, or -1 with an error; then
     * the code does not run. `ran` is called after a run has ended, if its code was sent to a process. If the host failed, its
     * `result` is NULL and `error` says why. */
    int (*runs)(void *closure, pyexec_request *request, const char *code, size_t length, pyexec_error *error);
    void (*ran)(void *closure, pyexec_result *result, const pyexec_error *error);
    void *closure;
};

struct px_mcp_tool;

struct px_mcp_call {
    struct px_mcp *mcp;
    struct px_mcp_caller caller;
    json_t *message;
    const json_t *params;
    char *id; /* its JSON; NULL: a notification */
    const char *method;
    bool modern;
    const char *version;            /* legacy: the version of this call */
    const struct px_mcp_tool *tool; /* the tool that tools/call names, if it exists */
    bool slow, in_session;          /* the call runs code; it runs it in a session */
    json_t *progress_token;         /* NULL: the client does not want progress */
    pyexec_request *request;        /* the run of a call that runs code */
    bool waits; /* the call waits for other servers or for a turn, so it must be served on its own thread */
    bool lists; /* it asks for the list of tools */
    bool forks; /* its tool clones processes, so it takes a turn */
    struct px_client_tools *tools; /* the tools of other servers that the request offers, or NULL */
    struct px_buffer answer;       /* one JSON message */
    int code;                      /* the code of an answer that is an error; else 0 */
    bool withdrawn;                /* the client cancelled it and wants no answer */
    /* These belong to px_mcp and are protected by its lock. */
    struct px_mcp_call *next;
    bool listed;
    int64_t began_ns, told_ns; /* when it began, and when progress was last sent (0: not yet) */
};

/* NULL: there is no memory. If the message is not valid, the call has its answer already. */
struct px_mcp_call *px_mcp_read(struct px_mcp *mcp, const struct px_mcp_caller *caller, const char *bytes,
                                size_t length);
void px_mcp_call_free(struct px_mcp_call *call);

/* True if a modern request has everything that it must have; otherwise the call gets an error as its answer. */
bool px_mcp_check(struct px_mcp_call *call);

/* Does what the message asks for, and makes the answer. A notification gets no answer. */
void px_mcp_serve(struct px_mcp_call *call);

/* Makes a separate call that has the sender and the run of `call`. It takes ownership of call->request. NULL: there is no memory;
 * then it has freed the request. */
struct px_mcp_call *px_mcp_take_run(struct px_mcp_call *call);
/* Executes the call's run, in the session `key` (NULL: in none). Returns 0 with *ret, or -1 when the host failed. */
int px_mcp_run(struct px_mcp_call *call, const char *key, pyexec_result **ret, pyexec_error *error);

/* Cancels the call's run, also one that has not begun. May be called from any thread. */
void px_mcp_cancel(struct px_mcp_call *call);

/* Answers with an error of the protocol. */
void px_mcp_refuse(struct px_mcp_call *call, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Answers with an error of the tool, which the model reads. */
void px_mcp_fail(struct px_mcp_call *call, const pyexec_error *error);
void px_mcp_refuse_version(struct px_mcp_call *call, const char *version);

/* True if it is one of the revisions that begin with `initialize`. */
bool px_mcp_is_legacy(const char *version);

/* MCP on a pair of descriptors, with one message on each line. `host` limits runs that continue after their answer. Serves until the end of input, or until `stop` (a
 * descriptor, or -1) is readable, and then ends all runs. Returns 0, the errno with which the output failed, or -1
 * with `error`. */
int px_mcp_stdio(pyexec_executor *executor, const struct px_policy *policy, const struct px_host *host,
                 const struct px_mcp_config *config, int input, int output, int stop, pyexec_error *error);

#endif
