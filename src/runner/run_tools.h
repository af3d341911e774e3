/* SPDX-License-Identifier: Apache-2.0 */
/* The tool calls of a run, as its loop sees them. A zeroed struct is a run without tools, and costs nothing. */
#ifndef PX_RUNNER_RUN_TOOLS_H
#define PX_RUNNER_RUN_TOOLS_H

#include "result/result.h"
#include "runner/run.h"
#include "runner/tool_calls.h"

struct px_run_tools {
    struct px_tool_calls *calls; /* NULL: the run has no tools */
    int64_t still_ns;            /* for how much longer its clock may stand still */
};

/* Returns 0, or -1 with `error`. */
int px_run_tools_begin(struct px_run_tools *tools, const struct px_run_context *context, pyexec_result *result,
                       pyexec_error *error);

/* Records the tool calls in the result, and releases those without an answer. */
void px_run_tools_end(struct px_run_tools *tools, pyexec_result *result);

/* Sends answers, and moves the deadline by the time in which the script only waited for its caller. Returns NULL,
 * or how the child broke the protocol. */
const char *px_run_tools_serve(struct px_run_tools *tools, const struct px_child *child, struct px_child_result *claims,
                               int64_t now, int64_t *deadline_ns);

/* Returns when to call px_run_tools_serve() again; INT64_MAX: no time is set. */
static inline int64_t px_run_tools_next(const struct px_run_tools *tools)
{
    return tools->calls ? px_tool_calls_next(tools->calls) : INT64_MAX;
}

static inline bool px_run_tools_has_unsent(const struct px_run_tools *tools)
{
    return tools->calls && px_tool_calls_has_unsent(tools->calls);
}

#endif
