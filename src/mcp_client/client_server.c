/* SPDX-License-Identifier: Apache-2.0 */
/* One server, from its start to its end, on a thread of its own. The thread sends calls, takes answers, keeps the time, and
 * starts the process again when a call comes for a server that has ended. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "base/thread.h"
#include "base/utf8.h"
#include "mcp_client/client_private.h"

#define SERVER_OUT_MAX (64u << 20)         /* bytes that the server does not read */
#define SERVER_UNASKED_MAX (64u << 20)     /* bytes between two answers */
#define START_AGAIN_NS INT64_C(1000000000) /* between two starts */
#define WAITING_LOOK_NS INT64_C(500000000) /* how often it is looked whether scripts still wait */
#define SERVER_READ_BYTES 65536u
#define SERVER_ENDED "ended"

static const char *const legacy[] = {"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"};

/* ---- Requests ---- */

static void free_request(struct px_client_request *request)
{
    pyexec_tool_call_free(request->call);
    free(request->tool);
    free(request);
}

static void fail_call(struct px_client_request *request, const char *text)
{
    pyexec_error ignored;
    if (request->call)
        (void)!pyexec_tool_call_fail(request->call, text, NULL, &ignored);
}

static void fail_all(struct px_client_request *list, const char *text)
{
    while (list) {
        struct px_client_request *request = list;
        list = request->next;
        fail_call(request, text);
        free_request(request);
    }
}

/* It waits for its response from now on. Takes `params`. */
static void send_request(struct px_client_server *server, struct px_client_request *request, const char *method,
                         json_t *params, int64_t timeout_ms)
{
    request->id = ++server->last_id;
    request->deadline_ns = px_now_ns() + timeout_ms * 1000000;
    request->next = server->waiting;
    server->waiting = request;
    px_client_message_request(&server->out, server->modern, request->id, method, params);
}

static void ask(struct px_client_server *server, enum px_client_request_kind kind, const char *method, json_t *params)
{
    struct px_client_request *request = calloc(1, sizeof *request);
    if (!request) {
        server->out.failed = true;
        json_decref(params);
        return;
    }
    request->kind = kind;
    send_request(server, request, method, params, server->clients->config.start_timeout_ms);
}

static struct px_client_request *take_waiting(struct px_client_server *server, int64_t id)
{
    struct px_client_request **at = &server->waiting;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    struct px_client_request *request = *at;
    if (request)
        *at = request->next;
    return request;
}

/* ---- State ---- */

static void set_state(struct px_client_server *server, enum px_client_state state, const char *problem)
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

/* Its last words, on one line. */
static void add_last_words(const struct px_client_server *server, struct px_buffer *out)
{
    px_auto_buffer struct px_buffer text = {0};
    const char *shown = px_buffer_shown(&server->errors);
    size_t length = server->errors.length;
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

/* Ends the process, and tells all who wait why. */
static void go_down(struct px_client_server *server, const char *why)
{
    px_auto_buffer struct px_buffer text = {0};
    int status = px_client_process_end(&server->process);
    bool ended = strcmp(why, SERVER_ENDED) == 0, http = server->entry->greeting;
    px_buffer_printf(&text, "MCP server '%s' %s", server->entry->name, http && ended ? "is not usable" : why);
    if (!http && ended && status >= 0 && WIFEXITED(status))
        px_buffer_printf(&text, " (exit status %d)", WEXITSTATUS(status));
    add_last_words(server, &text);
    px_buffer_done(&server->in);
    px_buffer_done(&server->out);
    json_decref(server->told);
    server->told = NULL;
    pthread_mutex_lock(&server->lock);
    struct px_client_request *queue = TAKE_PTR(server->queue);
    pthread_mutex_unlock(&server->lock);
    fail_all(TAKE_PTR(server->waiting), px_buffer_shown(&text));
    fail_all(queue, px_buffer_shown(&text));
    set_state(server, PX_CLIENT_DOWN, px_buffer_shown(&text));
}

static json_t *initialize_params(void)
{
    return json_pack("{s:s, s:{}, s:{s:s, s:s}}", "protocolVersion", legacy[0], "capabilities", "clientInfo", "name",
                     "pyexec", "version", pyexec_version());
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
    server->modern = false;
    server->unasked_bytes = 0;
    if (px_client_process_start(&server->process, server->entry, &error) < 0) {
        go_down(server, error.message);
        return;
    }
    if (server->entry->greeting) {
        px_buffer_add_string(&server->out, server->entry->greeting);
        px_buffer_add_byte(&server->out, '\n');
    }
    ask(server, PX_CLIENT_INITIALIZE, "initialize", initialize_params());
}

/* ---- The list of tools ---- */

static void ask_for_list(struct px_client_server *server, const char *cursor)
{
    if (!cursor) {
        json_decref(server->told);
        server->told = json_array();
        server->told_bytes = server->pages = 0;
    }
    server->listing = true;
    json_t *params = json_object();
    if (cursor)
        px_json_set(params, "cursor", json_string(cursor));
    ask(server, PX_CLIENT_LIST, "tools/list", params);
}

static void finish_list(struct px_client_server *server, bool cut)
{
    pthread_mutex_lock(&server->lock);
    json_decref(server->tools);
    server->tools = TAKE_PTR(server->told);
    server->cut = cut;
    pthread_mutex_unlock(&server->lock);
    server->listing = false;
    set_state(server, PX_CLIENT_READY, "");
}

static void take_list(struct px_client_server *server, const json_t *result)
{
    size_t i;
    json_t *tool;
    bool full = false;
    const char *cursor = json_string_value(json_object_get(result, "nextCursor"));
    json_array_foreach(json_object_get(result, "tools"), i, tool) {
        px_auto_free char *text = px_json_dumps(tool, JSON_ENCODE_ANY | JSON_COMPACT);
        size_t length = text ? strlen(text) : PX_CLIENT_TOOLS_BYTES;
        full |=
            json_array_size(server->told) == PX_CLIENT_TOOLS_MAX || server->told_bytes + length > PX_CLIENT_TOOLS_BYTES;
        if (full)
            break;
        server->told_bytes += length;
        px_json_append(server->told, json_incref(tool));
    }
    if (cursor && !full && ++server->pages < PX_CLIENT_PAGES_MAX)
        ask_for_list(server, cursor);
    else
        finish_list(server, full || cursor);
}

/* ---- Messages of the server ---- */

static bool is_legacy(const char *version)
{
    for (size_t i = 0; version && i < PX_COUNT(legacy); i++)
        if (strcmp(version, legacy[i]) == 0)
            return true;
    return false;
}

/* The answer to `initialize`, or to the question of a server without it. */
static void take_start(struct px_client_server *server, enum px_client_request_kind kind, const json_t *result)
{
    if (kind == PX_CLIENT_INITIALIZE && result &&
        is_legacy(json_string_value(json_object_get(result, "protocolVersion")))) {
        px_client_message_notify(&server->out, "notifications/initialized", json_object());
        ask_for_list(server, NULL);
    } else if (kind == PX_CLIENT_INITIALIZE && !result) {
        server->modern = true;
        ask(server, PX_CLIENT_DISCOVER, "server/discover", json_object());
    } else if (kind == PX_CLIENT_DISCOVER && result) {
        ask_for_list(server, NULL);
    } else {
        go_down(server, "speaks no revision of MCP that pyexec knows");
    }
}

static void take_response(struct px_client_server *server, const json_t *message)
{
    const json_t *result = json_object_get(message, "result"), *error = json_object_get(message, "error");
    const json_t *id = json_object_get(message, "id");
    struct px_client_request *request = json_is_integer(id) ? take_waiting(server, json_integer_value(id)) : NULL;
    if (!request)
        return; /* a second answer, or to nothing */
    server->unasked_bytes = 0;
    enum px_client_request_kind kind = request->kind;
    if (kind == PX_CLIENT_CALL && result)
        px_client_message_result(request->call, result);
    else if (kind == PX_CLIENT_CALL)
        px_client_message_error(request->call, server->entry->name, error);
    free_request(request);
    if (kind == PX_CLIENT_LIST && result)
        take_list(server, result);
    else if (kind == PX_CLIENT_LIST)
        finish_list(server, true);
    else if (kind != PX_CLIENT_CALL)
        take_start(server, kind, result);
}

static void take_line(struct px_client_server *server, const char *line, size_t length)
{
    json_error_t problem = {0};
    px_auto_json json_t *message = px_json_read(line, length, JSON_ALLOW_NUL, &problem);
    const char *method = json_string_value(json_object_get(message, "method"));
    if (!json_is_object(message))
        return; /* not of the protocol: servers print to standard output by mistake */
    if (!method)
        take_response(server, message);
    else if (json_object_get(message, "id"))
        px_client_message_answer(&server->out, message);
    else if (strcmp(method, "notifications/tools/list_changed") == 0 && !server->listing)
        ask_for_list(server, NULL);
}

static void take_lines(struct px_client_server *server)
{
    size_t done = 0;
    char *end;
    while (server->process.keeper && done < server->in.length &&
           (end = memchr(server->in.data + done, '\n', server->in.length - done))) {
        size_t length = (size_t)(end - (server->in.data + done));
        take_line(server, server->in.data + done, length);
        if (!server->in.data)
            return; /* it went down */
        done += length + 1;
    }
    px_buffer_consume(&server->in, done);
}

/* ---- The pipes ---- */

static void take_output(struct px_client_server *server)
{
    char *room = px_buffer_reserve(&server->in, SERVER_READ_BYTES);
    ssize_t n = room ? px_read(server->process.output, room, SERVER_READ_BYTES) : -1;
    if (!room || (n < 0 && errno != EAGAIN) || n == 0) {
        drain_errors(server);
        go_down(server, room ? SERVER_ENDED : "was ended: pyexec has no memory for what it sent");
        return;
    }
    if (n < 0)
        return;
    server->in.length += (size_t)n;
    server->in.data[server->in.length] = '\0';
    server->unasked_bytes += (size_t)n;
    take_lines(server);
    if (server->in.length > PX_CLIENT_LINE_MAX)
        go_down(server, "was ended: it sent a line longer than 16 MiB");
    else if (server->process.keeper && server->unasked_bytes > SERVER_UNASKED_MAX)
        go_down(server, "was ended: it sent 64 MiB without answering");
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
        px_buffer_done(&server->out); /* its end is seen where its output ends */
}

/* ---- Time ---- */

static void give_up(struct px_client_server *server, struct px_client_request *request, const char *why)
{
    px_client_message_notify(&server->out, "notifications/cancelled",
                             json_pack("{s:I, s:s}", "requestId", (json_int_t)request->id, "reason", why));
    fail_call(request, why);
    free_request(request);
}

/* Requests whose time is over, and those of scripts that no longer wait. */
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
            go_down(server, "was ended: it did not answer within start_timeout");
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
            fail_call(request, "the server does not read its input, or there is no memory for the call");
            json_decref(arguments);
            free_request(request);
            continue;
        }
        send_request(server, request, "tools/call",
                     json_pack("{s:s, s:o}", "name", request->tool, "arguments", arguments),
                     server->clients->config.call_timeout_ms);
    }
}

/* Takes the calls that came. Those for a server that just failed to start get the reason at once. */
static void take_calls(struct px_client_server *server)
{
    uint64_t ignored;
    (void)!px_read(server->wake, &ignored, sizeof ignored);
    pthread_mutex_lock(&server->lock);
    enum px_client_state state = server->state;
    bool soon = state == PX_CLIENT_DOWN && px_now_ns() - server->tried_ns < START_AGAIN_NS;
    struct px_client_request *queue = state == PX_CLIENT_READY || soon ? TAKE_PTR(server->queue) : NULL;
    bool wanted = server->queue != NULL;
    pthread_mutex_unlock(&server->lock);
    if (state == PX_CLIENT_DOWN && wanted)
        start_process(server);
    if (soon)
        fail_all(queue, server->problem);
    else
        send_calls(server, queue);
}

static void wait_and_serve(struct px_client_server *server)
{
    struct px_client_process *process = &server->process;
    bool up = process->keeper > 0;
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
    if (process->keeper > 0 && !px_buffer_ok(&server->out))
        go_down(server, "was ended: pyexec has no memory for what it sends");
    else if (server->out.length > SERVER_OUT_MAX + PX_CLIENT_LINE_MAX)
        go_down(server, "was ended: it does not read its input");
    keep_time(server);
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
    go_down(server, "is ended with pyexec");
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
