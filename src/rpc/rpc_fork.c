/* SPDX-License-Identifier: Apache-2.0 */
/* fork_session. A fork may have to wait for memory or for the session's process, so it is a task like an execution. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fork_ids.h"
#include "rpc/rpc_private.h"

struct fork_job {
    struct px_rpc_job job; /* must be the first member */
    json_t *params;
    struct px_fork_ids ids; /* the strings belong to `params` */
};

static void free_fork(struct px_task *task)
{
    struct fork_job *fork = (struct fork_job *)task;
    pyexec_request_free(fork->job.request);
    json_decref(fork->params);
    px_fork_ids_done(&fork->ids);
    free(fork->job.id);
    free(fork);
}

/* A fork takes some milliseconds, and is not cancelled. */
static void cancel_fork(struct px_task *task)
{
    (void)task;
}

static void serve_fork(struct px_task *task)
{
    struct fork_job *fork = (struct fork_job *)task;
    struct px_rpc *rpc = fork->job.rpc;
    pyexec_error error;
    px_auto_free char *text = NULL;
    const char *session = json_string_value(json_object_get(fork->params, "session_id"));
    int status = pyexec_session_fork(rpc->executor, session, fork->ids.ids, fork->ids.count, &text, &error);
    px_task_arrived(task);
    if (status < 0)
        px_rpc_fail(rpc, fork->job.id, &error);
    else
        px_rpc_answer(rpc, fork->job.id, text);
}

static int prepare(struct fork_job *fork, const char *id, const json_t *given, pyexec_error *error)
{
    const json_t *params = fork->params = px_json_deep_copy(given);
    fork->job.id = id ? strdup(id) : NULL;
    fork->job.request = pyexec_request_new(); /* `interrupt` and `cancel` may name this job */
    if (!params || !fork->job.request || (id && !fork->job.id))
        return px_error_oom(error);
    if (!json_is_string(json_object_get(params, "session_id"))) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "session_id: missing");
        return px_error_hint(error, "Send the id of the session to fork as session_id, a string.");
    }
    return px_fork_ids_read(params, &fork->ids, error);
}

void px_rpc_fork_session(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_error error;
    struct fork_job *fork = calloc(1, sizeof *fork);
    if (!fork) {
        px_error_oom(&error);
    } else {
        fork->job.rpc = rpc;
        fork->job.task = (struct px_task){.run = serve_fork, .cancel = cancel_fork, .free = free_fork};
        if (prepare(fork, id, params, &error) == 0 && px_tasks_start_here(&rpc->tasks, &fork->job.task, &error) == 0)
            return;
    }
    px_rpc_fail(rpc, id, &error);
    if (fork)
        free_fork(&fork->job.task);
}
