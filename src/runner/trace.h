/* SPDX-License-Identifier: Apache-2.0 */
/* The record of an execution for its spans: times, and its tool calls. executor/tracing.h makes the spans from it.
 * Only the thread that executes uses a struct px_trace; a tool call's part belongs to the call. Every function does nothing for
 * NULL: the execution is not traced. Nothing in it comes from the script, except which of the caller's tools it called. */
#ifndef PX_RUNNER_TRACE_H
#define PX_RUNNER_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/trace_context.h"
#include "policy/request.h"

#define PX_TRACE_TOOLS_MAX 128 /* spans of tool calls of one execution; more are counted */
#define PX_TRACE_CALL_ID 40

/* The span of one tool call. */
struct px_trace_tool {
    char span_id[17];
    char traceparent[PX_TRACEPARENT_SIZE]; /* for the caller's tool; "": there is no trace */
    char *tracestate;                      /* the same; NULL: none */
    int64_t begin_ns, end_ns;              /* end_ns 0: no answer yet */
    const char *error;                     /* why it has no result, or NULL */
    char name[PX_TOOL_NAME_MAX + 1], call_id[PX_TRACE_CALL_ID];
};

struct px_trace {
    struct px_trace_context context; /* context of the execution's span */
    char parent[17];                 /* the caller's span, or "" */
    char message_span[17];           /* of the message with which the request came, or "" */
    char run_span[17];
    bool recorded;                                                     /* false: only the context is passed on */
    int64_t begin_ns, admitted_ns, child_ns, run_begin_ns, run_end_ns; /* 0: not reached */
    bool pooled;
    struct px_trace_tool *tools;
    size_t tool_count, tools_lost;
};

/* It has its turn; its process is there, taken from the pool or cloned; its script ran. */
void px_trace_admitted(struct px_trace *trace);
void px_trace_cloned(struct px_trace *trace, bool pooled);
void px_trace_ran(struct px_trace *trace, int64_t begin_ns);

/* Begins the span of a tool call. Without a recorded trace the caller's tool gets the trace of the caller itself. */
void px_trace_tool_begin(const pyexec_request *request, struct px_trace_tool *tool, const char *name,
                         const char *call_id);
/* The call has its answer; `error` NULL: a result. The first reason stays. */
void px_trace_tool_end(struct px_trace_tool *tool, const char *error);
/* The run no longer needs the call: its span is added to the trace. `tool` still owns its tracestate. */
void px_trace_tool_add(struct px_trace *trace, struct px_trace_tool *tool);

#endif
