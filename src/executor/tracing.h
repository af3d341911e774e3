/* SPDX-License-Identifier: Apache-2.0 */
/* The spans of an execution. While it runs, runner/trace.h records its times; when it has ended, they become spans as
 * OTLP/JSON, for the function that pyexec_executor_set_tracing() has set:
 *
 *   the execution ─┬─ queue   until it has its turn
 *                  ├─ clone   until its process is there, from the pool or cloned; not for later calls of a session
 *                  └─ run ──── execute_tool NAME, for each call of a tool
 *
 * All times are measured by the host. */
#ifndef PX_EXECUTOR_TRACING_H
#define PX_EXECUTOR_TRACING_H

#include "executor/runtime.h"

/* Both do nothing if the executor makes no spans. */
void px_tracing_begin(const pyexec_executor *executor, pyexec_request *request);
/* `result` NULL: the host failed, and `error` says why. `function` is the name of the span when the request gives it none. */
void px_tracing_end(const pyexec_executor *executor, pyexec_request *request, const char *function,
                    const pyexec_result *result, const pyexec_error *error);

#endif
