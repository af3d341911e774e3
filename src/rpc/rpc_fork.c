/* SPDX-License-Identifier: Apache-2.0 */
/* fork_session, undo and reset_session. They may have to wait for memory or for the session's process, so each is a task like an execution. */
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
    uint64_t to;            /* of an undo; 0: the last */
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

/* It takes some milliseconds, and is not cancelled. */
static void cancel_fork(struct px_task *task)
{
    (void)task;
}

static const char *session_of(const struct fork_job *fork)
{
    return json_string_value(json_object_get(fork->params, "session_id"));
}

static void answer(struct fork_job *fork, int status, const char *text, const pyexec_error *error)
{
    px_task_arrived(&fork->job.task);
    if (status < 0)
        px_rpc_fail(fork->job.rpc, fork->job.id, error);
    else
        px_rpc_answer(fork->job.rpc, fork->job.id, text);
}

static void serve_fork(struct px_task *task)
{
    struct fork_job *fork = (struct fork_job *)task;
    pyexec_error error;
    px_auto_free char *text = NULL;
    int status =
        pyexec_session_fork(fork->job.rpc->executor, session_of(fork), fork->ids.ids, fork->ids.count, &text, &error);
    answer(fork, status, text, &error);
}

static void serve_undo(struct px_task *task)
{
    struct fork_job *fork = (struct fork_job *)task;
    pyexec_error error;
    px_auto_free char *text = NULL;
    int status = pyexec_session_undo(fork->job.rpc->executor, session_of(fork), fork->to, &text, &error);
    answer(fork, status, text, &error);
}

static void serve_reset(struct px_task *task)
{
    struct fork_job *fork = (struct fork_job *)task;
    pyexec_error error;
    px_auto_free char *text = NULL;
    int status = pyexec_session_reset(fork->job.rpc->executor, session_of(fork), &text, &error);
    answer(fork, status, text, &error);
}

static int prepare_fork(struct fork_job *fork, pyexec_error *error)
{
    if (!session_of(fork)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "session_id: missing");
        return px_error_hint(error, "Send the id of the session to fork as session_id, a string.");
    }
    return px_fork_ids_read(fork->params, &fork->ids, error);
}

static int prepare_undo(struct fork_job *fork, pyexec_error *error)
{
    const json_t *to = json_object_get(fork->params, "to");
    if (session_of(fork) && (!to || json_is_null(to) || json_integer_value(to) > 0)) {
        fork->to = (uint64_t)json_integer_value(to);
        return 0;
    }
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s",
                 session_of(fork) ? "to: not a number from 1 on" : "session_id: missing");
    return px_error_hint(error, "Send {\"session_id\": text, \"to\": the execution count of a call}.");
}

static int prepare(struct fork_job *fork, const char *id, const json_t *given, void (*serve)(struct px_task *task),
                   pyexec_error *error)
{
    fork->params = px_json_deep_copy(given);
    fork->job.id = id ? strdup(id) : NULL;
    fork->job.request = pyexec_request_new(); /* `interrupt` and `cancel` may name this job */
    if (!fork->params || !fork->job.request || (id && !fork->job.id))
        return px_error_oom(error);
    return serve == serve_fork ? prepare_fork(fork, error) : prepare_undo(fork, error);
}

static void start(struct px_rpc *rpc, const char *id, const json_t *params, void (*serve)(struct px_task *task))
{
    pyexec_error error;
    struct fork_job *fork = calloc(1, sizeof *fork);
    if (!fork) {
        px_error_oom(&error);
    } else {
        fork->job.rpc = rpc;
        fork->job.task = (struct px_task){.run = serve, .cancel = cancel_fork, .free = free_fork};
        if (prepare(fork, id, params, serve, &error) == 0 &&
            px_tasks_start_here(&rpc->tasks, &fork->job.task, &error) == 0)
            return;
    }
    px_rpc_fail(rpc, id, &error);
    if (fork)
        free_fork(&fork->job.task);
}

void px_rpc_fork_session(struct px_rpc *rpc, const char *id, const json_t *params)
{
    start(rpc, id, params, serve_fork);
}

void px_rpc_undo(struct px_rpc *rpc, const char *id, const json_t *params)
{
    start(rpc, id, params, serve_undo);
}

void px_rpc_reset_session(struct px_rpc *rpc, const char *id, const json_t *params)
{
    start(rpc, id, params, serve_reset);
}
