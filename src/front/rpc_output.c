/* The answers of an RPC connection: lines made of JSON texts, and the one place that writes.
 * A client that does not read makes its own requests wait, and nothing pile up. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "front/rpc_private.h"

#define UNSENT_MAX (16u << 20)
#define LAST_WORDS_MS 1000      /* how long a client has to take an answer once all shall end */

/* Waits until the output takes PIPE_BUF bytes, of which a write does not block then (pipe(7)).
 * False when it doesn't in time, once `stop` says that all shall end. */
static bool wait_writable(const struct px_rpc *rpc)
{
    struct pollfd fds[] = {{rpc->output, POLLOUT, 0}, {rpc->stop, POLLIN, 0}};
    int timeout = -1;
    for (;;) {
        int n = poll(fds, PX_COUNT(fds), timeout);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || fds[0].revents)
            return n > 0;
        fds[1].fd = -1;
        timeout = LAST_WORDS_MS;
    }
}

static bool write_line(const struct px_rpc *rpc, const char *bytes, size_t length)
{
    while (length) {
        if (!wait_writable(rpc))
            return false;
        ssize_t n = write(rpc->output, bytes, length < PIPE_BUF ? length : PIPE_BUF);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return false;
        bytes += n > 0 ? n : 0;
        length -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

static void count_unsent(struct px_rpc *rpc, size_t more, size_t less)
{
    pthread_mutex_lock(&rpc->lock);
    rpc->unsent_bytes += more;
    rpc->unsent_bytes -= less;
    pthread_cond_broadcast(&rpc->changed);
    pthread_mutex_unlock(&rpc->lock);
}

void px_rpc_send(struct px_rpc *rpc, struct px_buffer *line)
{
    px_buffer_add_byte(line, '\n');
    if (!px_buffer_ok(line))
        return;
    count_unsent(rpc, line->length, 0);
    pthread_mutex_lock(&rpc->output_lock);
    if (!rpc->output_gone && !write_line(rpc, line->data, line->length))
        rpc->output_gone = true;
    pthread_mutex_unlock(&rpc->output_lock);
    count_unsent(rpc, 0, line->length);
}

void px_rpc_await_room(struct px_rpc *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    while (rpc->unsent_bytes > UNSENT_MAX && !rpc->output_gone)
        pthread_cond_wait(&rpc->changed, &rpc->lock);
    pthread_mutex_unlock(&rpc->lock);
}

/* An answer whose last member has this JSON. False: out of memory. */
static bool send_answer(struct px_rpc *rpc, const char *id, const char *member, const char *json)
{
    struct px_buffer px_auto_buffer line = {0};
    px_buffer_printf(&line, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"%s\":", id, member);
    px_buffer_add_string(&line, json);
    px_buffer_add_byte(&line, '}');
    px_rpc_send(rpc, &line);
    return px_buffer_ok(&line);
}

void px_rpc_answer(struct px_rpc *rpc, const char *id, const char *result)
{
    pyexec_error error;
    if (id && !send_answer(rpc, id, "result", result)) {
        px_error_oom(&error);
        px_rpc_fail(rpc, id, &error);
    }
}

/* `error` is taken. */
static void send_error(struct px_rpc *rpc, const char *id, json_t *error)
{
    px_auto_free char *json = px_json_take_text(error);
    send_answer(rpc, id, "error", json ? json : "{\"code\":-32603,\"message\":\"out of memory\"}");
}

void px_rpc_refuse(struct px_rpc *rpc, const char *id, int code, const char *text)
{
    struct px_buffer px_auto_buffer message = {0};
    px_utf8_repair(&message, text, strlen(text));
    send_error(rpc, id ? id : "null",
               json_pack("{s:i, s:s}", "code", code, "message", px_buffer_string(&message)));
}

void px_rpc_fail(struct px_rpc *rpc, const char *id, const pyexec_error *error)
{
    if (!id)
        return;
    json_t *data = json_pack("{s:s, s:s, s:s}", "code", pyexec_code_name(error->code), "message",
                             error->message, "hint", error->hint);
    if (data && error->retry_after_ms)
        json_object_set_new(data, "retry_after_ms", json_integer(error->retry_after_ms));
    send_error(rpc, id,
               json_pack("{s:i, s:s, s:o}", "code", PX_RPC_PYEXEC_FAILED, "message",
                         error->message, "data", data));
}
