/* SPDX-License-Identifier: Apache-2.0 */
/* The tool calls of one execution, from the child's claim to the answer that the child gets.
 *
 *   run's thread         takes calls from the claims, keeps their time limits, sends answers;
 *                        never waits for a callback
 *   callers' threads     one for each callback that runs, made when needed; they check the arguments first
 *   any thread           answers (pyexec_tool_call_answer() and similar functions)
 *
 * A call outlives its execution as long as a thread has a reference to it. An answer then fails with
 * call_not_found. A thread belongs to the owner of the tool that it called last (px_tools_enter()): px_tools_free()
 * joins it, and the run does not wait for it. */
#ifndef PX_RUNNER_TOOL_CALLS_H
#define PX_RUNNER_TOOL_CALLS_H

#include "policy/policy.h"
#include "policy/request.h"
#include "policy/tools.h"
#include "result/tool_claims.h"
#include "runner/child.h"
#include "runner/tool_clock.h"

struct px_tool_calls;

/* There is at least one tool. The `wake` of the request ends the run's wait; its trace gets the spans of the calls. Returns NULL with `error`. */
struct px_tool_calls *px_tool_calls_new(const struct px_tool_list *tools, const struct px_policy *policy,
                                        const pyexec_request *request, pyexec_error *error);

/* Drops the calls without an answer. What their callbacks still use stays until they return. `calls` may be NULL. */
void px_tool_calls_end(struct px_tool_calls *calls);

/* Makes the calls that the child has asked for, and drops those that it gave up. Returns NULL, or how it broke the
 * protocol. */
const char *px_tool_calls_take(struct px_tool_calls *calls, struct px_tool_claims *claims);

/* Sends as many answers as the channel takes. Returns NULL, or the error that a caller's thread found in the
 * child's arguments. */
const char *px_tool_calls_send(struct px_tool_calls *calls, struct px_tool_claims *claims, int channel);

/* True if an answer waits for room in the channel. */
bool px_tool_calls_has_unsent(const struct px_tool_calls *calls);

/* Answers the calls that have waited longer than tool_timeout_ms. Returns for how much of the time since the last
 * call of this function the child only waited for its caller. `look` asks for a measurement now. */
int64_t px_tool_calls_keep_time(struct px_tool_calls *calls, const struct px_child *child, int64_t now, bool look);

/* Returns when to call that again; INT64_MAX: no time is set. */
int64_t px_tool_calls_next(const struct px_tool_calls *calls);

/* True if the child only waited for its caller at the last measurement, and still has no answer. */
bool px_tool_calls_only_wait(const struct px_tool_calls *calls);

struct px_tool_usage {
    uint64_t count;
    int64_t wait_ns; /* time with at least one call in progress */
};
struct px_tool_usage px_tool_calls_usage(const struct px_tool_calls *calls, int64_t now);

#endif
