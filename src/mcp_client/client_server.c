/* SPDX-License-Identifier: Apache-2.0 */
/* One server, from its start to its end, on its own thread. The thread sends calls, receives answers, enforces the timeouts, and
 * starts the process again when a call comes for a server that has ended. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "base/thread.h"
#include "base/utf8.h"
#include "mcp_client/client_private.h"

#define SERVER_OUT_MAX (64u << 20)         /* bytes that wait because the server does not read its input */
#define SERVER_UNASKED_MAX (64u << 20)     /* bytes that a server may send between two answers */
#define START_AGAIN_NS INT64_C(1000000000) /* the shortest time between two starts */
#define WAITING_LOOK_NS INT64_C(500000000) /* how often the thread checks that scripts still wait */
#define SERVER_READ_BYTES 65536u
#define SERVER_ENDED "ended"

/* ---- State ---- */

void px_client_set_state(struct px_client_server *server, enum px_client_state state, const char *problem)
{
    pthread_mutex_lock(&server->lock);
    server->state = state;
    size_t length = px_utf8_truncate(problem, strlen(problem), sizeof server->problem - 1);
    memcpy(server->problem, problem, length);
    server->problem[length] = '\0';
    bool ending = server->ending;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    if (!ending && state != PX_CLIENT_STARTING)
        px_clients_changed(server->clients);
}

/* Appends the end of its standard error, on one line. */
static void add_last_words(const struct px_client_server *server, struct px_buffer *out)
{
    px_auto_buffer struct px_buffer text = {0};
    const char *shown = px_buffer_shown(&server->errors);
    size_t length = px_buffer_length(&server->errors);
    while (length && strchr(" \r\n\t", shown[length - 1]))
        length--;
    size_t from = length > 300 ? length - 300 : 0;
    while (from < length && ((unsigned char)shown[from] & 0xC0) == 0x80)
        from++;
    px_utf8_repair(&text, shown + from, length - from);
    for (size_t i = 0; i < text.length; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7F)
            text.data[i] = ' ';
    if (text.length)
        px_buffer_printf(out, server->entry->greeting ? ": %s" : "; it said: %s", px_buffer_shown(&text));
}

static void drain_errors(struct px_client_server *server);

/* Ends the process, and fails all calls that wait, with this reason. */
void px_client_go_down(struct px_client_server *server, const char *why)
{
    px_auto_buffer struct px_buffer text = {0};
    int status = px_client_process_end(&server->process);
    server->up = false;
    bool ended = strcmp(why, SERVER_ENDED) == 0, http = server->entry->greeting;
    px_buffer_printf(&text, "MCP server '%s' %s", server->entry->name, http && ended ? "is not usable" : why);
    if (!http && ended && status >= 0 && WIFEXITED(status))
        px_buffer_printf(&text, " (exit status %d)", WEXITSTATUS(status));
    add_last_words(server, &text);
    px_buffer_done(&server->in);
    px_buffer_done(&server->out);
    px_drop_json(&server->told);
    pthread_mutex_lock(&server->lock);
    struct px_client_request *queue = TAKE_PTR(server->queue);
    pthread_mutex_unlock(&server->lock);
    px_client_fail_all(TAKE_PTR(server->waiting), px_buffer_shown(&text));
    px_client_fail_all(queue, px_buffer_shown(&text));
    px_client_set_state(server, PX_CLIENT_DOWN, px_buffer_shown(&text));
}

static void start_process(struct px_client_server *server)
{
    pyexec_error error;
    server->tried_ns = px_now_ns();
    pthread_mutex_lock(&server->lock);
    server->state = PX_CLIENT_STARTING;
    server->started_ns = server->tried_ns;
    pthread_mutex_unlock(&server->lock);
    px_buffer_done(&server->errors);
    if (px_client_process_start(&server->process, server->entry, &error) < 0) {
        px_client_go_down(server, error.message);
        return;
    }
    if (server->entry->greeting) {
        px_buffer_add_string(&server->out, server->entry->greeting);
        px_buffer_add_byte(&server->out, '\n');
    }
    server->up = true;
    px_client_protocol_start(server);
}

/* ---- The pipes ---- */

static void take_output(struct px_client_server *server)
{
    char *room = px_buffer_reserve(&server->in, SERVER_READ_BYTES);
    ssize_t n = room ? px_read(server->process.output, room, SERVER_READ_BYTES) : -1;
    if (!room || (n < 0 && errno != EAGAIN) || n == 0) {
        drain_errors(server);
        px_client_go_down(server, room ? SERVER_ENDED : "was ended: pyexec has no memory for the messages from it");
        return;
    }
    if (n < 0)
        return;
    server->in.length += (size_t)n;
    server->in.data[server->in.length] = '\0';
    server->unasked_bytes += (size_t)n;
    px_client_take_lines(server);
    if (server->in.length > PX_CLIENT_LINE_MAX)
        px_client_go_down(server, "was ended: it sent a line longer than 16 MiB");
    else if (server->up && server->unasked_bytes > SERVER_UNASKED_MAX)
        px_client_go_down(server, "was ended: it sent 64 MiB without answering");
}

static void drain_errors(struct px_client_server *server)
{
    char bytes[8192];
    for (int i = 0; i < 16; i++) {
        ssize_t n = server->process.errors >= 0 ? px_read(server->process.errors, bytes, sizeof bytes) : 0;
        if (n == 0)
            px_close_fd(&server->process.errors);
        if (n <= 0)
            break;
        px_buffer_add(&server->errors, bytes, (size_t)n);
        if (server->errors.length > PX_CLIENT_ERRORS_BYTES)
            px_buffer_consume(&server->errors, server->errors.length - PX_CLIENT_ERRORS_BYTES);
    }
}

static void send_some(struct px_client_server *server)
{
    ssize_t n = px_write(server->process.input, server->out.data, server->out.length);
    if (n > 0)
        px_buffer_consume(&server->out, (size_t)n);
    else if (n < 0 && errno != EAGAIN)
        px_buffer_done(&server->out); /* the server has closed its input; take_output() sees when it ends */
}

/* ---- Time ---- */

static void give_up(struct px_client_server *server, struct px_client_request *request, const char *why)
{
    px_client_message_notify(&server->out, "notifications/cancelled",
                             json_pack("{s:I, s:s}", "requestId", (json_int_t)request->id, "reason", why));
    px_client_request_fail(request, why);
    px_client_request_free(request);
}

/* Ends requests whose timeout is over, and calls whose scripts no longer wait. */
static void keep_time(struct px_client_server *server)
{
    char text[200];
    int64_t now = px_now_ns();
    struct px_client_request **at = &server->waiting;
    while (*at) {
        struct px_client_request *request = *at;
        bool late = now >= request->deadline_ns;
        if (!late && (!request->call || pyexec_tool_call_waits(request->call))) {
            at = &request->next;
            continue;
        }
        if (request->kind != PX_CLIENT_CALL) {
            px_client_go_down(server, "was ended: it did not answer within [mcp] start_timeout");
            return;
        }
        *at = request->next;
        snprintf(text, sizeof text, "timeout: MCP server '%.80s' gave no answer within call_timeout=%lld ms",
                 server->entry->name, (long long)server->clients->config.call_timeout_ms);
        give_up(server, request, late ? text : "the script no longer waits");
    }
}

static int next_wait_ms(const struct px_client_server *server)
{
    int64_t now = px_now_ns(), next = INT64_MAX;
    for (const struct px_client_request *request = server->waiting; request; request = request->next) {
        next = request->deadline_ns < next ? request->deadline_ns : next;
        if (request->call && now + WAITING_LOOK_NS < next)
            next = now + WAITING_LOOK_NS;
    }
    if (server->up && server->probe_at_ns && server->probe_at_ns < next)
        next = server->probe_at_ns;
    if (server->up && server->relist_at_ns && server->relist_at_ns < next && !server->listing)
        next = server->relist_at_ns;
    return next == INT64_MAX ? -1 : next <= now ? 0 : (int)((next - now) / 1000000) + 1;
}

/* ---- The thread ---- */

static void send_calls(struct px_client_server *server, struct px_client_request *queue)
{
    struct px_client_request *in_order = NULL;
    while (queue) {
        struct px_client_request *request = queue;
        queue = request->next;
        request->next = in_order;
        in_order = request;
    }
    while (in_order) {
        struct px_client_request *request = in_order;
        in_order = request->next;
        size_t length;
        const char *text = pyexec_tool_call_arguments(request->call, &length);
        json_t *arguments = px_json_loadb(text, length, JSON_ALLOW_NUL, NULL);
        if (!arguments || server->out.length + length > SERVER_OUT_MAX) {
            px_client_request_fail(request, "the server does not read its input, or there is no memory for the call");
            json_decref(arguments);
            px_client_request_free(request);
            continue;
        }
        px_client_send_call(server, request, arguments);
    }
}

/* Sends the calls that have arrived. If the server failed to start a moment ago, they fail at once with that reason. */
static void take_calls(struct px_client_server *server)
{
    px_wake_take(server->wake);
    pthread_mutex_lock(&server->lock);
    enum px_client_state state = server->state;
    bool soon = state == PX_CLIENT_DOWN && px_now_ns() - server->tried_ns < START_AGAIN_NS;
    struct px_client_request *queue = state == PX_CLIENT_READY || soon ? TAKE_PTR(server->queue) : NULL;
    bool wanted = server->queue != NULL || server->retry;
    server->retry = false;
    pthread_mutex_unlock(&server->lock);
    if (state == PX_CLIENT_DOWN && wanted)
        start_process(server);
    if (soon)
        px_client_fail_all(queue, server->problem);
    else
        send_calls(server, queue);
}

static void wait_and_serve(struct px_client_server *server)
{
    struct px_client_process *process = &server->process;
    bool up = server->up;
    struct pollfd polled[] = {{server->wake, POLLIN, 0},
                              {up ? process->output : -1, POLLIN, 0},
                              {up ? process->errors : -1, POLLIN, 0},
                              {up && server->out.length ? process->input : -1, POLLOUT, 0}};
    if (px_poll(polled, PX_COUNT(polled), next_wait_ms(server)) < 0)
        px_sleep_ns(10000000);
    if (up && polled[2].revents)
        drain_errors(server);
    if (up && polled[3].revents)
        send_some(server);
    if (up && polled[1].revents)
        take_output(server);
    if (server->up && !px_buffer_ok(&server->out))
        px_client_go_down(server, "was ended: pyexec has no memory for the messages to it");
    else if (server->out.length > SERVER_OUT_MAX + PX_CLIENT_LINE_MAX)
        px_client_go_down(server, "was ended: it does not read its input");
    keep_time(server);
    if (server->up)
        px_client_protocol_tick(server);
    take_calls(server);
}

static void *serve(void *argument)
{
    struct px_client_server *server = argument;
    start_process(server);
    for (;;) {
        pthread_mutex_lock(&server->lock);
        bool ending = server->ending;
        pthread_mutex_unlock(&server->lock);
        if (ending)
            break;
        wait_and_serve(server);
    }
    px_client_go_down(server, "was ended by pyexec");
    return NULL;
}

int px_client_server_start(struct px_client_server *server, pyexec_error *error)
{
    server->started_ns = px_now_ns();
    int failed = px_thread_create(&server->thread, serve, server);
    return failed ? px_error_exhausted(error, failed, "can't start a thread for an MCP server") : 0;
}

void px_client_server_stop(struct px_client_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->ending = true;
    pthread_mutex_unlock(&server->lock);
    px_wake(server->wake);
}

void px_client_server_call(struct px_client_server *server, const char *tool, pyexec_tool_call *call)
{
    struct px_client_request *request = calloc(1, sizeof *request);
    if (request)
        *request = (struct px_client_request){.kind = PX_CLIENT_CALL, .call = call, .tool = strdup(tool)};
    if (!request || !request->tool) {
        free(request);
        pyexec_tool_call_free(call);
        return;
    }
    pthread_mutex_lock(&server->lock);
    request->next = server->queue;
    server->queue = request;
    pthread_mutex_unlock(&server->lock);
    px_wake(server->wake);
}
