/* SPDX-License-Identifier: Apache-2.0 */
/* verify. It takes as long as its tests, so it is a task like an execution. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "rpc/rpc_private.h"

struct verify_job {
    struct px_rpc_job job; /* must be the first member */
    json_t *params;
};

static void free_verify(struct px_task *task)
{
    struct verify_job *verify = (struct verify_job *)task;
    pyexec_request_free(verify->job.request);
    json_decref(verify->params);
    free(verify->job.id);
    free(verify);
}

static void cancel_verify(struct px_task *task)
{
    pyexec_request_cancel(((struct px_rpc_job *)task)->request);
}

static void serve_verify(struct px_task *task)
{
    struct verify_job *verify = (struct verify_job *)task;
    struct px_rpc *rpc = verify->job.rpc;
    pyexec_error error;
    px_auto_free char *text = NULL;
    int status = pyexec_verify_object(rpc->executor, verify->job.request, verify->params, &text, NULL, &error);
    px_task_arrived(task);
    if (status < 0)
        px_rpc_fail(rpc, verify->job.id, &error);
    else
        px_rpc_answer(rpc, verify->job.id, text);
}

/* Copies the params, because the thread of the task uses them when the caller has already freed the message. */
static int prepare(struct verify_job *verify, const char *id, const json_t *params, pyexec_error *error)
{
    verify->params = px_json_deep_copy(params);
    verify->job.id = id ? strdup(id) : NULL;
    verify->job.request = pyexec_request_new();
    if (!verify->job.request)
        return px_error_exhausted(error, errno, "can't make the request's descriptor");
    return verify->params && (!id || verify->job.id) ? 0 : px_error_oom(error);
}

void px_rpc_verify(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_error error;
    struct verify_job *verify = calloc(1, sizeof *verify);
    if (!verify) {
        px_error_oom(&error);
    } else {
        verify->job.rpc = rpc;
        verify->job.task = (struct px_task){.run = serve_verify, .cancel = cancel_verify, .free = free_verify};
        if (prepare(verify, id, params, &error) == 0 &&
            px_tasks_start_here(&rpc->tasks, &verify->job.task, &error) == 0)
            return;
    }
    px_rpc_fail(rpc, id, &error);
    if (verify)
        free_verify(&verify->job.task);
}
