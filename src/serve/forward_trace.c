/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/forward_trace.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/json_find.h"
#include "serve/server.h"

static bool is_mcp(const struct px_http_request *request)
{
    return strcmp(request->route->name, "mcp") == 0;
}

/* Takes the caller's span from the headers, or else from the body. For MCP it takes it from params._meta of the message, or else from
 * the headers. */
static void find_caller(struct px_forward_trace *trace, const struct px_fleet_call *call)
{
    json_error_t ignored;
    const struct px_http_request *request = trace->request;
    struct px_json_span object = {call->body, call->length};
    struct px_trace_context found;
    trace->own = request->caller;
    snprintf(trace->tracestate, sizeof trace->tracestate, "%s", request->tracestate);
    if (is_mcp(request))
        object = px_json_find(px_json_find(object, "params"), "_meta");
    else if (*trace->own.trace_id)
        return;
    if (!px_json_find(object, "traceparent").at)
        return;
    px_auto_json json_t *read = px_json_read(object.at, object.length, 0, &ignored);
    if (!px_trace_context_parse(json_string_value(json_object_get(read, "traceparent")), &found))
        return;
    const char *state = json_string_value(json_object_get(read, "tracestate"));
    trace->own = found;
    snprintf(trace->tracestate, sizeof trace->tracestate, "%s", state && px_trace_state_is_valid(state) ? state : "");
}

/* True if the gateway makes spans for this request. For MCP, it makes them only for messages that call a tool. */
static bool is_traced(const struct px_http_request *request, const struct px_fleet_call *call)
{
    static const char calls[] = "\"tools/call\"";
    if (!is_mcp(request))
        return request->route->runs || strcmp(request->route->name, "verify") == 0;
    struct px_json_span method = px_json_find((struct px_json_span){call->body, call->length}, "method");
    return method.at && method.length == sizeof calls - 1 && memcmp(method.at, calls, method.length) == 0;
}

/* px_fleet_tracer.begins. If the trace is not recorded, nodes get the caller's span and the flag "not sampled". */
static void begins(struct px_fleet_tracer *tracer, char traceparent[PX_TRACEPARENT_SIZE])
{
    struct px_forward_trace *trace = (struct px_forward_trace *)tracer;
    if (px_trace_make_id(trace->sent, 16) < 0) {
        trace->recorded = false;
        trace->own.flags = 0;
    }
    struct px_trace_context sent = trace->own;
    if (trace->recorded)
        memcpy(sent.span_id, trace->sent, sizeof sent.span_id);
    else if (*trace->parent)
        memcpy(sent.span_id, trace->parent, sizeof sent.span_id);
    px_trace_context_format(&sent, traceparent);
}

/* px_fleet_tracer.ended */
static void ended(struct px_fleet_tracer *tracer, const struct px_fleet_sent *sent)
{
    struct px_forward_trace *trace = (struct px_forward_trace *)tracer;
    struct px_span_text *to = &trace->spans;
    char name[160], status[12];
    if (!trace->recorded)
        return;
    snprintf(name, sizeof name, "send %s", sent->destination);
    px_span_begin(to, trace->sent, trace->own.span_id, false, name, PX_SPAN_PRODUCER, sent->begun_ns, px_now_ns());
    px_span_string(to, "messaging.system", "nats");
    px_span_string(to, "messaging.operation.name", "send");
    px_span_string(to, "messaging.operation.type", "send");
    px_span_string(to, "messaging.destination.template", sent->destination);
    px_span_integer(to, "messaging.message.body.size", (int64_t)sent->bytes);
    px_span_string(to, "pyexec.node", sent->node);
    if (sent->status)
        px_span_integer(to, "pyexec.response.status_code", sent->status);
    snprintf(status, sizeof status, "%d", sent->status);
    px_span_end(to, sent->failed ? sent->failed : sent->status >= 500 ? status : NULL, NULL);
}

void px_forward_trace_begin(struct px_forward_trace *trace, struct px_http_request *request, struct px_fleet_call *call)
{
    struct px_telemetry *telemetry = request->server->telemetry;
    trace->request = NULL;
    if (!telemetry || !is_traced(request, call))
        return;
    *trace = (struct px_forward_trace){.tracer = {begins, ended}, .request = request};
    find_caller(trace, call);
    const struct px_trace_context caller = trace->own;
    memcpy(trace->parent, caller.span_id, sizeof trace->parent);
    memcpy(trace->own.span_id, request->span, sizeof trace->own.span_id); /* the answer names it */
    if ((!*trace->own.trace_id && px_trace_make_id(trace->own.trace_id, 32) < 0) ||
        (!*trace->own.span_id && px_trace_make_id(trace->own.span_id, 16) < 0)) {
        trace->request = NULL;
        return;
    }
    trace->recorded = px_trace_is_recorded(px_telemetry_sampler(telemetry), &caller, trace->own.trace_id);
    trace->own.flags = trace->recorded ? PX_TRACE_SAMPLED : 0;
    trace->spans.trace_id = trace->own.trace_id;
    trace->spans.tracestate = *trace->tracestate ? trace->tracestate : NULL;
    trace->spans.flags = trace->own.flags;
    trace->spans.epoch_ns = px_span_epoch();
    call->tracer = &trace->tracer;
}

void px_forward_trace_end(struct px_forward_trace *trace, int status)
{
    const struct px_http_request *request = trace->request;
    struct px_span_text *to = &trace->spans;
    char text[160];
    if (!request)
        return;
    if (trace->recorded) {
        snprintf(text, sizeof text, "%s %s", request->method, request->route->path);
        px_span_begin(to, trace->own.span_id, trace->parent, true, text, PX_SPAN_SERVER, request->started_ns,
                      px_now_ns());
        px_span_string(to, "http.request.method", request->method);
        px_span_string(to, "http.route", request->route->path);
        px_span_integer(to, "http.response.status_code", status);
        px_span_string(to, "pyexec.principal", request->principal->name);
        snprintf(text, sizeof text, "%d", status);
        px_span_end(to, status >= 500 ? text : NULL, NULL);
        px_telemetry_add(request->server->telemetry, to);
    }
    px_buffer_done(&to->text);
}
