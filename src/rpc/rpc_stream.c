/* SPDX-License-Identifier: Apache-2.0 */
/* What an execution sends during its run: output, displays, tool calls. A separate thread sends it, because the
 * thread of the run enforces the limits and must not wait for a client. The output
 * that waits to be sent is limited by the limits of the run. */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/utf8.h"
#include "rpc/rpc_private.h"

static void add_output(struct px_buffer *line, struct px_rpc_job *job, int stream, const char *bytes, size_t length)
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

static void begin_sending(struct px_rpc_job *job)
{
    job->sending = true;
    pthread_mutex_unlock(&job->rpc->tasks.lock);
}

static void end_sending(struct px_rpc_job *job)
{
    pthread_mutex_lock(&job->rpc->tasks.lock);
    job->sending = false;
    pthread_cond_broadcast(&job->rpc->tasks.changed);
}

void px_rpc_send_line(struct px_rpc_job *job, struct px_buffer *line)
{
    begin_sending(job);
    px_line_transport_send(&job->rpc->lines, line);
    end_sending(job);
}

void px_rpc_send_parts(struct px_rpc_job *job, const struct iovec *parts, size_t count)
{
    begin_sending(job);
    px_line_transport_send_parts(&job->rpc->lines, parts, count);
    end_sending(job);
}

/* Sends the text of a stream that waits. An incomplete character at its end waits for the rest, unless `end` is set. Returns
 * false when there is nothing to send. The caller holds the lock, which is released during the sending. */
static bool send_held(struct px_rpc_job *job, int stream, bool end)
{
    struct px_buffer *held = &job->held[stream - 1];
    size_t tail = end ? 0 : px_utf8_incomplete_tail(px_buffer_shown(held), px_buffer_length(held));
    if (job->lost || held->length == tail)
        return false;
    struct px_buffer px_auto_buffer line = {0};
    add_output(&line, job, stream, held->data, held->length - tail);
    px_buffer_consume(held, held->length - tail);
    px_rpc_send_line(job, &line);
    return true;
}

/* Sends the first of the complete notifications, in the same way. */
static bool send_ready(struct px_rpc_job *job)
{
    if (!job->ready_count)
        return false;
    struct px_buffer px_auto_buffer line = {0};
    px_auto_free char *text = job->ready[0];
    px_buffer_add_string(&line, text);
    job->lost |= !px_buffer_ok(&line);
    job->ready_count--;
    memmove(job->ready, job->ready + 1, job->ready_count * sizeof *job->ready);
    px_rpc_send_line(job, &line);
    return true;
}

/* Calls come last, so the client gets the output and displays before a call first. */
bool px_rpc_send_next(struct px_rpc_job *job)
{
    return !job->sending &&
           (send_ready(job) || send_held(job, 1, false) || send_held(job, 2, false) || px_rpc_send_call(job));
}

static bool send_any(struct px_rpc *rpc)
{
    for (struct px_task *task = rpc->tasks.first; task; task = task->next)
        if (px_rpc_send_next((struct px_rpc_job *)task))
            return true;
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

int px_rpc_on_output(void *data, int stream, const char *bytes, size_t length)
{
    struct px_rpc_job *job = data;
    pthread_mutex_lock(&job->rpc->tasks.lock);
    px_buffer_add(&job->held[stream - 1], bytes, length);
    job->lost |= !px_buffer_ok(&job->held[stream - 1]);
    pthread_cond_signal(&job->rpc->held);
    pthread_mutex_unlock(&job->rpc->tasks.lock);
    return job->rpc->lines.output_gone;
}

static void make_ready(struct px_rpc_job *job, struct px_buffer *line)
{
    char **ready = realloc(job->ready, (job->ready_count + 1) * sizeof *ready);
    if (ready)
        job->ready = ready;
    char *text = ready ? px_buffer_take(line) : NULL;
    if (text)
        ready[job->ready_count++] = text;
    job->lost |= !text;
}

int px_rpc_on_display(void *data, const char *json, size_t length)
{
    struct px_rpc_job *job = data;
    pthread_mutex_lock(&job->rpc->tasks.lock);
    for (int stream = 1; stream <= 2 && !job->lost; stream++) {
        struct px_buffer *held = &job->held[stream - 1];
        struct px_buffer px_auto_buffer line = {0};
        size_t whole = px_buffer_length(held) - px_utf8_incomplete_tail(px_buffer_shown(held), px_buffer_length(held));
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

void px_rpc_send_rest(struct px_rpc_job *job)
{
    pthread_mutex_lock(&job->rpc->tasks.lock);
    job->over = true;
    while (job->sending)
        pthread_cond_wait(&job->rpc->tasks.changed, &job->rpc->tasks.lock);
    while (send_ready(job) || send_held(job, 1, true) || send_held(job, 2, true))
        ;
    px_rpc_end_calls(job);
    pthread_mutex_unlock(&job->rpc->tasks.lock);
}
