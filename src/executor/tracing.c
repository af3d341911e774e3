/* SPDX-License-Identifier: Apache-2.0 */
#include "executor/tracing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/span_text.h"
#include "executor/session.h"
#include "result/result.h"
#include "runner/trace.h"

int pyexec_executor_set_tracing(pyexec_executor *executor, const char *sampler, double ratio, unsigned flags,
                                pyexec_spans_fn fn, void *userdata, pyexec_error *error)
{
    struct px_trace_sampler chosen;
    if (px_trace_sampler_parse(sampler, ratio, &chosen) < 0) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "the sampler '%.60s' with the ratio %g is not valid", sampler,
                     ratio);
        return px_error_hint(
            error,
            "Use always_on, always_off or traceidratio, or one of them after parentbased_. The ratio is the part of the "
            "traces that is recorded: 0.25 for every fourth.");
    }
    executor->tracing = (struct px_tracing){.fn = fn, .userdata = userdata, .flags = flags, .sampler = chosen};
    return 0;
}

bool pyexec_executor_has_tracing(const pyexec_executor *executor)
{
    return executor->tracing.fn;
}

/* ---- The beginning ---- */

static int make_ids(struct px_trace *trace, const pyexec_request *request)
{
    struct px_trace_context *own = &trace->context;
    *own = request->parent;
    memcpy(trace->parent, own->span_id, sizeof trace->parent);
    if ((!*own->trace_id && px_trace_make_id(own->trace_id, 32) < 0) || px_trace_make_id(trace->run_span, 16) < 0)
        return -1;
    if (request->message.name && px_trace_make_id(trace->message_span, 16) < 0)
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
    trace->recorded = px_trace_is_recorded(&executor->tracing.sampler, &request->parent, trace->context.trace_id);
    trace->context.flags = trace->recorded ? PX_TRACE_SAMPLED : 0;
    /* A span that is not recorded can't be a parent: what is below it belongs to the caller's span. */
    if (!trace->recorded && *trace->parent)
        memcpy(trace->context.span_id, trace->parent, sizeof trace->parent);
    trace->begin_ns = waiting_since(request);
    request->trace = trace;
}

/* ---- The spans ---- */

/* Adds the attributes that the front has given. Other types are left out. */
static void add_given(struct px_span_text *to, json_t *attributes)
{
    const char *key;
    json_t *value;
    json_object_foreach(attributes, key, value) {
        if (json_is_string(value))
            px_span_string(to, key, json_string_value(value));
        else if (json_is_integer(value))
            px_span_integer(to, key, json_integer_value(value));
        else if (json_is_real(value))
            px_span_real(to, key, json_real_value(value));
        else if (json_is_boolean(value))
            px_span_boolean(to, key, json_is_true(value));
    }
}

/* The message with which the request came. It fails when the execution does. */
static void write_message(struct px_span_text *to, const struct px_trace *trace,
                          const struct px_request_message *message, const pyexec_error *error)
{
    px_span_begin(to, trace->message_span, trace->parent, true, message->name, PX_SPAN_CONSUMER, message->arrived_ns,
                  px_now_ns());
    add_given(to, message->attributes);
    px_span_end(to, error ? pyexec_code_name(error->code) : NULL, NULL);
}

static void write_execution(struct px_span_text *to, const struct px_trace *trace, const pyexec_request *request,
                            const char *function, unsigned flags, const pyexec_result *result,
                            const pyexec_error *error)
{
    const struct px_request_span *span = &request->span;
    bool remote = !*trace->message_span;
    if (!remote)
        write_message(to, trace, &request->message, result ? NULL : error);
    px_span_begin(to, trace->context.span_id, remote ? trace->parent : trace->message_span, remote,
                  span->name ? span->name : function, span->kind ? span->kind : PYEXEC_SPAN_INTERNAL, trace->begin_ns,
                  px_now_ns());
    if (span->attributes)
        add_given(to, span->attributes);
    if (result) {
        px_span_string(to, "pyexec.status", pyexec_status_name(result->status));
        if (result->session.id)
            px_span_integer(to, "pyexec.session.execution_count", (int64_t)result->session.calls);
        if (result->session.id && flags & PYEXEC_TRACE_SESSION_IDS)
            px_span_string(to, "session.id", result->session.id);
    }
    /* A script that fails is a result: the request itself has succeeded. */
    px_span_end(to, result ? NULL : pyexec_code_name(error->code), result ? NULL : error->message);
}

static void write_part(struct px_span_text *to, const struct px_trace *trace, const char *name, int64_t begin_ns,
                       int64_t end_ns)
{
    char id[17];
    if (px_trace_make_id(id, 16) < 0) {
        to->text.failed = true;
        return;
    }
    px_span_begin(to, id, trace->context.span_id, false, name, PYEXEC_SPAN_INTERNAL, begin_ns, end_ns);
}

static void write_run(struct px_span_text *to, const struct px_trace *trace, unsigned flags, pyexec_result *result)
{
    bool failed = !result || result->status != PYEXEC_STATUS_OK;
    px_span_begin(to, trace->run_span, trace->context.span_id, false, "run", PYEXEC_SPAN_INTERNAL, trace->run_begin_ns,
                  trace->run_end_ns);
    if (result) {
        px_span_string(to, "pyexec.status", pyexec_status_name(result->status));
        px_span_real(to, "pyexec.cpu_ms", result->cpu_ms);
        px_span_integer(to, "pyexec.peak_memory_bytes", (int64_t)result->peak_memory_bytes);
        px_span_integer(to, "pyexec.stdout_bytes", (int64_t)result->streams[0].bytes);
        px_span_integer(to, "pyexec.stderr_bytes", (int64_t)result->streams[1].bytes);
        if (result->tool_calls)
            px_span_integer(to, "pyexec.tool_calls", (int64_t)result->tool_calls);
    }
    if (trace->tools_lost)
        px_span_integer(to, "pyexec.tool_calls_without_span", (int64_t)trace->tools_lost);
    px_span_end(to,
                !failed  ? NULL
                : result ? pyexec_status_name(result->status)
                         : "internal",
                result && flags & PYEXEC_TRACE_ERRORS ? pyexec_result_error_repr(result) : NULL);
}

static void write_tool(struct px_span_text *to, const struct px_trace *trace, const struct px_trace_tool *tool)
{
    char name[sizeof "execute_tool " + PX_TOOL_NAME_MAX];
    snprintf(name, sizeof name, "execute_tool %s", tool->name);
    px_span_begin(to, tool->span_id, trace->run_span, false, name, PYEXEC_SPAN_INTERNAL, tool->begin_ns, tool->end_ns);
    px_span_string(to, "gen_ai.operation.name", "execute_tool");
    px_span_string(to, "gen_ai.tool.name", tool->name);
    px_span_string(to, "gen_ai.tool.call.id", tool->call_id);
    px_span_end(to, tool->error, NULL);
}

static void write_all(struct px_span_text *to, const struct px_trace *trace, const pyexec_request *request,
                      const char *function, unsigned flags, const pyexec_result *result, const pyexec_error *error)
{
    write_execution(to, trace, request, function, flags, result, error);
    if (trace->admitted_ns) {
        write_part(to, trace, "queue", trace->begin_ns, trace->admitted_ns);
        px_span_end(to, NULL, NULL);
    }
    if (trace->child_ns) {
        write_part(to, trace, "clone", trace->admitted_ns, trace->child_ns);
        px_span_string(to, "pyexec.process", trace->pooled ? "pool" : "clone");
        px_span_end(to, NULL, NULL);
    }
    if (trace->run_begin_ns)
        write_run(to, trace, flags, (pyexec_result *)(uintptr_t)result);
    for (size_t i = 0; i < trace->tool_count; i++)
        write_tool(to, trace, &trace->tools[i]);
}

void px_tracing_end(const pyexec_executor *executor, pyexec_request *request, const char *function,
                    const pyexec_result *result, const pyexec_error *error)
{
    struct px_trace *trace = TAKE_PTR(request->trace);
    if (!trace)
        return;
    if (trace->recorded) {
        struct px_span_text to = {.trace_id = trace->context.trace_id,
                                  .tracestate = request->tracestate,
                                  .flags = trace->context.flags,
                                  .epoch_ns = px_span_epoch()};
        write_all(&to, trace, request, function, executor->tracing.flags, result, error);
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
