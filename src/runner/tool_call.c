/* SPDX-License-Identifier: Apache-2.0 */
/* What the caller's function may read of a call. It does not change. */
#include "runner/tool_call.h"

const char *pyexec_tool_call_id(const pyexec_tool_call *call)
{
    return call->id;
}

const char *pyexec_tool_call_name(const pyexec_tool_call *call)
{
    return call->name;
}

const char *pyexec_tool_call_arguments(const pyexec_tool_call *call, size_t *length)
{
    if (length)
        *length = call->length;
    return call->arguments;
}

const char *pyexec_tool_call_traceparent(const pyexec_tool_call *call)
{
    return *call->trace.traceparent ? call->trace.traceparent : NULL;
}

const char *pyexec_tool_call_tracestate(const pyexec_tool_call *call)
{
    return call->trace.tracestate;
}
