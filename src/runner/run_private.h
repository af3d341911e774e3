/* SPDX-License-Identifier: Apache-2.0 */
/* A run in progress. run.c drives it, run_end.c composes its result. */
#ifndef PX_RUNNER_RUN_PRIVATE_H
#define PX_RUNNER_RUN_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "result/result.h"
#include "result/run_status.h"
#include "runner/child.h"
#include "runner/input_feed.h"
#include "runner/output_rest.h"
#include "runner/run.h"
#include "runner/run_tools.h"
#include "runner/workspace.h"

struct run {
    const struct px_run_context *context;
    struct px_child child;
    pyexec_result *result;
    struct px_exit_info ending;
    int64_t started_ns, soft_ns, hard_ns, cpu_check_ns;
    int64_t nudge_ns, nudge_wait_ns;
    int64_t cpu_limit_ns;
    long processors;
    bool pooled; /* or a session's child: it was locked before the run was sent */
    bool session;
    int receive_errno; /* why the host could not read from the child, or 0 */
    bool sent;         /* the child has got its run */
    bool interrupted, cancelled;
    bool awaits_ready; /* READY must come before the child may be sent a signal */
    int unsent_stop;   /* the signal that waits for READY, or 0 */
    unsigned threads;  /* number of threads when its result had come */
    struct px_run_tools tools;
    struct px_output_rest rest;
    struct px_input_feed input;
    char block[65536]; /* what was read last: output, or a packet of the child */
};

static inline size_t px_run_stream_cap(const struct run *run, int which)
{
    const struct px_policy *policy = run->context->policy;
    return (size_t)(which == 0 ? policy->max_stdout_bytes : policy->max_stderr_bytes);
}

/* Collects the facts of the kernel. If the child has sent its result, they are read while it lives; otherwise they
 * come from the supervisor that waited for it. */
void px_run_collect_facts(struct run *run);

/* Lists the files that the run changed. Nothing changes them meanwhile, except threads of a session. */
int px_run_collect_files(struct run *run, const struct px_snapshot *before, pyexec_error *error);

/* Frees the run. If it went well so far (`result` is 0), *ret gets its result. */
int px_run_finish(struct run *run, int result, pyexec_result **ret, pyexec_error *error);

#endif
