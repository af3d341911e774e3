/* SPDX-License-Identifier: Apache-2.0 */
/* One execution, driven by the calling thread: it sends the run to the child, polls the child's
 * descriptors, keeps the deadlines, and composes the result. */
#ifndef PX_RUNNER_RUN_H
#define PX_RUNNER_RUN_H

#include "base/cleanup.h"
#include "policy/request.h"
#include "result/result.h"
#include "runner/child.h"
#include "runner/launcher.h"
#include "runner/pool.h"
#include "runner/zygotes.h"

struct px_proxy;

struct px_run_context {
    struct px_launcher *launcher;
    struct px_zygotes *zygotes;
    struct px_pool *pool;           /* NULL: none */
    struct px_proxy *proxy;         /* for a policy with allowed_hosts; else NULL */
    const char *secrets;            /* names of the secrets that the caller may use; NULL: all */
    const struct px_policy *policy; /* the request's, checked */
    pyexec_request *request;
    long processors; /* how many CPUs the threads of a run can use at once */
    /* NULL, or called when the script begins to run in this child (with the child's CPU time) and, with NULL, when
     * it has ended. The child struct does not move in between. */
    void (*watch)(void *data, const struct px_child *child, int64_t cpu_ns);
    void *watch_data;
    const struct px_tool_list *tools; /* the tools that the script may call, or NULL */
    int64_t max_wait_ns;              /* how long the run may wait for tool calls in total */
    int64_t wait_until_ns;            /* when to cancel a run that only waits for tools; INT64_MAX: never */
};

static inline void px_run_context_watch(const struct px_run_context *context, const struct px_child *child,
                                        int64_t cpu_ns)
{
    if (context->watch)
        context->watch(context->watch_data, child, cpu_ns);
}

/* Closes the child's stdout or stderr, under a lock: other threads, which watch the child, also use these
 * descriptors. */
static inline void px_run_context_end_stream(const struct px_run_context *context, struct px_child *child, int which)
{
    px_run_context_watch(context, NULL, 0);
    px_close_fd(&child->streams[which]);
    px_run_context_watch(context, child, -1);
}

/* Returns 0 with a result, or -1 with an error of the host. In both cases nothing is left of the run, except
 * perhaps a killed process that has not ended yet. */
int px_run_once(const struct px_run_context *context, pyexec_result **ret, pyexec_error *error);

/* A call of a session, or of a branch that lives only for it. */
struct px_call {
    enum px_call_kind kind;
    const char *filename;   /* NULL: by the number */
    bool only_call;         /* its process is not used afterwards: files that it changed are not looked for */
    struct px_child *child; /* started by the session, which still owns it */
    bool locked;            /* its LOCKED has been seen */
    bool later;             /* not the first call: it knows the policy's imports */
    uint64_t number;        /* the number of the cell, from 1; 0: the call does not count */
    const char *workspace_path;
    bool threads_left; /* out: threads of the script continue after the call */
    int64_t cpu_ns;    /* out: CPU time of its process so far */
};

/* The same for the process of a session. It continues afterwards, unless *ret_alive is false. */
int px_run_call(const struct px_run_context *context, struct px_call *call, pyexec_result **ret, bool *ret_alive,
                pyexec_error *error);

#endif
