/* SPDX-License-Identifier: Apache-2.0 */
/* The executions of an RPC client: each runs on the thread that read it, and their number is limited. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "rpc/rpc_private.h"

static void free_job(struct px_task *task)
{
    struct px_rpc_job *job = (struct px_rpc_job *)task;
    pyexec_request_free(job->request); /* waits until no callback runs, because callbacks use the job */
    free(job->id);
    free(job->session_id);
    px_buffer_done(&job->held[0]);
    px_buffer_done(&job->held[1]);
    for (size_t i = 0; i < job->ready_count; i++)
        free(job->ready[i]);
    free(job->ready);
    free(job);
}

static void cancel_job(struct px_task *task)
{
    pyexec_request_cancel(((struct px_rpc_job *)task)->request);
}

/* Runs the script, and sends the answer. */
static void serve_job(struct px_task *task)
{
    struct px_rpc_job *job = (struct px_rpc_job *)task;
    struct px_rpc *rpc = job->rpc;
    pyexec_error error;
    pyexec_result *result = NULL;
    int status = job->session_id ? pyexec_execute(rpc->executor, job->session_id, job->request, &result, &error)
                                 : pyexec_execute_once(rpc->executor, job->request, &result, &error);
    px_task_arrived(task); /* later tasks wait for this; a request that is refused early has not called it yet */
    px_rpc_send_rest(job);
    const char *text = status == 0 ? pyexec_result_json(result) : NULL;
    if (status == 0 && (!text || job->lost))
        status = px_error_oom(&error);
    if (status < 0)
        px_rpc_fail(rpc, job->id, &error);
    else
        px_rpc_answer(rpc, job->id, text);
    pyexec_result_free(result);
}

static int check_flag(const char *name, const json_t *value, pyexec_error *error)
{
    if (!value || json_is_boolean(value))
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: must be true or false", name);
    return px_error_hint(error, "Send %s as true or false.", name);
}

static int take_tools(struct px_rpc_job *job, json_t *params, pyexec_error *error)
{
    json_t *tools = json_object_get(params, "tools");
    /* Needed also if the request has no tools: the session may have tools that need approval. */
    if (pyexec_request_set_approver(job->request, px_rpc_on_approval, job, error) < 0 ||
        (tools && pyexec_request_add_tools_object(job->request, tools, px_rpc_on_tool_call, job, error) < 0))
        return -1;
    json_object_del(params, "tools");
    pyexec_request_set_tool_callback(job->request, px_rpc_on_tool_call, job);
    return 0;
}

/* Reads the parameters that are only for this front. The library reads the others. */
static int take_own(struct px_rpc_job *job, json_t *params, bool session, pyexec_error *error)
{
    const json_t *stream = json_object_get(params, "stream");
    const json_t *silent = session ? json_object_get(params, "silent") : NULL;
    const char *id = json_string_value(json_object_get(params, "session_id"));
    if (check_flag("stream", stream, error) < 0 || check_flag("silent", silent, error) < 0)
        return -1;
    if (json_is_true(stream)) {
        pyexec_request_set_output(job->request, px_rpc_on_output, job);
        pyexec_request_set_display(job->request, px_rpc_on_display, job);
    }
    json_object_del(params, "stream");
    if (take_tools(job, params, error) < 0)
        return -1;
    if (!session)
        return 0;
    pyexec_request_set_silent(job->request, json_is_true(silent));
    json_object_del(params, "silent");
    job->task.in_order = true;
    pyexec_request_set_arrived(job->request, px_task_arrived, &job->task);
    if (!id) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "session_id: missing");
        return px_error_hint(error, "Send a session_id, or call execute_once.");
    }
    job->session_id = strdup(id);
    json_object_del(params, "session_id");
    return job->session_id ? 0 : px_error_oom(error);
}

static int describe_span(pyexec_request *request, const char *method, pyexec_error *error)
{
    px_auto_json json_t *attributes = json_pack("{s:s, s:s}", "rpc.system", "jsonrpc", "rpc.method", method);
    return attributes && pyexec_request_set_span_object(request, method, PYEXEC_SPAN_SERVER, NULL, attributes) == 0
               ? 0
               : px_error_oom(error);
}

static int prepare(struct px_rpc_job *job, const json_t *params, bool session, pyexec_error *error)
{
    job->request = pyexec_request_new();
    if (!job->request)
        return px_error_exhausted(error, errno, "can't make the request's descriptor");
    json_t *rest = px_json_copy(params);
    if (!rest || take_own(job, rest, session, error) < 0) {
        int status = rest ? -1 : px_error_oom(error);
        json_decref(rest);
        return status;
    }
    int status = pyexec_request_set_object(job->request, rest, error);
    json_decref(rest);
    if (status == 0 && pyexec_executor_has_tracing(job->rpc->executor))
        status = describe_span(job->request, session ? "execute" : "execute_once", error);
    return status;
}

static void execute(struct px_rpc *rpc, const char *id, const json_t *params, bool session)
{
    pyexec_error error;
    struct px_rpc_job *job = calloc(1, sizeof *job);
    if (job)
        *job = (struct px_rpc_job){.task = {.run = serve_job, .cancel = cancel_job, .free = free_job},
                                   .rpc = rpc,
                                   .id = id ? strdup(id) : NULL};
    if (!job || (id && !job->id))
        px_error_oom(&error);
    else if (prepare(job, params, session, &error) == 0 && px_tasks_start_here(&rpc->tasks, &job->task, &error) == 0)
        return;
    px_rpc_fail(rpc, id, &error);
    if (job)
        free_job(&job->task);
}

void px_rpc_execute(struct px_rpc *rpc, const char *id, const json_t *params)
{
    execute(rpc, id, params, false);
}

void px_rpc_execute_session(struct px_rpc *rpc, const char *id, const json_t *params)
{
    execute(rpc, id, params, true);
}

/* ---- create_session ---- */

struct create_job {
    struct px_rpc_job job;
    json_t *params;
};

static void free_create(struct px_task *task)
{
    json_decref(((struct create_job *)task)->params);
    free_job(task);
}

/* Creating a session may have to wait in the queue. So it is a task too, and later requests are handled meanwhile. */
static void serve_create(struct px_task *task)
{
    struct create_job *create = (struct create_job *)task;
    struct px_rpc *rpc = create->job.rpc;
    pyexec_error error;
    int status = pyexec_session_create_tools_object(rpc->executor, create->job.session_id,
                                                    json_object_get(create->params, "policy"), NULL,
                                                    json_object_get(create->params, "tools"), NULL, NULL, &error);
    px_task_arrived(task);
    if (status < 0)
        px_rpc_fail(rpc, create->job.id, &error);
    else
        px_rpc_answer(rpc, create->job.id, "{}");
}

/* Copies the params, because the thread of the task uses them when the caller has already freed the message. */
static int prepare_create(struct create_job *create, const char *id, const json_t *given, pyexec_error *error)
{
    json_t *params = create->params = px_json_deep_copy(given);
    if (!params)
        return px_error_oom(error);
    const char *session = json_string_value(json_object_get(params, "session_id"));
    const json_t *policy = json_object_get(params, "policy");
    if (!session || (policy && !json_is_object(policy))) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, session ? "policy: not an object" : "session_id: missing");
        return px_error_hint(error, "Send {\"session_id\": text, \"policy\": object, \"tools\": list}.");
    }
    create->job.id = id ? strdup(id) : NULL;
    create->job.session_id = strdup(session);
    create->job.request = pyexec_request_new();
    if (!create->job.request)
        return px_error_exhausted(error, errno, "can't make the request's descriptor");
    return create->job.session_id && (!id || create->job.id) ? 0 : px_error_oom(error);
}

void px_rpc_create_session(struct px_rpc *rpc, const char *id, const json_t *params)
{
    pyexec_error error;
    struct create_job *create = calloc(1, sizeof *create);
    if (!create) {
        px_error_oom(&error);
    } else {
        create->job.rpc = rpc;
        create->job.task = (struct px_task){.run = serve_create, .cancel = cancel_job, .free = free_create};
        if (prepare_create(create, id, params, &error) == 0 &&
            px_tasks_start_here(&rpc->tasks, &create->job.task, &error) == 0)
            return;
    }
    px_rpc_fail(rpc, id, &error);
    if (create)
        free_create(&create->job.task);
}

int px_rpc_stop(struct px_rpc *rpc, const char *id, bool cancel)
{
    int found = -1;
    pthread_mutex_lock(&rpc->tasks.lock);
    for (struct px_task *task = rpc->tasks.first; task; task = task->next) {
        struct px_rpc_job *job = (struct px_rpc_job *)task;
        if (job->id && strcmp(job->id, id) == 0) {
            (cancel ? pyexec_request_cancel : pyexec_request_interrupt)(job->request);
            found = 0;
        }
    }
    pthread_mutex_unlock(&rpc->tasks.lock);
    return found;
}
