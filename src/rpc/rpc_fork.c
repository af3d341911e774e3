/* SPDX-License-Identifier: Apache-2.0 */
/* fork_session. A fork may have to wait for memory or for the session's process, so it is a task like an execution. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "rpc/rpc_private.h"

struct fork_job {
    struct px_rpc_job job; /* must be the first member */
    json_t *params;
    const char **ids; /* or NULL. The strings belong to `params` */
    size_t count;
};

static void free_fork(struct px_task *task)
{
    struct fork_job *fork = (struct fork_job *)task;
    pyexec_request_free(fork->job.request);
    json_decref(fork->params);
    free(fork->ids);
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
    int status = pyexec_session_fork(rpc->executor, session, fork->ids, fork->count, &text, &error);
    px_task_arrived(task);
    if (status < 0)
        px_rpc_fail(rpc, fork->job.id, &error);
    else
        px_rpc_answer(rpc, fork->job.id, text);
}

static int refuse(const char *what, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s", what);
    return px_error_hint(
        error, "Send {\"session_id\": text} with \"ids\", a list of new ids, or with \"count\", from 1 to 1000.");
}

static int read_ids(struct fork_job *fork, const json_t *list, pyexec_error *error)
{
    fork->count = json_array_size(list);
    fork->ids = calloc(fork->count + 1, sizeof *fork->ids);
    if (!fork->ids)
        return px_error_oom(error);
    for (size_t i = 0; i < fork->count; i++) {
        const json_t *id = json_array_get(list, i);
        fork->ids[i] = json_string_value(id);
        if (!fork->ids[i] || strlen(fork->ids[i]) != json_string_length(id))
            return refuse("ids: each must be a string without NUL characters", error);
    }
    return 0;
}

static int prepare(struct fork_job *fork, const char *id, const json_t *given, pyexec_error *error)
{
    const json_t *params = fork->params = px_json_deep_copy(given);
    fork->job.id = id ? strdup(id) : NULL;
    fork->job.request = pyexec_request_new(); /* `interrupt` and `cancel` may name this job */
    if (!params || !fork->job.request || (id && !fork->job.id))
        return px_error_oom(error);
    const json_t *list = json_object_get(params, "ids"), *count = json_object_get(params, "count");
    if (!json_is_string(json_object_get(params, "session_id")))
        return refuse("session_id: missing", error);
    if (list && count)
        return refuse("ids and count: only one of them can be given", error);
    if (list)
        return json_is_array(list) ? read_ids(fork, list, error) : refuse("ids: not a list", error);
    json_int_t number = count ? json_integer_value(count) : 1;
    if (number < 1 || number > 1000)
        return refuse("count: not a number from 1 to 1000", error);
    fork->count = (size_t)number;
    return 0;
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
