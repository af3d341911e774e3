/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/run_tools.h"

#include "base/cleanup.h"
#include "base/clock.h"

int px_run_tools_begin(struct px_run_tools *tools, const struct px_run_context *context, pyexec_result *result,
                       pyexec_error *error)
{
    if (!context->tools || !context->tools->count)
        return 0;
    tools->calls = px_tool_calls_new(context->tools, context->policy, context->request, error);
    tools->still_ns = context->max_wait_ns;
    result->claims.tools.offered = true;
    return tools->calls ? 0 : -1;
}

void px_run_tools_end(struct px_run_tools *tools, pyexec_result *result)
{
    if (!tools->calls)
        return;
    struct px_tool_usage usage = px_tool_calls_usage(tools->calls, px_now_ns());
    result->tool_calls = usage.count;
    result->tool_wait_ms = (double)usage.wait_ns / 1e6;
    px_tool_calls_end(TAKE_PTR(tools->calls));
}

const char *px_run_tools_serve(struct px_run_tools *tools, const struct px_child *child, struct px_child_result *claims,
                               int64_t now, int64_t *deadline_ns)
{
    if (!tools->calls)
        return NULL;
    const char *why = px_tool_calls_send(tools->calls, &claims->tools, child->channel);
    int64_t still = px_tool_calls_keep_time(tools->calls, child, now, now >= *deadline_ns);
    still = still < tools->still_ns ? still : tools->still_ns;
    tools->still_ns -= still;
    if (*deadline_ns != INT64_MAX)
        *deadline_ns += still;
    return why;
}
