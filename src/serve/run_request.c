/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/run_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/message_header.h"
#include "mcp/mcp.h"
#include "policy/policy.h"
#include "serve/mcp_servers.h"
#include "serve/packages.h"
#include "serve/server.h"

int px_run_request_check(struct px_http_request *request, pyexec_error *error)
{
    if (request->principal->kept_bytes - request->kept_bytes < (long)PX_UNREAD_MAX)
        return 0;
    px_error_set(error, PYEXEC_OVERLOADED, "too many unread responses for this caller (limit %u MiB)",
                 PX_UNREAD_MAX >> 20);
    error->retry_after_ms = 1000;
    return px_error_hint(error, "Read the answers of earlier calls, or close their connections.");
}

int px_run_request_servers(struct px_http_request *request, struct px_principal_servers **ret, pyexec_error *error)
{
    struct px_server *server = request->server;
    *ret = NULL;
    if (!server->mcp_servers)
        return 0;
    px_auto_free char *names = px_principals_servers(&server->principals, request->principal);
    return names ? px_mcp_servers_take(server->mcp_servers, request->principal->name, names, ret, error)
                 : px_error_oom(error);
}

/* The tools of other servers for one run. */
struct offer {
    struct px_principal_servers *held;
    struct px_client_tools *tools;
};

static int make_offer(struct px_http_request *request, pyexec_request *run, struct offer *ret, pyexec_error *error)
{
    if (px_run_request_servers(request, &ret->held, error) < 0)
        return -1;
    struct px_clients *clients = px_principal_servers_clients(ret->held);
    if (!clients)
        return 0;
    px_clients_wait(clients, PX_MCP_CLIENTS_WAIT_MS);
    ret->tools = px_clients_tools(clients);
    if (!ret->tools)
        return px_error_oom(error);
    pyexec_request_set_tools(run, ret->tools->tools);
    return 0;
}

static void end_offer(struct px_http_request *request, pyexec_request *run, const struct offer *offer)
{
    if (offer->tools)
        pyexec_request_set_tools(run, NULL);
    px_client_tools_drop(offer->tools);
    px_mcp_servers_give(request->server->mcp_servers, offer->held);
}

/* The template of an E2B sandbox. It has an effect when the run makes the session. */
static int set_environment(const struct px_http_request *request, pyexec_request *run, pyexec_error *error)
{
    if (!request->environment)
        return 0;
    px_auto_json json_t *keys = json_pack("{s:{s:s}}", "session_policy", "environment", request->environment);
    return keys ? pyexec_request_set_object(run, keys, error) : px_error_oom(error);
}

static int execute(struct px_http_request *request, pyexec_request *run, pyexec_result **ret, pyexec_error *error)
{
    struct px_server *server = request->server;
    struct offer offer = {0};
    int status = set_environment(request, run, error);
    if (status == 0)
        status = make_offer(request, run, &offer, error);
    px_http_request_run(request, run);
    int64_t began = px_now_ns();
    if (status == 0)
        status = request->session_key ? pyexec_execute(server->executor, request->session_key, run, ret, error)
                                      : pyexec_execute_once(server->executor, run, ret, error);
    px_histogram_add(&server->metrics.executions, px_now_ns() - began);
    px_http_request_run(request, NULL);
    end_offer(request, run, &offer);
    return status;
}

int px_run_request_take_message(const struct px_http_request *request, pyexec_request *run, pyexec_error *error)
{
    struct px_message_header told;
    char name[sizeof told.destination + sizeof "process "];
    if (!pyexec_executor_has_tracing(request->server->executor) || !px_message_header_parse(request->message, &told))
        return 0;
    snprintf(name, sizeof name, "process %s", told.destination);
    px_auto_json json_t *attributes =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s}", "messaging.system", "nats", "messaging.operation.name",
                  "process", "messaging.operation.type", "process", "messaging.destination.template", told.destination,
                  "messaging.message.body.size", (json_int_t)told.bytes, "pyexec.node", told.node, "pyexec.principal",
                  request->principal->name);
    if (*told.queue && attributes)
        px_json_set(attributes, "messaging.consumer.group.name", json_string(told.queue));
    return attributes && pyexec_request_set_message_object(run, name, told.arrived_ns, attributes) == 0
               ? 0
               : px_error_oom(error);
}

/* The caller's span is in the headers, or else in the body. */
static int take_trace(const struct px_http_request *request, pyexec_request *run, pyexec_error *error)
{
    char traceparent[PX_TRACEPARENT_SIZE], name[128];
    px_trace_context_format(&request->caller, traceparent);
    if (*request->caller.trace_id)
        pyexec_request_set_traceparent(run, traceparent, *request->tracestate ? request->tracestate : NULL);
    if (!pyexec_executor_has_tracing(request->server->executor))
        return 0;
    if (px_run_request_take_message(request, run, error) < 0)
        return -1;
    const char *route = request->route ? request->route->path : "";
    snprintf(name, sizeof name, "%s %s", request->method, route);
    px_auto_json json_t *attributes = json_pack("{s:s, s:s, s:s}", "http.request.method", request->method, "http.route",
                                                route, "pyexec.principal", request->principal->name);
    const char *span = *request->span ? request->span : NULL;
    return attributes && pyexec_request_set_span_object(run, name, PYEXEC_SPAN_SERVER, span, attributes) == 0
               ? 0
               : px_error_oom(error);
}

/* What both kinds of work have in common before they begin. */
static int begin(struct px_http_request *request, pyexec_request *run, pyexec_error *error)
{
    struct px_server *server = request->server;
    px_histogram_add(&server->metrics.waits, px_now_ns() - request->job.submitted_ns);
    if (px_run_request_check(request, error) < 0)
        return -1;
    px_principals_limit(&server->principals, request->principal, run);
    pyexec_request_set_turn(run, request->job.turn);
    return take_trace(request, run, error);
}

int px_run_request_verify(struct px_http_request *request, pyexec_request *run, json_t *object, char **ret,
                          pyexec_error *error)
{
    struct px_server *server = request->server;
    pyexec_verify_counts counts = {0};
    if (begin(request, run, error) < 0)
        return -1;
    pyexec_request_restrict(run, PYEXEC_NO_HOST_WORKSPACE);
    px_http_request_run(request, run);
    int64_t began = px_now_ns();
    int status = pyexec_verify_object(server->executor, run, object, ret, &counts, error);
    px_histogram_add(&server->metrics.executions, px_now_ns() - began);
    px_http_request_run(request, NULL);
    if (pyexec_request_was_sent(run))
        px_log_verify(&server->log, request, status == 0 ? &counts : NULL, error);
    if (status == 0)
        request->outcome = counts.passed == counts.tests ? "passed" : "failed";
    return status;
}

int px_run_request(struct px_http_request *request, pyexec_request *run, pyexec_result **ret, pyexec_error *error)
{
    struct px_server *server = request->server;
    pyexec_result *result = NULL;
    if (begin(request, run, error) < 0 || px_packages_prepare(request, run, error) < 0)
        return -1;
    int status = execute(request, run, &result, error);
    if (pyexec_request_was_sent(run))
        px_log_run(&server->log, request, result, error);
    const char *text = status == 0 ? pyexec_result_json(result) : NULL;
    if (status == 0 && !text) {
        pyexec_result_free(result);
        return px_error_oom(error);
    }
    if (status < 0)
        return -1;
    request->outcome = pyexec_status_name(pyexec_result_status(result));
    *ret = result;
    return 0;
}

int px_run_request_policy(struct px_http_request *request, struct px_policy *ret, pyexec_error *error)
{
    px_auto(px_policy_done) struct px_policy most = {0};
    px_auto_json json_t *limits = px_principals_ceiling(&request->server->principals, request->principal);
    if (px_policy_copy(ret, request->server->options->policy, error) < 0)
        return -1;
    if (!json_object_size(limits))
        return 0;
    memset(ret->origin, PX_ORIGIN_FILE,
           sizeof ret->origin); /* the caller asked for none of these values, so a ceiling may lower each */
    if (px_policy_copy(&most, ret, error) < 0 || px_policy_merge_json(&most, limits, PX_ORIGIN_REQUEST, error) < 0)
        return -1;
    return px_policy_limit(ret, &most, false, error);
}
