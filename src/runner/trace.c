/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

void px_trace_admitted(struct px_trace *trace)
{
    if (trace)
        trace->admitted_ns = px_now_ns();
}

void px_trace_cloned(struct px_trace *trace, bool pooled)
{
    if (!trace)
        return;
    trace->child_ns = px_now_ns();
    trace->pooled = pooled;
}

void px_trace_ran(struct px_trace *trace, int64_t begin_ns)
{
    if (!trace)
        return;
    trace->run_begin_ns = begin_ns;
    trace->run_end_ns = px_now_ns();
}

void px_trace_tool_begin(const pyexec_request *request, struct px_trace_tool *tool, const char *name,
                         const char *call_id)
{
    const struct px_trace *trace = request->trace;
    struct px_trace_context context = trace ? trace->context : request->parent;
    if (!*context.trace_id)
        return;
    bool recorded = trace && trace->recorded && px_trace_make_id(tool->span_id, 16) == 0;
    if (recorded) {
        memcpy(context.span_id, tool->span_id, sizeof context.span_id);
        tool->begin_ns = px_now_ns();
        snprintf(tool->name, sizeof tool->name, "%s", name);
        snprintf(tool->call_id, sizeof tool->call_id, "%s", call_id);
    }
    px_trace_context_format(&context, tool->traceparent);
    tool->tracestate = request->tracestate ? strdup(request->tracestate) : NULL;
}

void px_trace_tool_end(struct px_trace_tool *tool, const char *error)
{
    if (!tool->begin_ns)
        return;
    tool->end_ns = px_now_ns();
    if (!tool->error)
        tool->error = error;
}

void px_trace_tool_add(struct px_trace *trace, struct px_trace_tool *tool)
{
    if (!trace || !trace->recorded || !tool->begin_ns)
        return;
    if (!tool->end_ns)
        px_trace_tool_end(tool, "abandoned");
    if (!trace->tools)
        trace->tools = calloc(PX_TRACE_TOOLS_MAX, sizeof *trace->tools);
    if (trace->tools && trace->tool_count < PX_TRACE_TOOLS_MAX)
        trace->tools[trace->tool_count++] = *tool;
    else
        trace->tools_lost++;
}
