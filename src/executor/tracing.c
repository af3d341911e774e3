/* SPDX-License-Identifier: Apache-2.0 */
#include "executor/tracing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/json_text.h"
#include "base/utf8.h"
#include "executor/session.h"
#include "result/result.h"
#include "runner/trace.h"

#define MESSAGE_MAX 1024 /* bytes of an error message */
/* Bits in the `flags` of a span (opentelemetry/proto/trace/v1). Both set: the parent is in another process. */
#define HAS_IS_REMOTE 0x100u
#define IS_REMOTE 0x200u

enum { STATUS_UNSET = 0, STATUS_ERROR = 2 };

int pyexec_executor_set_tracing(pyexec_executor *executor, const char *sampler, double ratio, unsigned flags,
                                pyexec_spans_fn fn, void *userdata, pyexec_error *error)
{
    static const char parentbased[] = "parentbased_";
    const char *word = sampler;
    bool follows = strncmp(word, parentbased, sizeof parentbased - 1) == 0;
    word += follows ? sizeof parentbased - 1 : 0;
    bool by_ratio = strcmp(word, "traceidratio") == 0, always = strcmp(word, "always_on") == 0;
    if (!by_ratio && !always && strcmp(word, "always_off") != 0) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "no such sampler: '%.60s'", sampler);
        return px_error_hint(error, "Use always_on, always_off or traceidratio, or one of them after parentbased_.");
    }
    if (by_ratio && !(ratio >= 0 && ratio <= 1)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "the sampler's ratio is not between 0 and 1");
        return px_error_hint(error, "Give the part of the traces that is recorded: 0.25 for every fourth.");
    }
    executor->tracing = (struct px_tracing){
        .fn = fn, .userdata = userdata, .flags = flags, .follows_parent = follows, .ratio = by_ratio ? ratio : always};
    return 0;
}

bool pyexec_executor_has_tracing(const pyexec_executor *executor)
{
    return executor->tracing.fn;
}

/* ---- Sampling ---- */

/* The last 16 digits of the id decide, as in the samplers of Go and Python: with the same ratio they choose the same traces. */
static bool is_chosen(const char *trace_id, double ratio)
{
    uint64_t number = strtoull(trace_id + 16, NULL, 16) >> 1;
    return ratio >= 1 || number < (uint64_t)(ratio * (double)(UINT64_C(1) << 63));
}

static bool is_recorded(const struct px_tracing *tracing, const struct px_trace_context *parent, const char *trace_id)
{
    if (*parent->trace_id && tracing->follows_parent)
        return parent->flags & PX_TRACE_SAMPLED;
    return is_chosen(trace_id, tracing->ratio);
}

static int make_ids(struct px_trace *trace, const pyexec_request *request)
{
    struct px_trace_context *own = &trace->context;
    *own = request->parent;
    memcpy(trace->parent, own->span_id, sizeof trace->parent);
    if ((!*own->trace_id && px_trace_make_id(own->trace_id, 32) < 0) || px_trace_make_id(trace->run_span, 16) < 0)
        return -1;
    memcpy(own->span_id, request->span.id, sizeof own->span_id);
    return *own->span_id ? 0 : px_trace_make_id(own->span_id, 16);
}

/* A server's job has waited since it was added to the queue. Only its first execution counts this wait. */
static int64_t waiting_since(const pyexec_request *request)
{
    int64_t added = request->turn ? request->turn->job.added_ns : 0;
    if (added)
        request->turn->job.added_ns = 0;
    return added ? added : px_now_ns();
}

void px_tracing_begin(const pyexec_executor *executor, pyexec_request *request)
{
    if (!executor->tracing.fn)
        return;
    struct px_trace *trace = calloc(1, sizeof *trace);
    if (!trace || make_ids(trace, request) < 0) {
        free(trace);
        return;
    }
    trace->recorded = is_recorded(&executor->tracing, &request->parent, trace->context.trace_id);
    trace->context.flags = trace->recorded ? PX_TRACE_SAMPLED : 0;
    /* A span that is not recorded can't be a parent: what is below it belongs to the caller's span. */
    if (!trace->recorded && *trace->parent)
        memcpy(trace->context.span_id, trace->parent, sizeof trace->parent);
    trace->begin_ns = waiting_since(request);
    request->trace = trace;
}

/* ---- Writing ---- */

/* Spans as text, and what all of them share. */
struct span_writer {
    struct px_buffer text;
    size_t count;
    const struct px_trace *trace;
    const char *tracestate;
    int64_t epoch_ns; /* CLOCK_REALTIME minus CLOCK_MONOTONIC */
    bool has_attributes;
};

static void add_string(struct px_buffer *out, const char *text)
{
    px_json_text_string(out, text, strlen(text));
}

static void begin_span(struct span_writer *to, const char *id, const char *parent, const char *name, int kind,
                       int64_t begin_ns, int64_t end_ns)
{
    struct px_buffer *out = &to->text;
    bool remote = parent == to->trace->parent;
    px_buffer_printf(out, "%s{\"traceId\":\"%s\",\"spanId\":\"%s\"", to->count++ ? "," : "",
                     to->trace->context.trace_id, id);
    if (*parent)
        px_buffer_printf(out, ",\"parentSpanId\":\"%s\"", parent);
    if (to->tracestate) {
        px_buffer_add_string(out, ",\"traceState\":");
        add_string(out, to->tracestate);
    }
    px_buffer_printf(out, ",\"flags\":%u,\"kind\":%d,\"name\":",
                     to->trace->context.flags | HAS_IS_REMOTE | (remote && *parent ? IS_REMOTE : 0), kind);
    add_string(out, name);
    px_buffer_printf(out, ",\"startTimeUnixNano\":\"%" PRId64 "\",\"endTimeUnixNano\":\"%" PRId64 "\",\"attributes\":[",
                     to->epoch_ns + begin_ns, to->epoch_ns + (end_ns < begin_ns ? begin_ns : end_ns));
    to->has_attributes = false;
}

static void begin_attribute(struct span_writer *to, const char *key)
{
    px_buffer_add_string(&to->text, to->has_attributes ? ",{\"key\":" : "{\"key\":");
    add_string(&to->text, key);
    px_buffer_add_string(&to->text, ",\"value\":{");
    to->has_attributes = true;
}

static void add_text(struct span_writer *to, const char *key, const char *text)
{
    if (!text)
        return;
    begin_attribute(to, key);
    px_buffer_add_string(&to->text, "\"stringValue\":");
    add_string(&to->text, text);
    px_buffer_add_string(&to->text, "}}");
}

static void add_integer(struct span_writer *to, const char *key, int64_t number)
{
    begin_attribute(to, key);
    px_buffer_printf(&to->text, "\"intValue\":\"%" PRId64 "\"}}", number);
}

static void add_real(struct span_writer *to, const char *key, double number)
{
    begin_attribute(to, key);
    px_buffer_add_string(&to->text, "\"doubleValue\":");
    px_json_text_real(&to->text, number);
    px_buffer_add_string(&to->text, "}}");
}

static void add_boolean(struct span_writer *to, const char *key, bool value)
{
    begin_attribute(to, key);
    px_buffer_printf(&to->text, "\"boolValue\":%s}}", value ? "true" : "false");
}

/* Adds the attributes that the front has given. Other types are left out. */
static void add_given(struct span_writer *to, json_t *attributes)
{
    const char *key;
    json_t *value;
    json_object_foreach(attributes, key, value) {
        if (json_is_string(value))
            add_text(to, key, json_string_value(value));
        else if (json_is_integer(value))
            add_integer(to, key, json_integer_value(value));
        else if (json_is_real(value))
            add_real(to, key, json_real_value(value));
        else if (json_is_boolean(value))
            add_boolean(to, key, json_is_true(value));
    }
}

/* `error` is the error.type of a span that failed, or NULL. */
static void end_span(struct span_writer *to, const char *error, const char *message)
{
    char shown[MESSAGE_MAX + 1];
    add_text(to, "error.type", error);
    px_buffer_printf(&to->text, "],\"status\":{\"code\":%d", error ? STATUS_ERROR : STATUS_UNSET);
    if (error && message) {
        size_t length = strnlen(message, MESSAGE_MAX);
        while (length && !px_utf8_valid(message, length, NULL))
            length--;
        memcpy(shown, message, length);
        shown[length] = '\0';
        px_buffer_add_string(&to->text, ",\"message\":");
        add_string(&to->text, shown);
    }
    px_buffer_add_string(&to->text, "}}");
}

/* ---- The spans ---- */

static void write_execution(struct span_writer *to, const pyexec_request *request, const char *function, unsigned flags,
                            const pyexec_result *result, const pyexec_error *error)
{
    const struct px_trace *trace = to->trace;
    const struct px_request_span *span = &request->span;
    begin_span(to, trace->context.span_id, trace->parent, span->name ? span->name : function,
               span->kind ? span->kind : PYEXEC_SPAN_INTERNAL, trace->begin_ns, px_now_ns());
    if (span->attributes)
        add_given(to, span->attributes);
    if (result) {
        add_text(to, "pyexec.status", pyexec_status_name(result->status));
        if (result->session.id)
            add_integer(to, "pyexec.session.execution_count", (int64_t)result->session.calls);
        if (result->session.id && flags & PYEXEC_TRACE_SESSION_IDS)
            add_text(to, "session.id", result->session.id);
    }
    /* A script that fails is a result: the request itself has succeeded. */
    end_span(to, result ? NULL : pyexec_code_name(error->code), result ? NULL : error->message);
}

static void write_part(struct span_writer *to, const char *name, int64_t begin_ns, int64_t end_ns)
{
    char id[17];
    if (px_trace_make_id(id, 16) < 0) {
        to->text.failed = true;
        return;
    }
    begin_span(to, id, to->trace->context.span_id, name, PYEXEC_SPAN_INTERNAL, begin_ns, end_ns);
}

static void write_run(struct span_writer *to, unsigned flags, pyexec_result *result)
{
    const struct px_trace *trace = to->trace;
    bool failed = !result || result->status != PYEXEC_STATUS_OK;
    begin_span(to, trace->run_span, trace->context.span_id, "run", PYEXEC_SPAN_INTERNAL, trace->run_begin_ns,
               trace->run_end_ns);
    if (result) {
        add_text(to, "pyexec.status", pyexec_status_name(result->status));
        add_real(to, "pyexec.cpu_ms", result->cpu_ms);
        add_integer(to, "pyexec.peak_memory_bytes", (int64_t)result->peak_memory_bytes);
        add_integer(to, "pyexec.stdout_bytes", (int64_t)result->streams[0].bytes);
        add_integer(to, "pyexec.stderr_bytes", (int64_t)result->streams[1].bytes);
        if (result->tool_calls)
            add_integer(to, "pyexec.tool_calls", (int64_t)result->tool_calls);
    }
    if (trace->tools_lost)
        add_integer(to, "pyexec.tool_calls_without_span", (int64_t)trace->tools_lost);
    end_span(to,
             !failed  ? NULL
             : result ? pyexec_status_name(result->status)
                      : "internal",
             result && flags & PYEXEC_TRACE_ERRORS ? pyexec_result_error_repr(result) : NULL);
}

static void write_tool(struct span_writer *to, const struct px_trace_tool *tool)
{
    char name[sizeof "execute_tool " + PX_TOOL_NAME_MAX];
    snprintf(name, sizeof name, "execute_tool %s", tool->name);
    begin_span(to, tool->span_id, to->trace->run_span, name, PYEXEC_SPAN_INTERNAL, tool->begin_ns, tool->end_ns);
    add_text(to, "gen_ai.operation.name", "execute_tool");
    add_text(to, "gen_ai.tool.name", tool->name);
    add_text(to, "gen_ai.tool.call.id", tool->call_id);
    end_span(to, tool->error, NULL);
}

static void write_all(struct span_writer *to, const pyexec_request *request, const char *function, unsigned flags,
                      const pyexec_result *result, const pyexec_error *error)
{
    const struct px_trace *trace = to->trace;
    write_execution(to, request, function, flags, result, error);
    if (trace->admitted_ns) {
        write_part(to, "queue", trace->begin_ns, trace->admitted_ns);
        end_span(to, NULL, NULL);
    }
    if (trace->child_ns) {
        write_part(to, "clone", trace->admitted_ns, trace->child_ns);
        add_text(to, "pyexec.process", trace->pooled ? "pool" : "clone");
        end_span(to, NULL, NULL);
    }
    if (trace->run_begin_ns)
        write_run(to, flags, (pyexec_result *)(uintptr_t)result);
    for (size_t i = 0; i < trace->tool_count; i++)
        write_tool(to, &trace->tools[i]);
}

void px_tracing_end(const pyexec_executor *executor, pyexec_request *request, const char *function,
                    const pyexec_result *result, const pyexec_error *error)
{
    struct px_trace *trace = TAKE_PTR(request->trace);
    if (!trace)
        return;
    if (trace->recorded) {
        struct span_writer to = {
            .trace = trace, .tracestate = request->tracestate, .epoch_ns = px_clock_ns(CLOCK_REALTIME) - px_now_ns()};
        write_all(&to, request, function, executor->tracing.flags, result, error);
        if (px_buffer_ok(&to.text))
            executor->tracing.fn(executor->tracing.userdata, to.text.data, to.text.length, to.count);
        px_buffer_done(&to.text);
    }
    free(trace->tools);
    free(trace);
}

int pyexec_execute_once(pyexec_executor *executor, pyexec_request *request, pyexec_result **ret, pyexec_error *error)
{
    px_tracing_begin(executor, request);
    int status = px_execute_once(executor, request, ret, error);
    px_tracing_end(executor, request, "execute_once", status == 0 ? *ret : NULL, error);
    return status;
}

int pyexec_execute(pyexec_executor *executor, const char *session_id, pyexec_request *request, pyexec_result **ret,
                   pyexec_error *error)
{
    px_tracing_begin(executor, request);
    int status = px_session_execute(executor, session_id, request, ret, error);
    px_tracing_end(executor, request, "execute", status == 0 ? *ret : NULL, error);
    return status;
}
