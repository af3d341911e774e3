/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the API: runs and sessions. The routes of files are in file_routes.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/json_text.h"
#include "base/spelling.h"
#include "jsonrpc/json_diagnose.h"
#include "serve/control.h"
#include "serve/detached.h"
#include "serve/drive.h"
#include "serve/execution.h"
#include "serve/file_routes.h"
#include "serve/fleet.h"
#include "serve/fork_route.h"
#include "serve/mcp_http.h"
#include "serve/packages.h"
#include "serve/playground.h"
#include "serve/route.h"
#include "serve/run_request.h"
#include "serve/server.h"
#include "serve/sse.h"
#include "serve/undo_route.h"
#include "serve/verify_route.h"

/* ---- Runs ---- */

/* Gives the hash of the code to the audit log. */
static void log_code(struct px_http_request *request, const json_t *body)
{
    const json_t *code = json_object_get(body, "code");
    if (json_is_string(code))
        px_log_hash(&request->server->log, request, json_string_value(code), json_string_length(code));
}

static int take_body(struct px_http_request *request, pyexec_request *run, struct px_execution **ret_execution,
                     bool *ret_detach, pyexec_error *error)
{
    json_error_t problem;
    const char *body = px_buffer_string(&request->body);
    size_t length = request->body.length;
    px_auto_json json_t *object = px_json_read(body, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    pyexec_request_restrict(run, PYEXEC_NO_HOST_WORKSPACE);
    if (!object && !px_json_no_memory(&problem) && px_json_diagnose(body, length, &problem, error))
        return -1;
    if (!json_is_object(object)) /* the library reports what is wrong with it */
        return pyexec_request_set_json(run, body, length, error);
    log_code(request, object);
    if (px_execution_take(request, object, run, ret_execution, ret_detach, error) < 0)
        return -1;
    if (px_packages_take(request, object, error) < 0)
        return -1;
    /* Without code a detached execution would be accepted, and fail only when it starts. */
    if (*ret_detach && !json_object_get(object, "code")) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "code: missing");
        return px_error_hint(error, "Send the script as code, a string.");
    }
    if (px_control_take(request, object, run, &request->control, error) < 0)
        return -1;
    return pyexec_request_set_object(run, object, error);
}

static pyexec_request *make_run(struct px_http_request *request, struct px_execution **ret_execution, bool *ret_detach,
                                pyexec_error *error)
{
    pyexec_request *run = pyexec_request_new();
    if (!run) {
        px_error_exhausted(error, errno, "can't make the request");
        return NULL;
    }
    if (take_body(request, run, ret_execution, ret_detach, error) < 0) {
        px_control_end(TAKE_PTR(request->control));
        pyexec_request_free(run);
        return NULL;
    }
    return run;
}

static void answer_run(struct px_http_request *request, pyexec_result *result, const pyexec_error *failure)
{
    const char *text = result ? pyexec_result_json(result) : NULL;
    if (!request->stream) {
        if (text)
            px_respond_text(request, MHD_HTTP_OK, "application/json", text, strlen(text));
        else
            px_respond_error(request, failure);
        return;
    }
    if (text) {
        px_sse_end(request, "result", text);
        return;
    }
    px_auto_free char *problem =
        px_problem_json(px_status_of(failure), pyexec_code_name(failure->code), failure->message, failure->hint);
    request->outcome = pyexec_code_name(failure->code);
    request->server->metrics.errors[failure->code]++;
    px_sse_end(request, "error", problem ? problem : "{}");
}

static void run_now(struct px_http_request *request)
{
    pyexec_error error;
    pyexec_result *result = NULL;
    struct px_execution *execution = NULL;
    bool detach = false;
    pyexec_request *run = make_run(request, &execution, &detach, &error);
    if (!run) {
        px_respond_error(request, &error);
        px_execution_free(execution);
        return;
    }
    if (detach) {
        px_detached_start(request, execution, run);
        return;
    }
    if (px_sse_wanted(request) && px_sse_begin(request) == 0) {
        pyexec_request_set_output(run, px_sse_output, request);
        pyexec_request_set_display(run, px_sse_display, request);
        if (request->control)
            px_control_say(request->control, request);
    }
    px_run_request(request, run, &result, &error);
    px_control_end(TAKE_PTR(request->control));
    px_execution_end(execution);
    if (!request->stream)
        px_drive_answers_last(request);
    answer_run(request, result, &error);
    pyexec_result_free(result);
    pyexec_request_free(run);
    px_execution_free(execution);
}

/* Runs without a turn, only to find out whether the execution is detached. */
static void execute(struct px_http_request *request)
{
    pyexec_error error;
    px_auto_json json_t *body = NULL;
    if (request->before_runs) {
        json_error_t problem;
        if (px_http_request_weigh(request, &error) < 0) {
            px_respond_error(request, &error);
            return;
        }
        body = px_json_read(px_buffer_string(&request->body), request->body.length,
                            JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
        if (!json_is_true(json_object_get(body, "detach"))) {
            if (px_http_request_move(request, run_now, &error) < 0)
                px_respond_error(request, &error);
            return;
        }
    }
    run_now(request);
}

/* ---- Sessions ---- */

static void answer_status(struct px_http_request *request, int status, const pyexec_error *error)
{
    if (status < 0)
        px_respond_error(request, error);
    else
        px_respond_empty(request, MHD_HTTP_NO_CONTENT);
}

/* Appends a session without its principal, because that is the caller. With `alone`, also its details. */
static void write_session(struct px_buffer *out, const pyexec_session_info *session, bool alone)
{
    const char *id = pyexec_session_info_id(session), *restarted = pyexec_session_info_restarted(session);
    px_buffer_add_string(out, "{\"id\":");
    px_json_text_string(out, id, strlen(id));
    px_buffer_printf(out, ",\"busy\":%s,\"execution_count\":%llu,\"age_ms\":%lld,\"idle_ms\":%lld",
                     pyexec_session_info_busy(session) ? "true" : "false",
                     (unsigned long long)pyexec_session_info_execution_count(session),
                     (long long)pyexec_session_info_age_ms(session), (long long)pyexec_session_info_idle_ms(session));
    if (alone) {
        px_buffer_add_string(out, ",\"restarted\":");
        px_json_text_string(out, restarted, restarted ? strlen(restarted) : 0);
        px_buffer_add_string(out, ",\"policy\":");
        px_buffer_add_string(out, pyexec_session_info_policy_json(session));
        px_buffer_add_string(out, ",\"tools\":");
        px_buffer_add_string(out, pyexec_session_info_tools_json(session));
        px_buffer_printf(out, ",\"memory_bytes\":%llu,\"private_memory_bytes\":%llu",
                         (unsigned long long)pyexec_session_info_memory_bytes(session),
                         (unsigned long long)pyexec_session_info_private_memory_bytes(session));
    }
    px_buffer_add_byte(out, '}');
}

static bool is_own(const struct px_http_request *request, const pyexec_session_info *session)
{
    const char *principal = pyexec_session_info_principal(session);
    return principal && strcmp(principal, request->principal->name) == 0;
}

static void drop_list(pyexec_session_list **list)
{
    pyexec_session_list_free(*list);
}

static void list_sessions(struct px_http_request *request)
{
    pyexec_error error;
    px_auto_buffer struct px_buffer text = {0};
    pyexec_session_list *list __attribute__((cleanup(drop_list))) = NULL;
    if (pyexec_sessions(request->server->executor, NULL, &list, &error) < 0) {
        px_respond_error(request, &error);
        return;
    }
    bool first = true;
    px_buffer_add_string(&text, "{\"sessions\":[");
    for (size_t i = 0; i < pyexec_session_list_count(list); i++) {
        const pyexec_session_info *session = pyexec_session_list_get(list, i);
        if (!is_own(request, session))
            continue;
        px_buffer_add_string(&text, first ? "" : ",");
        write_session(&text, session, false);
        first = false;
    }
    px_buffer_add_string(&text, "]}");
    px_respond_json(request, MHD_HTTP_OK, px_buffer_take(&text));
}

static void answer_session(struct px_http_request *request, int status)
{
    pyexec_error error;
    px_auto_buffer struct px_buffer text = {0};
    pyexec_session_list *list __attribute__((cleanup(drop_list))) = NULL;
    if (pyexec_sessions(request->server->executor, request->session_key, &list, &error) < 0) {
        px_respond_error(request, &error);
        return;
    }
    write_session(&text, pyexec_session_list_get(list, 0), true);
    px_respond_json(request, status, px_buffer_take(&text));
}

static void show_session(struct px_http_request *request)
{
    answer_session(request, MHD_HTTP_OK);
}

/* Reads the optional body of POST /v1/sessions: {"id": …, "policy": …, "tools": …, "packages": …}. */
static int take_session_body(struct px_http_request *request, json_t **ret, pyexec_error *error)
{
    static const char hint[] = "Each member may be left out; other members are not allowed.";
    px_auto_json json_t *object = px_http_request_object(request, hint, error);
    if (!object || px_packages_take(request, object, error) < 0)
        return -1;
    const json_t *policy = json_object_get(object, "policy"), *given = json_object_get(object, "id");
    const char *id = json_string_value(given), *key;
    json_t *value;
    bool good =
        (!policy || json_is_object(policy)) && (id || !given) && json_string_length(given) == (id ? strlen(id) : 0);
    json_object_foreach(object, key, value)
        good = good && px_word_is_listed("id policy tools", key);
    if (!good) {
        px_error_set(error, PYEXEC_INVALID_REQUEST,
                     "the body must be {\"id\": text, \"policy\": object, \"tools\": list, \"packages\": list}");
        return px_error_hint(error, "%s", hint);
    }
    if (id)
        request->session = strdup(id);
    else
        request->session = px_random_name("s-");
    if (!request->session)
        return px_error_oom(error);
    *ret = json_incref(object);
    if (px_route_session(request) == 0)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "id: not a valid session id");
    return px_error_hint(error, "Use 1 to 128 of A-Z a-z 0-9 . _ : - (and not \".\" or \"..\").");
}

/* `request->json` is the body. */
static void make_session(struct px_http_request *request)
{
    pyexec_error error;
    px_auto_json json_t *policy = json_incref(json_object_get(request->json, "policy"));
    px_auto_json json_t *ceiling = px_principals_ceiling(&request->server->principals, request->principal);
    int status = request->packages ? px_packages_prepare_session(request, &policy, &ceiling, &error) : 0;
    if (status == 0)
        status = pyexec_session_create_tools_object(request->server->executor, request->session_key, policy, ceiling,
                                                    json_object_get(request->json, "tools"), NULL, NULL, &error);
    if (status == 0)
        answer_session(request, MHD_HTTP_CREATED);
    else if (error.code == PYEXEC_INVALID_REQUEST && error.sys_errno == EEXIST)
        px_respond_problem(request, MHD_HTTP_CONFLICT, "conflict", "there is already a session with this id",
                           "Use that session, or choose another id.");
    else
        px_respond_error(request, &error);
}

/* Packages may take minutes, so such a session is made on a thread of runs. */
static void create_session(struct px_http_request *request)
{
    pyexec_error error;
    if (take_session_body(request, &request->json, &error) < 0)
        px_respond_error(request, &error);
    else if (!request->packages)
        make_session(request);
    else if (px_http_request_move(request, make_session, &error) < 0)
        px_respond_error(request, &error);
}

static void close_session(struct px_http_request *request)
{
    pyexec_error error;
    answer_status(request, pyexec_session_close(request->server->executor, request->session_key, &error), &error);
}

static void interrupt(struct px_http_request *request)
{
    pyexec_error error;
    answer_status(request, pyexec_session_interrupt(request->server->executor, request->session_key, &error), &error);
}

/* ---- Probes ---- */

static void healthz(struct px_http_request *request)
{
    px_respond_text(request, MHD_HTTP_OK, "text/plain; charset=utf-8", "ok\n", 3);
}

static void readyz(struct px_http_request *request)
{
    struct px_fleet *fleet = request->server->options->fleet;
    if (request->server->draining)
        px_respond_problem_with(request, MHD_HTTP_SERVICE_UNAVAILABLE, "shutting_down", "the server is shutting down",
                                "Send the request to another server.", "Retry-After", "1");
    else if (fleet && !fleet->is_connected(fleet))
        px_respond_problem_with(request, MHD_HTTP_SERVICE_UNAVAILABLE, "overloaded",
                                "this server has no connection to NATS",
                                "It connects again by itself; its log says why it can't.", "Retry-After", "1");
    else
        healthz(request);
}

static void metrics(struct px_http_request *request)
{
    px_auto_buffer struct px_buffer page = {0};
    px_metrics_write(request->server, &page);
    px_respond_text(request, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", px_buffer_string(&page),
                    page.length);
}

static void list_environments(struct px_http_request *request)
{
    pyexec_error error;
    json_t *list;
    px_auto_json json_t *ceiling = px_principals_ceiling(&request->server->principals, request->principal);
    if (pyexec_environments_object(request->server->executor, ceiling, &list, &error) < 0) {
        px_respond_error(request, &error);
        return;
    }
    px_respond_json(request, MHD_HTTP_OK, px_json_take_text(json_pack("{s:o}", "environments", list)));
}

static void openapi(struct px_http_request *request)
{
    const char *text = request->server->openapi;
    px_respond_text(request, MHD_HTTP_OK, "application/json", text, strlen(text));
}

/* ---- The table ---- */

const struct px_route px_routes[] = {
    {"POST", "/v1/execute", "execute", "Run a script once, in a process of its own.", PX_BODY_JSON, .runs = true,
     .serve = execute},
    {"POST", "/v1/verify", "verify", "Run a solution against many tests, each in a fork of it.", PX_BODY_JSON,
     .serve = px_verify_route_serve},
    {"POST", "/v1/sessions", "session_create", "Make a session.", PX_BODY_JSON, .serve = create_session},
    {"GET", "/v1/sessions", "session_list", "The caller's sessions.", .serve = list_sessions},
    {"GET", "/v1/environments", "environment_list", "The environments that the caller may choose.",
     .serve = list_environments},
    {"GET", "/v1/sessions/{id}", "session_get", "One session, with its policy.", .serve = show_session},
    {"DELETE", "/v1/sessions/{id}", "session_close", "End a session; its running call is cancelled.",
     .serve = close_session},
    {"POST", "/v1/sessions/{id}/execute", "session_execute",
     "Run code in a session, which is made if it does not exist.", PX_BODY_JSON, .runs = true, .serve = execute},
    {"POST", "/v1/sessions/{id}/interrupt", "session_interrupt", "Interrupt the running call as Ctrl-C would.",
     PX_BODY_NONE, .serve = interrupt},
    {"POST", "/v1/sessions/{id}/fork", "session_fork", "Make sessions that go on from the state of this one.",
     PX_BODY_JSON, .serve = px_fork_route_serve},
    {"POST", "/v1/sessions/{id}/undo", "session_undo", "Return to the state before a call.", PX_BODY_JSON,
     .serve = px_undo_route_serve},
    {"POST", "/v1/sessions/{id}/reset", "session_reset", "Return to the state before the first call.", PX_BODY_JSON,
     .serve = px_undo_route_serve_reset},
    {"GET", "/v1/sessions/{id}/files", "file_list",
     "The files of the workspace; as a tar archive with Accept: application/x-tar.", .serve = px_file_routes_list},
    {"PUT", "/v1/sessions/{id}/files", "files_put", "Unpack a tar archive into the workspace.", PX_BODY_FILE,
     .serve = px_file_routes_unpack, .open_body = px_file_routes_open_archive},
    {"GET", "/v1/sessions/{id}/files/{path}", "file_get", "A file's bytes, or a range of them.",
     .serve = px_file_routes_get},
    {"PUT", "/v1/sessions/{id}/files/{path}", "file_put", "Write a file.", PX_BODY_FILE, .serve = px_file_routes_put,
     .open_body = px_file_routes_open},
    {"DELETE", "/v1/sessions/{id}/files/{path}", "file_delete", "Remove a file.", .serve = px_file_routes_delete},
    {"POST", "/v1/calls/{call_id}", "call_answer", "Answer a tool call of a script.", PX_BODY_JSON, .late = true,
     .no_session = true, .serve = px_call_route_answer},
    {"GET", "/v1/executions", "execution_list",
     "The caller's detached executions, and all tool calls that wait for the caller's answer.", .late = true,
     .serve = px_detached_route_list},
    {"GET", "/v1/executions/{id}", "execution_get", "The state of a detached execution and its result, or its events.",
     .late = true, .no_session = true, .serve = px_detached_route_show},
    {"DELETE", "/v1/executions/{id}", "execution_cancel", "Cancel a detached execution.", .late = true,
     .no_session = true, .serve = px_detached_route_cancel},
    {"POST", "/v1/runs/{run_id}/interrupt", "run_interrupt", "Interrupt a run with `control` as Ctrl-C would.",
     PX_BODY_NONE, .late = true, .no_session = true, .serve = px_control_route_interrupt},
    {"POST", "/v1/runs/{run_id}/stdin", "run_input",
     "Send standard input to a run with `control`; an empty body ends the input.", PX_BODY_JSON, .late = true,
     .no_session = true, .serve = px_control_route_input},
    {"DELETE", "/v1/runs/{run_id}", "run_cancel", "Cancel a run with `control`, which still gets its result.",
     .late = true, .no_session = true, .serve = px_control_route_cancel},
    {"POST", "/mcp", "mcp", "Model Context Protocol, Streamable HTTP: one JSON-RPC message.", PX_BODY_JSON,
     .serve = px_mcp_http_answer},
    {"GET", "/v1/nodes", "node_list", "The nodes of the fleet.", .fleet = true, .serve = NULL},
    {"POST", "/v1/nodes/{node}/drain", "node_drain", "Let a node of the fleet finish its work and end.", PX_BODY_NONE,
     .fleet = true, .no_session = true, .serve = NULL},
    {"GET", "/healthz", "healthz", "Whether the server is alive.", .open = true, .probe = true, .inline_ = true,
     .serve = healthz},
    {"GET", "/readyz", "readyz", "Whether the server accepts work.", .open = true, .probe = true, .inline_ = true,
     .serve = readyz},
    {"GET", "/metrics", "metrics", "Prometheus metrics.", .probe = true, .inline_ = true, .serve = metrics},
    {"GET", "/openapi.json", "openapi", "This document.", .open = true, .inline_ = true, .serve = openapi},
    {"GET", "/", "playground", "The playground: a page for people.", .open = true, .inline_ = true, .page = true,
     .serve = px_playground_page},
    {"GET", "/playground/{path}", "playground_file", "The files of the playground.", .open = true, .inline_ = true,
     .page = true, .serve = px_playground_file},
    {"GET", "/health", "dialect_health", "", .open = true, .inline_ = true, .dialects = PX_E2B | PX_DIFY_SANDBOX,
     .serve = px_dialect_health},
    {"POST", "/execute", "e2b_execute", "", PX_BODY_JSON, .dialects = PX_E2B, .serve = px_e2b_execute},
    {"POST", "/contexts", "e2b_context_create", "", PX_BODY_JSON, .dialects = PX_E2B, .serve = px_e2b_create},
    {"GET", "/contexts", "e2b_context_list", "", .dialects = PX_E2B, .serve = px_e2b_list},
    {"DELETE", "/contexts/{id}", "e2b_context_delete", "", .dialects = PX_E2B, .serve = px_e2b_delete},
    {"POST", "/contexts/{id}/restart", "e2b_context_restart", "", .dialects = PX_E2B, .serve = px_e2b_restart},
    {"POST", "/v2/sandboxes", "e2b_sandbox_create", "", PX_BODY_JSON, .dialects = PX_E2B,
     .serve = px_e2b_sandbox_create},
    {"POST", "/v2/sandboxes/{id}/connect", "e2b_sandbox_connect", "", PX_BODY_JSON, .dialects = PX_E2B,
     .serve = px_e2b_sandbox_connect},
    {"POST", "/sandboxes/{id}/timeout", "e2b_sandbox_timeout", "", PX_BODY_JSON, .dialects = PX_E2B,
     .serve = px_e2b_sandbox_timeout},
    {"DELETE", "/sandboxes/{id}", "e2b_sandbox_kill", "", .dialects = PX_E2B, .serve = px_e2b_sandbox_kill},
    {"GET", "/files", "e2b_file_read", "", .dialects = PX_E2B, .serve = px_e2b_file_read},
    {"POST", "/files", "e2b_file_write", "", PX_BODY_JSON, .dialects = PX_E2B, .serve = px_e2b_file_write},
    {"POST", "/filesystem.Filesystem/{call}", "e2b_filesystem", "", PX_BODY_JSON, .dialects = PX_E2B,
     .serve = px_e2b_filesystem},
    {"POST", "/process.Process/Start", "e2b_start", "", PX_BODY_JSON, .dialects = PX_E2B, .serve = px_e2b_start},
    {"POST", "/process.Process/{call}", "e2b_process", "", PX_BODY_JSON, .dialects = PX_E2B, .serve = px_e2b_process},
    {"POST", "/v1/sandbox/run", "dify_run", "", PX_BODY_JSON, .runs = true, .dialects = PX_DIFY_SANDBOX,
     .serve = px_dify_run},
    {"GET", "/v1/sandbox/dependencies", "dify_dependencies", "", .dialects = PX_DIFY_SANDBOX,
     .serve = px_dify_dependencies},
    {"GET", "/v1/sandbox/dependencies/refresh", "dify_dependencies", "", .dialects = PX_DIFY_SANDBOX,
     .serve = px_dify_dependencies},
    {"POST", "/v1/sandbox/dependencies/update", "dify_update", "", PX_BODY_JSON, .dialects = PX_DIFY_SANDBOX,
     .serve = px_dify_update},
    {"POST", "/run_code", "fusion_run_code", "", PX_BODY_JSON, .runs = true, .dialects = PX_SANDBOX_FUSION,
     .serve = px_fusion_run_code},
    {"POST", "/submit", "fusion_submit", "", PX_BODY_JSON, .dialects = PX_SANDBOX_FUSION, .serve = px_fusion_submit},
    {"GET", "/v1/ping", "fusion_ping", "", .open = true, .inline_ = true, .dialects = PX_SANDBOX_FUSION,
     .serve = px_fusion_ping},
};
const size_t px_route_count = PX_COUNT(px_routes);
_Static_assert(PX_COUNT(px_routes) < PX_METRIC_ROUTES, "each route has its counters");
