/* SPDX-License-Identifier: Apache-2.0 */
/* The protocol with one server: the start, the list of tools, answers to calls. The start is `initialize` for older revisions of
 * MCP and `server/discover` for 2026-07-28 (`modern`). Another file passes the server's bytes on: client_server.c, or
 * fuzz/servers_fuzz.c. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "mcp_client/client_private.h"

#define PROBE_MS 3000 /* a server that is silent for so long after `initialize` gets `server/discover` too */
#define RELIST_NS INT64_C(1000000000) /* the shortest time between two requests for a list that has changed */

static const char *const legacy[] = {"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"};

/* ---- Requests ---- */

void px_client_request_free(struct px_client_request *request)
{
    pyexec_tool_call_free(request->call);
    free(request->tool);
    free(request);
}

void px_client_request_fail(struct px_client_request *request, const char *text)
{
    pyexec_error ignored;
    if (request->call)
        (void)!pyexec_tool_call_fail(request->call, text, NULL, &ignored);
}

void px_client_fail_all(struct px_client_request *list, const char *text)
{
    while (list) {
        struct px_client_request *request = list;
        list = request->next;
        px_client_request_fail(request, text);
        px_client_request_free(request);
    }
}

/* Sends the request; from now on it waits for its response. Takes ownership of `params`. */
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

void px_client_send_call(struct px_client_server *server, struct px_client_request *request, json_t *arguments)
{
    const char *traceparent = pyexec_tool_call_traceparent(request->call);
    json_t *params = json_pack("{s:s, s:o}", "name", request->tool, "arguments", arguments);
    if (params && traceparent)
        px_json_set(params, "_meta",
                    json_pack("{s:s, s:s*}", "traceparent", traceparent, "tracestate",
                              pyexec_tool_call_tracestate(request->call)));
    send_request(server, request, "tools/call", params, server->clients->config.call_timeout_ms);
}

static struct px_client_request *take_kind(struct px_client_server *server, enum px_client_request_kind kind)
{
    for (const struct px_client_request *at = server->waiting; at; at = at->next)
        if (at->kind == kind)
            return take_waiting(server, at->id);
    return NULL;
}

/* ---- The start ---- */

static json_t *initialize_params(void)
{
    return json_pack("{s:s, s:{}, s:{s:s, s:s}}", "protocolVersion", legacy[0], "capabilities", "clientInfo", "name",
                     "pyexec", "version", pyexec_version());
}

void px_client_protocol_start(struct px_client_server *server)
{
    int64_t probe_ms = server->clients->config.start_timeout_ms / 4;
    server->modern = server->listing = false;
    server->relist_at_ns = 0;
    server->probe_at_ns = px_now_ns() + (probe_ms < PROBE_MS ? probe_ms : PROBE_MS) * PX_NS_PER_MS;
    server->unasked_bytes = 0;
    ask(server, PX_CLIENT_INITIALIZE, "initialize", initialize_params());
}

/* Sends `server/discover` to a server that is silent after `initialize`: a server of 2026-07-28 may not know `initialize`. */
static void probe(struct px_client_server *server)
{
    bool starts = false;
    for (const struct px_client_request *at = server->waiting; at; at = at->next)
        starts = starts || at->kind == PX_CLIENT_INITIALIZE;
    server->probe_at_ns = 0;
    if (!starts)
        return;
    server->modern = true;
    ask(server, PX_CLIENT_DISCOVER, "server/discover", json_object());
    server->modern = false;
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
    bool same = server->state == PX_CLIENT_READY && server->cut == cut && json_equal(server->tools, server->told);
    json_decref(server->tools);
    server->tools = TAKE_PTR(server->told);
    server->cut = cut;
    pthread_mutex_unlock(&server->lock);
    server->listing = false;
    server->listed_ns = px_now_ns();
    if (!same)
        px_client_set_state(server, PX_CLIENT_READY, "");
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

/* Sends the requests that are due at this time. */
void px_client_protocol_tick(struct px_client_server *server)
{
    int64_t now = px_now_ns();
    if (server->probe_at_ns && now >= server->probe_at_ns)
        probe(server);
    if (server->relist_at_ns && now >= server->relist_at_ns && !server->listing) {
        server->relist_at_ns = 0;
        if (server->listed_ns)
            ask_for_list(server, NULL);
    }
}

static void keep_waiting(struct px_client_server *server, struct px_client_request *request)
{
    request->next = server->waiting;
    server->waiting = request;
}

/* Handles the answer to `initialize` or to `server/discover`. */
static void take_start(struct px_client_server *server, enum px_client_request_kind kind, const json_t *result)
{
    bool initializes = kind == PX_CLIENT_INITIALIZE;
    struct px_client_request *other = take_kind(server, initializes ? PX_CLIENT_DISCOVER : PX_CLIENT_INITIALIZE);
    if (initializes && result && is_legacy(json_string_value(json_object_get(result, "protocolVersion")))) {
        px_client_message_notify(&server->out, "notifications/initialized", json_object());
        ask_for_list(server, NULL);
    } else if (initializes && !result && other) {
        keep_waiting(server, TAKE_PTR(other)); /* `server/discover` was already sent */
    } else if (initializes && !result) {
        server->modern = true;
        ask(server, PX_CLIENT_DISCOVER, "server/discover", json_object());
    } else if (!initializes && result) {
        server->modern = true;
        ask_for_list(server, NULL);
    } else if (!initializes && other) {
        keep_waiting(server, TAKE_PTR(other)); /* the server may know `initialize`, and answer it slowly */
    } else {
        px_client_go_down(server, "speaks no revision of MCP that pyexec knows");
    }
    if (other)
        px_client_request_free(other);
}

static void take_response(struct px_client_server *server, const json_t *message)
{
    const json_t *result = json_object_get(message, "result"), *error = json_object_get(message, "error");
    const json_t *id = json_object_get(message, "id");
    struct px_client_request *request = json_is_integer(id) ? take_waiting(server, json_integer_value(id)) : NULL;
    if (!request)
        return; /* a second answer, or an answer to no request */
    server->unasked_bytes = 0;
    enum px_client_request_kind kind = request->kind;
    if (kind == PX_CLIENT_CALL && result)
        px_client_message_result(request->call, result);
    else if (kind == PX_CLIENT_CALL)
        px_client_message_error(request->call, server->entry->name, error);
    px_client_request_free(request);
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
        return; /* not a message: some servers print to standard output by mistake */
    if (!method)
        take_response(server, message);
    else if (json_object_get(message, "id"))
        px_client_message_answer(&server->out, message);
    else if (strcmp(method, "notifications/tools/list_changed") == 0 && !server->relist_at_ns)
        server->relist_at_ns = server->listed_ns + RELIST_NS;
}

void px_client_take_lines(struct px_client_server *server)
{
    size_t done = 0;
    char *end;
    while (server->up && done < server->in.length &&
           (end = memchr(server->in.data + done, '\n', server->in.length - done))) {
        size_t length = (size_t)(end - (server->in.data + done));
        take_line(server, server->in.data + done, length);
        if (!server->in.data)
            return; /* px_client_go_down() was called */
        done += length + 1;
    }
    px_buffer_consume(&server->in, done);
}
