/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/forward.h"

#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "serve/fleet.h"
#include "serve/forward_trace.h"
#include "serve/run_request.h"
#include "serve/server.h"
#include "serve/sse.h"

#define UNREAD_BYTES (1 << 20) /* more of one answer waits in NATS, and then at the node */

/* Headers that the node gets. */
static const char *const passed[] = {
    "Accept",      "Content-Type",         "Range",      "Last-Event-ID", "traceparent",   "tracestate", "Pyexec-Key",
    "Pyexec-Keep", "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name",      "Mcp-Session-Id"};

static bool begin(struct px_http_request *request)
{
    return request->stream || px_sse_begin(request) == 0;
}

static void add_line(struct px_buffer *text, const char *name, const char *id, const char *data, size_t length)
{
    if (id)
        px_buffer_printf(text, "id: %s\n", id);
    px_buffer_printf(text, "event: %s\ndata: ", name);
    px_buffer_add(text, data, length);
    px_buffer_add_string(text, "\n\n");
}

/* px_fleet_call.event */
static void take_event(void *closure, const char *name, const char *id, const char *data, size_t length)
{
    px_auto_buffer struct px_buffer text = {0};
    if (!begin(closure) || !length)
        return;
    add_line(&text, name, id, data, length);
    px_sse_add(closure, &text, false);
}

/* px_fleet_call.may_send */
static bool may_send(void *closure)
{
    const struct px_http_request *request = closure;
    return request->kept_bytes < UNREAD_BYTES;
}

/* True if an answer with the status 200 comes as events. */
static bool has_events(const struct px_route *route)
{
    return route->runs || strcmp(route->name, "execution_get") == 0;
}

/* The answer to a message of MCP may have been an event: then there is no body. */
static void end_stream(struct px_http_request *request, const struct px_fleet_answer *answer)
{
    px_auto_buffer struct px_buffer text = {0};
    bool mcp = strcmp(request->route->name, "mcp") == 0;
    if (!mcp || px_buffer_length(&answer->body))
        add_line(&text,
                 mcp                             ? "message"
                 : answer->status == MHD_HTTP_OK ? "result"
                                                 : "error",
                 NULL, px_buffer_shown(&answer->body), px_buffer_length(&answer->body));
    px_sse_add(request, &text, true);
}

static void respond(struct px_http_request *request, struct px_fleet_answer *answer)
{
    size_t length = answer->body.length;
    char *bytes = px_buffer_take(&answer->body);
    struct MHD_Response *response =
        bytes ? MHD_create_response_from_buffer(length, bytes, MHD_RESPMEM_MUST_FREE) : NULL;
    const char *at = px_buffer_shown(&answer->headers), *end = at + px_buffer_length(&answer->headers);
    for (; response && at < end; at += strlen(at) + 1) {
        const char *name = at;
        at += strlen(at) + 1;
        MHD_add_response_header(response, name, at);
    }
    if (response)
        MHD_add_response_header(response, "Cache-Control", "no-store");
    if (strcmp(request->method, "HEAD") != 0)
        request->answer_bytes += length;
    px_http_request_keep(request, (long)length);
    px_respond(request, answer->status, response);
}

/* The nodes belong to the operator, who can use the socket of this server. */
static bool may_ask(struct px_http_request *request)
{
    if (!request->route->fleet || request->principal == &request->server->principals.local)
        return true;
    px_respond_problem(request, MHD_HTTP_FORBIDDEN, "forbidden", "only the operator sees the nodes",
                       "Ask on the UNIX socket of this server, without a token, or with `pyexec fleet`.");
    return false;
}

/* Waits for the answer. Whoever ends the request meanwhile cancels the call. */
static void wait_for_node(struct px_http_request *request, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    struct px_fleet *fleet = request->server->options->fleet;
    pthread_mutex_lock(&request->lock);
    request->forwarded = call;
    call->cancelled = request->cancelled;
    pthread_mutex_unlock(&request->lock);
    int64_t begun = px_now_ns();
    fleet->call(fleet, call, ret);
    px_histogram_add(&request->server->metrics.forwarded, px_now_ns() - begun);
    pthread_mutex_lock(&request->lock);
    request->forwarded = NULL;
    pthread_mutex_unlock(&request->lock);
}

void px_forward_serve(struct px_http_request *request)
{
    struct px_fleet_header headers[PX_COUNT(passed) + 1] = {{"X-Request-Id", request->id}};
    struct px_fleet_answer answer __attribute__((cleanup(px_fleet_answer_done))) = {0};
    pyexec_error error;
    if (!may_ask(request))
        return;
    if (request->route->runs && px_run_request_check(request, &error) < 0) {
        px_respond_error(request, &error);
        return;
    }
    for (size_t i = 0; i < PX_COUNT(passed); i++)
        headers[i + 1] = (struct px_fleet_header){passed[i], px_http_request_header(request, passed[i])};
    struct px_fleet_call call = {.method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method,
                                 .target = request->target,
                                 .route = request->route->name,
                                 .principal = request->principal->name,
                                 .session = request->session,
                                 .named = request->named,
                                 .headers = headers,
                                 .header_count = PX_COUNT(headers),
                                 .body = px_buffer_string(&request->body),
                                 .length = request->body.length,
                                 .events = px_sse_wanted(request),
                                 .event = take_event,
                                 .may_send = may_send,
                                 .closure = request};
    struct px_forward_trace trace;
    px_forward_trace_begin(&trace, request, &call);
    for (size_t i = 0; call.tracer && i < PX_COUNT(headers); i++)
        if (strcmp(headers[i].name, "tracestate") == 0)
            headers[i].value = *trace.tracestate ? trace.tracestate : NULL;
    wait_for_node(request, &call, &answer);
    px_forward_trace_end(&trace, answer.status); /* before the client has the answer */
    if (request->stream)
        end_stream(request, &answer);
    else if (call.events && answer.status == MHD_HTTP_OK && has_events(request->route) && begin(request))
        end_stream(request, &answer);
    else
        respond(request, &answer);
}
