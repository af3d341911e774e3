/* SPDX-License-Identifier: Apache-2.0 */
/* The executions of an RPC client: one thread for each, a limited number of them, with output sent as it comes
 * if asked for. Another thread sends this output, because the thread of a run keeps the limits and must not
 * wait for a client. No more of it is held than the limits of its run allow. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "rpc/rpc_private.h"

struct job {
    struct px_task task; /* first */
    struct px_rpc *rpc;
    char *id;
    pyexec_request *request;
    char *session_id;         /* NULL: a single run */
    struct px_buffer held[2]; /* for each stream: what has not been sent yet */
    char **ready;             /* whole notifications that come first: displays, and the output before them */
    size_t ready_count;
    bool sending; /* somebody is sending, with the lock released */
    bool lost;    /* something could not be sent, because there was no memory */
    unsigned long long seq;
};

static void free_job(struct px_task *task)
{
    struct job *job = (struct job *)task;
    free(job->id);
    pyexec_request_free(job->request);
    free(job->session_id);
    px_buffer_done(&job->held[0]);
    px_buffer_done(&job->held[1]);
    for (size_t i = 0; i < job->ready_count; i++)
        free(job->ready[i]);
    free(job->ready);
    free(job);
}

static void add_output(struct px_buffer *line, struct job *job, int stream, const char *bytes, size_t length)
{
    struct px_buffer px_auto_buffer text = {0};
    px_utf8_repair(&text, bytes, length);
    json_t *string = json_stringn(px_buffer_string(&text), text.length);
    px_auto_free char *quoted = string ? px_json_dumps(string, JSON_ENCODE_ANY) : NULL;
    json_decref(string);
    px_buffer_printf(line,
                     "{\"jsonrpc\":\"2.0\",\"method\":\"output\",\"params\":{\"request\":%s,"
                     "\"stream\":\"%s\",\"text\":%s,\"seq\":%llu}}",
                     job->id ? job->id : "null", stream == 1 ? "stdout" : "stderr", quoted ? quoted : "", job->seq++);
    job->lost |= !quoted || !px_buffer_ok(line);
    line->failed |= job->lost;
}

/* Sends while the lock is released. */
static void send_line(struct job *job, struct px_buffer *line)
{
    struct px_rpc *rpc = job->rpc;
    job->sending = true;
    pthread_mutex_unlock(&rpc->tasks.lock);
    px_line_transport_send(&rpc->lines, line);
    pthread_mutex_lock(&rpc->tasks.lock);
    job->sending = false;
    pthread_cond_broadcast(&rpc->tasks.changed);
}

/* Sends what is held of a stream; the start of a character only at the `end`. False when there is
 * nothing to send. Called with the lock, which is released meanwhile. */
static bool send_held(struct job *job, int stream, bool end)
{
    struct px_buffer *held = &job->held[stream - 1];
    size_t tail = end ? 0 : px_utf8_incomplete_tail(px_buffer_shown(held), held->length);
    if (job->lost || held->length == tail)
        return false;
    struct px_buffer px_auto_buffer line = {0};
    add_output(&line, job, stream, held->data, held->length - tail);
    px_buffer_consume(held, held->length - tail);
    send_line(job, &line);
    return true;
}

/* The same for the first of the whole notifications. */
static bool send_ready(struct job *job)
{
    if (!job->ready_count)
        return false;
    struct px_buffer px_auto_buffer line = {0};
    px_auto_free char *text = job->ready[0];
    px_buffer_add_string(&line, text);
    job->lost |= !px_buffer_ok(&line);
    job->ready_count--;
    memmove(job->ready, job->ready + 1, job->ready_count * sizeof *job->ready);
    send_line(job, &line);
    return true;
}

static bool send_any(struct px_rpc *rpc)
{
    for (struct px_task *task = rpc->tasks.first; task; task = task->next) {
        struct job *job = (struct job *)task;
        if (!job->sending && (send_ready(job) || send_held(job, 1, false) || send_held(job, 2, false)))
            return true;
    }
    return false;
}

void *px_rpc_stream(void *argument)
{
    struct px_rpc *rpc = argument;
    pthread_mutex_lock(&rpc->tasks.lock);
    while (!rpc->ended)
        if (!send_any(rpc))
            pthread_cond_wait(&rpc->held, &rpc->tasks.lock);
    pthread_mutex_unlock(&rpc->tasks.lock);
    return NULL;
}

static int on_output(void *data, int stream, const char *bytes, size_t length)
{
    struct job *job = data;
    pthread_mutex_lock(&job->rpc->tasks.lock);
    px_buffer_add(&job->held[stream - 1], bytes, length);
    job->lost |= !px_buffer_ok(&job->held[stream - 1]);
    pthread_cond_signal(&job->rpc->held);
    pthread_mutex_unlock(&job->rpc->tasks.lock);
    return job->rpc->lines.output_gone;
}

static void make_ready(struct job *job, struct px_buffer *line)
{
    char **ready = realloc(job->ready, (job->ready_count + 1) * sizeof *ready);
    if (ready)
        job->ready = ready;
    char *text = ready ? px_buffer_take(line) : NULL;
    if (text)
        ready[job->ready_count++] = text;
    job->lost |= !text;
}

static int on_display(void *data, const char *json, size_t length)
{
    struct job *job = data;
    pthread_mutex_lock(&job->rpc->tasks.lock);
    for (int stream = 1; stream <= 2 && !job->lost; stream++) {
        struct px_buffer *held = &job->held[stream - 1];
        struct px_buffer px_auto_buffer line = {0};
        size_t whole = held->length - px_utf8_incomplete_tail(px_buffer_shown(held), held->length);
        if (!whole)
            continue;
        add_output(&line, job, stream, held->data, whole);
        px_buffer_consume(held, whole);
        make_ready(job, &line);
    }
    struct px_buffer px_auto_buffer line = {0};
    px_buffer_printf(&line, "{\"jsonrpc\":\"2.0\",\"method\":\"display\",\"params\":{\"request\":%s,\"display\":",
                     job->id ? job->id : "null");
    px_buffer_add(&line, json, length);
    px_buffer_printf(&line, ",\"seq\":%llu}}", job->seq++);
    make_ready(job, &line);
    pthread_cond_signal(&job->rpc->held);
    pthread_mutex_unlock(&job->rpc->tasks.lock);
    return job->rpc->lines.output_gone;
}

/* Sends the rest of a run that has ended. */
static void send_rest(struct job *job)
{
    pthread_mutex_lock(&job->rpc->tasks.lock);
    while (job->sending)
        pthread_cond_wait(&job->rpc->tasks.changed, &job->rpc->tasks.lock);
    while (send_ready(job) || send_held(job, 1, true) || send_held(job, 2, true))
        ;
    pthread_mutex_unlock(&job->rpc->tasks.lock);
}

static void cancel_job(struct px_task *task)
{
    pyexec_request_cancel(((struct job *)task)->request);
}

/* The run, from its start to its answer. */
static void serve_job(struct px_task *task)
{
    struct job *job = (struct job *)task;
    struct px_rpc *rpc = job->rpc;
    pyexec_error error;
    pyexec_result *result = NULL;
    int status = job->session_id ? pyexec_execute(rpc->executor, job->session_id, job->request, &result, &error)
                                 : pyexec_execute_once(rpc->executor, job->request, &result, &error);
    px_task_arrived(task); /* a refused one does not wait for others */
    send_rest(job);
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
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: not true or false", name);
    return px_error_hint(error, "Send %s as true or false.", name);
}

/* The parameters that are for the transport; the library reads the others. */
static int take_own(struct job *job, json_t *params, bool session, pyexec_error *error)
{
    const json_t *stream = json_object_get(params, "stream");
    const json_t *silent = session ? json_object_get(params, "silent") : NULL;
    const char *id = json_string_value(json_object_get(params, "session_id"));
    if (check_flag("stream", stream, error) < 0 || check_flag("silent", silent, error) < 0)
        return -1;
    if (json_is_true(stream)) {
        pyexec_request_set_output(job->request, on_output, job);
        pyexec_request_set_display(job->request, on_display, job);
    }
    json_object_del(params, "stream");
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

static int prepare(struct job *job, const json_t *params, bool session, pyexec_error *error)
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
    return status;
}

static void execute(struct px_rpc *rpc, const char *id, const json_t *params, bool session)
{
    pyexec_error error;
    struct job *job = calloc(1, sizeof *job);
    if (job)
        *job = (struct job){.task = {.run = serve_job, .cancel = cancel_job, .free = free_job},
                            .rpc = rpc,
                            .id = id ? strdup(id) : NULL};
    if (!job || (id && !job->id))
        px_error_oom(&error);
    else if (prepare(job, params, session, &error) == 0 && px_tasks_start(&rpc->tasks, &job->task, &error) == 0)
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

int px_rpc_stop(struct px_rpc *rpc, const char *id, bool cancel)
{
    int found = -1;
    pthread_mutex_lock(&rpc->tasks.lock);
    for (struct px_task *task = rpc->tasks.first; task; task = task->next) {
        struct job *job = (struct job *)task;
        if (job->id && strcmp(job->id, id) == 0) {
            (cancel ? pyexec_request_cancel : pyexec_request_interrupt)(job->request);
            found = 0;
        }
    }
    pthread_mutex_unlock(&rpc->tasks.lock);
    return found;
}
