/* SPDX-License-Identifier: Apache-2.0 */
/* One tool call, for tool_calls.c, which says who may use which member. */
#ifndef PX_RUNNER_TOOL_CALL_H
#define PX_RUNNER_TOOL_CALL_H

#include "protocol/wire.h"
#include "runner/tool_calls.h"
#include "runner/trace.h"

enum px_tool_call_state {
    WAITING,  /* it waits for its answer */
    ANSWERED, /* its answer is being sent to the child */
    GONE
};

struct pyexec_tool_call {
    struct px_tool_calls *calls;
    unsigned references; /* held by the run and by the callback */
    enum px_tool_call_state state;
    uint64_t number;     /* the child's number for the call */
    unsigned handles;    /* how many functions of the caller own it; at 0 a call without an answer gets an error */
    int64_t deadline_ns; /* INT64_MAX: no time limit */
    pyexec_tool_fn callback;
    void *userdata;
    struct px_tools *owner;
    struct px_tools
        *approver; /* this request's approver must allow the call first; NULL: no approval is needed, or it was given */
    char id[40];
    char name[PX_TOOL_NAME_MAX + 1];
    char *arguments;
    size_t length;
    enum px_tool_answer kind;
    char *text; /* the answer */
    size_t text_length;
    struct px_trace_tool trace;
    pyexec_tool_call *next;        /* list of the run's calls */
    pyexec_tool_call *next_queued; /* list of calls for a thread, or of answers */
};

#endif
