/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/mcp_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "jsonrpc/json_diagnose.h"
#include "mcp/mcp.h"
#include "serve/mcp_servers.h"
#include "serve/route.h"
#include "serve/run_request.h"
#include "serve/server.h"
#include "serve/sse.h"

struct px_mcp_request {
    struct px_mcp_call *call;
    struct px_mcp_servers *servers; /* the MCP servers of the HTTP server */
    struct px_principal_servers *held;
    char *prefix, *scope, *secrets;
    json_t *ceiling;
    struct px_policy policy;
    struct px_mcp_executions executions;
    char traceparent[PX_TRACEPARENT_SIZE]; /* the caller's, from the header */
};

void px_mcp_http_free(struct px_mcp_request *mcp)
{
    if (!mcp)
        return;
    px_mcp_call_free(mcp->call);
    px_mcp_servers_give(mcp->servers, mcp->held);
    free(mcp->prefix);
    free(mcp->scope);
    free(mcp->secrets);
    json_decref(mcp->ceiling);
    px_policy_done(&mcp->policy);
    free(mcp);
}

/* ---- Notifications of the core ---- */

static void notify(void *closure, const char *message)
{
    struct px_http_request *request = closure;
    if (request->stream)
        px_sse_send(request, "message", message);
}

static int runs(void *closure, pyexec_request *run, const char *code, size_t length, pyexec_error *error)
{
    struct px_http_request *request = closure;
    px_log_hash(&request->server->log, request, code, length);
    return px_run_request_take_message(request, run, error);
}

static void ran(void *closure, pyexec_result *result, const pyexec_error *error)
{
    struct px_http_request *request = closure;
    if (result)
        request->outcome = pyexec_status_name(pyexec_result_status(result));
    px_log_run(&request->server->log, request, result, error);
}

/* ---- Answers ---- */

/* Returns the HTTP status by the rules of Streamable HTTP. For a legacy request, an error with an id is an
 * ordinary answer (200). */
static int status_of(const struct px_mcp_call *call)
{
    bool malformed = call->code == -32700 || call->code == -32600 || call->code == PX_MCP_HEADER_MISMATCH ||
                     call->code == PX_MCP_UNSUPPORTED_VERSION;
    if (!call->code || (!call->modern && !malformed))
        return MHD_HTTP_OK;
    return call->code == -32601 ? MHD_HTTP_NOT_FOUND : MHD_HTTP_BAD_REQUEST;
}

/* Gives a legacy client an id under which its requests are known. Only requests with this id can withdraw them. */
static void add_session(struct px_mcp_call *call, struct MHD_Response *response)
{
    px_auto_free char *half = px_random_name(""), *id = half ? px_random_name(half) : NULL;
    if (id && call->method && strcmp(call->method, "initialize") == 0 && !call->code)
        MHD_add_response_header(response, "Mcp-Session-Id", id);
}

static void answer(struct px_http_request *request)
{
    struct px_mcp_call *call = request->mcp->call;
    if (request->stream) {
        px_sse_end(request, "message", px_buffer_string(&call->answer));
        return;
    }
    if (!px_buffer_ok(&call->answer)) {
        px_respond_json(request, MHD_HTTP_OK, NULL); /* answers that there is no memory */
        return;
    }
    if (!call->answer.length) {
        px_respond_empty(request, MHD_HTTP_ACCEPTED);
        return;
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(call->answer.length, call->answer.data, MHD_RESPMEM_MUST_COPY);
    if (response) {
        MHD_add_response_header(response, "Content-Type", "application/json");
        MHD_add_response_header(response, "Cache-Control", "no-store");
        add_session(call, response);
    }
    request->answer_bytes += call->answer.length;
    px_http_request_keep(request, (long)call->answer.length);
    px_respond(request, status_of(call), response);
}

/* ---- Headers ---- */

/* Mcp-Name may have the form =?base64?...?=. */
static bool header_is(const char *header, const char *value)
{
    static const char start[] = "=?base64?";
    px_auto_buffer struct px_buffer decoded = {0};
    size_t length = header ? strlen(header) : 0, head = sizeof start - 1;
    if (!header || length < head + 2 || strncmp(header, start, head) != 0 || strcmp(header + length - 2, "?=") != 0)
        return header && strcmp(header, value) == 0;
    return px_base64_decode(&decoded, header + head, length - head - 2) == 0 && decoded.length == strlen(value) &&
           memcmp(px_buffer_string(&decoded), value, decoded.length) == 0;
}

/* The headers of a modern request must say the same as its body. */
static void check_modern(struct px_http_request *request, struct px_mcp_call *call, const char *header)
{
    const char *version =
        json_string_value(json_object_get(json_object_get(call->params, "_meta"), PX_MCP_META "protocolVersion"));
    bool task = strncmp(call->method, "tasks/", 6) == 0, tool = strcmp(call->method, "tools/call") == 0;
    const char *name = json_string_value(json_object_get(call->params, task ? "taskId" : "name"));
    if (!version)
        return; /* the core refuses it */
    if (!header || strcmp(header, version) != 0)
        px_mcp_refuse(call, PX_MCP_HEADER_MISMATCH, "Header mismatch: MCP-Protocol-Version is not '%.40s'", version);
    else if (!header_is(px_http_request_header(request, "Mcp-Method"), call->method))
        px_mcp_refuse(call, PX_MCP_HEADER_MISMATCH, "Header mismatch: Mcp-Method is not '%.100s'", call->method);
    else if (name && (tool || task) && !header_is(px_http_request_header(request, "Mcp-Name"), name))
        px_mcp_refuse(call, PX_MCP_HEADER_MISMATCH, "Header mismatch: Mcp-Name is not '%.100s'", name);
}

static void check_headers(struct px_http_request *request, struct px_mcp_call *call)
{
    const char *header = px_http_request_header(request, "MCP-Protocol-Version");
    bool legacy = !header || px_mcp_is_legacy(header), modern = header && strcmp(header, PX_MCP_MODERN) == 0;
    if (!legacy && !modern) {
        px_mcp_refuse_version(call, header);
        return;
    }
    if (!call->id)
        return;
    call->modern |= modern;
    if (call->modern)
        check_modern(request, call, header);
    else if (header)
        call->version = header;
}

/* A worker has found the session in the text of the message, not by parsing it, and has made sure that it belongs to this node. A message
 * whose session it has not found can't be served. */
static void check_session(struct px_http_request *request, struct px_mcp_call *call)
{
    const char *known = px_http_request_header(request, "Pyexec-Session");
    bool calls = call->id && strcmp(call->method, "tools/call") == 0;
    const char *given =
        calls ? json_string_value(json_object_get(json_object_get(call->params, "arguments"), "session_id")) : NULL;
    if (request->listener->names_principals && call->id && (known || given) &&
        (!known || !given || strcmp(known, given) != 0))
        px_mcp_refuse(
            call, PX_RPC_INVALID_REQUEST,
            "session_id is not that of the message's subject: write the names of members without escapes, and "
            "send a call of a session to the subject of the session");
}

/* ---- Requests ---- */

static struct px_mcp_request *read_request(struct px_http_request *request)
{
    struct px_server *server = request->server;
    const char *client = px_http_request_header(request, "Mcp-Session-Id");
    const char *principal = request->principal->name;
    struct px_mcp_request *mcp = calloc(1, sizeof *mcp);
    if (!mcp)
        return NULL;
    mcp->servers = server->mcp_servers;
    mcp->ceiling = px_principals_ceiling(&server->principals, request->principal);
    mcp->secrets = px_principals_secrets(&server->principals, request->principal);
    mcp->executions = (struct px_mcp_executions){server->options->execution_ttl_ms, px_mcp_http_start, px_mcp_http_show,
                                                 px_mcp_http_cancel};
    px_trace_context_format(&request->caller, mcp->traceparent);
    bool good = mcp->ceiling && mcp->secrets && asprintf(&mcp->prefix, "%s/", principal) >= 0 &&
                (!client || asprintf(&mcp->scope, "%s/%s", principal, client) >= 0);
    const struct px_mcp_caller caller = {.prefix = mcp->prefix,
                                         .scope = mcp->scope,
                                         .version = PX_MCP_ASSUMED,
                                         .executions = &mcp->executions,
                                         .ceiling = mcp->ceiling,
                                         .secrets = mcp->secrets,
                                         .notify = notify,
                                         .runs = runs,
                                         .ran = ran,
                                         .traceparent = *request->caller.trace_id ? mcp->traceparent : NULL,
                                         .tracestate = *request->tracestate ? request->tracestate : NULL,
                                         .relayed = *request->message,
                                         .principal = request->principal->name,
                                         .closure = request};
    if (good)
        mcp->call = px_mcp_read(server->mcp, &caller, px_buffer_string(&request->body), request->body.length);
    if (mcp->call && mcp->call->method && strcmp(mcp->call->method, "tools/list") == 0) {
        pyexec_error error;
        bool known = px_run_request_policy(request, &mcp->policy, &error) == 0;
        mcp->call->caller.policy = known ? &mcp->policy : server->options->policy;
    }
    if (mcp->call)
        return mcp;
    px_mcp_http_free(mcp);
    return NULL;
}

static void serve(struct px_http_request *request)
{
    px_mcp_serve(request->mcp->call);
    answer(request);
}

static void fail(struct px_http_request *request, const pyexec_error *error)
{
    request->outcome = pyexec_code_name(error->code);
    request->server->metrics.errors[error->code]++;
    if (request->mcp->call->slow || request->mcp->call->forks)
        px_mcp_fail(request->mcp->call, error);
    else
        px_mcp_refuse(request->mcp->call, PX_RPC_INTERNAL_ERROR, "%s. %s", error->message, error->hint);
    answer(request);
}

/* For the log, and for the order of the calls of a session. */
static void name_session(struct px_http_request *request)
{
    const json_t *arguments = json_object_get(request->mcp->call->params, "arguments");
    const char *session = json_string_value(json_object_get(arguments, "session_id"));
    request->session = session ? strdup(session) : NULL;
}

/* Runs in the schedule of runs. Clients of the legacy protocol may reconnect for the answer. */
static void run(struct px_http_request *request)
{
    struct px_server *server = request->server;
    struct px_mcp_call *call = request->mcp->call;
    px_histogram_add(&server->metrics.waits, px_now_ns() - request->job.submitted_ns);
    if (call->progress_token && px_sse_wanted(request))
        px_sse_begin(request);
    pyexec_error error;
    if (px_run_request_check(request, &error) < 0) {
        fail(request, &error);
        return;
    }
    px_http_request_run(request, call->request);
    if (call->request)
        pyexec_request_set_turn(call->request, request->job.turn);
    int64_t began = px_now_ns();
    px_mcp_serve(call);
    px_histogram_add(&server->metrics.executions, px_now_ns() - began);
    px_http_request_run(request, NULL);
    answer(request);
}

/* tools/list waits for other servers. */
static void list(struct px_http_request *request)
{
    serve(request);
}

/* Runs in the schedule of runs. */
static void fork_now(struct px_http_request *request)
{
    request->mcp->call->caller.turn = request->job.turn;
    serve(request);
}

/* A tool that forks takes a turn, but does not wait for other calls of the session: such a session is busy. */
static void start_fork(struct px_http_request *request)
{
    pyexec_error error;
    name_session(request);
    if (px_http_request_move_apart(request, fork_now, &error) < 0)
        fail(request, &error);
}

static void start(struct px_http_request *request)
{
    struct px_mcp_call *call = request->mcp->call;
    pyexec_error error;
    name_session(request);
    pthread_mutex_lock(&request->lock);
    request->stays = !call->modern;
    pthread_mutex_unlock(&request->lock);
    bool lists = call->lists;
    if (px_run_request_servers(request, &request->mcp->held, &error) == 0) {
        call->caller.clients = px_principal_servers_clients(request->mcp->held);
        if (lists && !call->caller.clients) {
            serve(request);
            return;
        }
        if (px_http_request_move(request, lists ? list : run, &error) == 0)
            return;
    }
    fail(request, &error);
}

void px_mcp_http_answer(struct px_http_request *request)
{
    pyexec_error error;
    if (px_http_request_weigh(request, &error) < 0) {
        px_respond_error(request, &error);
        return;
    }
    request->mcp = read_request(request);
    if (!request->mcp) {
        px_error_oom(&error);
        px_respond_error(request, &error);
        return;
    }
    struct px_mcp_call *call = request->mcp->call;
    if (!call->answer.length)
        check_session(request, call);
    if (!call->answer.length)
        check_headers(request, call);
    if (call->answer.length || !px_mcp_check(call))
        answer(request);
    else if (px_mcp_detaches(call))
        serve(request);
    else if (px_mcp_http_await(request, call, serve))
        return;
    else if (call->forks)
        start_fork(request);
    else if (call->slow || call->lists)
        start(request);
    else
        serve(request);
}
