/* SPDX-License-Identifier: Apache-2.0 */
/* Handles the lines of pyexec and the messages of the server. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "mcp_http/bridge.h"

#define BRIDGE_META "io.modelcontextprotocol/"
#define TRIES_MAX 2 /* how often a message is sent again, each time in a new session */
#define LISTEN_AGAIN_NS \
    INT64_C(5000000000) /* the pause before the next GET, after the server ended the stream of the last one */
#define CANCELLED "notifications/cancelled"
#define CHANGED "notifications/tools/list_changed"

void px_bridge_fail(struct px_bridge *bridge, const char *format, ...)
{
    va_list arguments;
    if (*bridge->failure)
        return;
    va_start(arguments, format);
    vsnprintf(bridge->failure, sizeof bridge->failure, format, arguments);
    va_end(arguments);
    bridge->ended = true;
}

/* ---- Lines for pyexec ---- */

/* Appends the JSON text as one line, with the secrets replaced. Line ends can be replaced too: in valid JSON they are only
 * between values. */
static void add_clean(struct px_bridge *bridge, const char *text, size_t length)
{
    size_t i, start = bridge->out.length;
    json_t *secret;
    px_buffer_add(&bridge->out, text, length);
    json_array_foreach(bridge->secrets, i, secret) {
        const char *wanted = json_string_value(secret);
        size_t size = json_string_length(secret), from = start;
        char *found;
        while (px_buffer_ok(&bridge->out) && size &&
               (found = memmem(bridge->out.data + from, bridge->out.length - from, wanted, size))) {
            memset(found, '*', size);
            from = (size_t)(found - bridge->out.data) + size;
        }
    }
    for (size_t at = start; px_buffer_ok(&bridge->out) && at < bridge->out.length; at++)
        if (bridge->out.data[at] == '\n' || bridge->out.data[at] == '\r')
            bridge->out.data[at] = ' ';
    px_buffer_add_byte(&bridge->out, '\n');
}

/* Takes ownership of the message. */
static void add_message(struct px_bridge *bridge, json_t *message)
{
    px_auto_free char *text = message ? px_json_dumps(message, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(message);
    if (text)
        add_clean(bridge, text, strlen(text));
    else
        bridge->out.failed = true;
}

static bool is_call(const struct px_bridge_exchange *exchange)
{
    return exchange->method && strcmp(exchange->method, "tools/call") == 0;
}

/* Answers pyexec's request with an error. If the request is not a tool call, the error is also written to standard error:
 * pyexec shows the last output there when a server can't be used. */
static void give_error(struct px_bridge_exchange *exchange, const char *why)
{
    px_auto_buffer struct px_buffer text = {0};
    px_utf8_repair(&text, why, strlen(why));
    exchange->answered = true;
    if (!is_call(exchange))
        fprintf(stderr, "%s: %s\n", exchange->bridge->place, px_buffer_shown(&text));
    add_message(exchange->bridge, json_pack("{s:s, s:O, s:{s:i, s:s}}", "jsonrpc", "2.0", "id", exchange->id, "error",
                                            "code", -32000, "message", px_buffer_string(&text)));
}

/* ---- Sessions ---- */

/* Reads the session id and the revision from the answer to `initialize`. */
static void begin_session(struct px_bridge_exchange *exchange, const json_t *result)
{
    struct px_bridge *bridge = exchange->bridge;
    const char *version = json_string_value(json_object_get(result, "protocolVersion"));
    memcpy(bridge->session, exchange->session, sizeof bridge->session);
    bool sane =
        version && strlen(version) < sizeof bridge->version && strspn(version, "0123456789-") == strlen(version);
    strcpy(bridge->version, sane ? version : "");
    bridge->generation++;
}

static struct px_bridge_exchange *send_text(struct px_bridge *bridge, enum px_bridge_kind kind, char *text,
                                            size_t length)
{
    struct px_bridge_exchange *exchange = text ? px_bridge_exchange_new(bridge, kind, text, length) : NULL;
    if (!exchange || px_bridge_exchange_send(exchange) < 0) {
        px_bridge_fail(bridge, "pyexec has no memory for a message");
        return NULL;
    }
    return exchange;
}

static void start_again(struct px_bridge *bridge)
{
    for (const struct px_bridge_exchange *at = bridge->exchanges; at; at = at->next)
        if (at->kind == PX_BRIDGE_AGAIN)
            return;
    char *text = bridge->initialize ? strndup(bridge->initialize, bridge->initialize_length) : NULL;
    struct px_bridge_exchange *again = send_text(bridge, PX_BRIDGE_AGAIN, text, bridge->initialize_length);
    px_auto_json json_t *message = again ? px_json_loadb(again->body, again->body_length, JSON_ALLOW_NUL, NULL) : NULL;
    if (again)
        again->id = json_incref(json_object_get(message, "id"));
}

/* The new session has started. Sends `initialized`; the messages that wait are sent when that has ended. Tells pyexec to read
 * the list of tools again, because it may be different now. */
static void go_on(struct px_bridge *bridge)
{
    static const char initialized[] = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\",\"params\":{}}";
    struct px_bridge_exchange *told = send_text(bridge, PX_BRIDGE_NOTICE, strdup(initialized), sizeof initialized - 1);
    if (told)
        told->barrier = true;
    add_message(bridge, json_pack("{s:s, s:s}", "jsonrpc", "2.0", "method", CHANGED));
    bridge->listen_at_ns = px_now_ns();
}

static void resend_waiting(struct px_bridge *bridge)
{
    for (struct px_bridge_exchange *at = bridge->exchanges; at; at = at->next)
        if (!at->easy && px_bridge_exchange_send(at) < 0)
            px_bridge_fail(bridge, "pyexec has no memory for a message");
}

/* Returns true if the response says that the session no longer exists: 404, or 400 with the word "session", which servers made
 * from the examples of the TypeScript SDK send. */
static bool lost_session(const struct px_bridge_exchange *exchange, const json_t *message)
{
    const char *said = json_string_value(json_object_get(json_object_get(message, "error"), "message"));
    if (exchange->modern || exchange->kind == PX_BRIDGE_AGAIN || !*exchange->bridge->session)
        return false;
    return exchange->status == 404 || (exchange->status == 400 && said && strcasestr(said, "session"));
}

/* Lets the message wait for a new session, in which it is sent again. Returns false if it was sent too often. */
static bool wait_for_session(struct px_bridge_exchange *exchange)
{
    struct px_bridge *bridge = exchange->bridge;
    if (++exchange->tries > TRIES_MAX)
        return false;
    bool newer = exchange->generation != bridge->generation;
    curl_multi_remove_handle(bridge->multi, exchange->easy);
    curl_easy_cleanup(TAKE_PTR(exchange->easy));
    if (newer && px_bridge_exchange_send(exchange) < 0)
        px_bridge_fail(bridge, "pyexec has no memory for a message");
    else if (!newer)
        start_again(bridge);
    return true;
}

void px_bridge_listen(struct px_bridge *bridge)
{
    bridge->listen_at_ns = 0;
    for (const struct px_bridge_exchange *at = bridge->exchanges; at; at = at->next)
        if (at->kind == PX_BRIDGE_LISTEN)
            return;
    struct px_bridge_exchange *listening = px_bridge_exchange_new(bridge, PX_BRIDGE_LISTEN, NULL, 0);
    if (listening && px_bridge_exchange_send(listening) < 0)
        px_bridge_exchange_free(listening);
}

/* ---- Messages of the server ---- */

static void take_answer(struct px_bridge_exchange *exchange, json_t *message, const char *text, size_t length)
{
    struct px_bridge *bridge = exchange->bridge;
    const json_t *id = json_object_get(message, "id"), *error = json_object_get(message, "error");
    json_t *result = json_object_get(message, "result");
    bool ours = exchange->id && id && json_equal(id, exchange->id);
    bool of_any = exchange->id && json_is_object(error) && (!id || json_is_null(id));
    if ((!ours && !of_any) || (!result && !error) || exchange->answered)
        return;
    if (exchange->kind == PX_BRIDGE_AGAIN) {
        exchange->answered = result != NULL;
        if (result)
            begin_session(exchange, result);
        return;
    }
    exchange->answered = true;
    if (result && strcmp(exchange->method, "initialize") == 0)
        begin_session(exchange, result);
    bool changed = result && exchange->modern && strcmp(exchange->method, "tools/list") == 0 &&
                   px_bridge_params_learn(bridge, result);
    if (ours && !changed) {
        add_clean(bridge, text, length);
        return;
    }
    px_json_set(message, "id", json_incref(exchange->id));
    add_message(bridge, json_incref(message));
}

void px_bridge_take_message(struct px_bridge_exchange *exchange, const char *text, size_t length)
{
    json_error_t problem = {0};
    px_auto_json json_t *message = px_json_read(text, length, JSON_ALLOW_NUL, &problem);
    const char *method = json_string_value(json_object_get(message, "method"));
    bool asks = method && json_object_get(message, "id");
    if (exchange->answered || !json_is_object(message))
        return;
    if (!method)
        take_answer(exchange, message, text, length);
    else if ((asks && !exchange->modern) || strcmp(method, CHANGED) == 0)
        add_clean(exchange->bridge, text, length);
}

/* ---- The end of an exchange ---- */

static void tell_failure(struct px_bridge_exchange *exchange, const char *why)
{
    struct px_bridge *bridge = exchange->bridge;
    char text[500];
    if (why)
        snprintf(text, sizeof text, "%s", why);
    else if (exchange->status >= 300 && exchange->status < 400)
        snprintf(text, sizeof text,
                 "it redirects to another address (HTTP %ld), which is not followed: write that address as its url",
                 exchange->status);
    else if (exchange->status == 401 || exchange->status == 403)
        snprintf(text, sizeof text, "it refuses the credentials in its headers (HTTP %ld)", exchange->status);
    else if (exchange->status >= 400)
        snprintf(text, sizeof text, "it answered with HTTP %ld", exchange->status);
    else
        snprintf(text, sizeof text, "its answer (HTTP %ld) has no response to the request", exchange->status);
    bool no_mcp = !why && (exchange->status == 400 || exchange->status == 404 || exchange->status == 405 ||
                           exchange->status == 406 || exchange->status == 415);
    if (is_call(exchange) || no_mcp)
        give_error(exchange, text); /* the server may not support this revision: pyexec tries the other one */
    else
        px_bridge_fail(bridge, "%s: %s", bridge->place, text);
}

static void finish_again(struct px_bridge_exchange *exchange, const char *why)
{
    struct px_bridge *bridge = exchange->bridge;
    bool good = exchange->answered;
    long status = exchange->status;
    px_bridge_exchange_free(exchange);
    if (good) {
        go_on(bridge);
        return;
    }
    px_bridge_fail(bridge, "%s: the session was lost, and a new one was refused: %s (HTTP %ld)", bridge->place,
                   why ? why : "no answer to initialize", status);
}

static void finish_request(struct px_bridge_exchange *exchange, const char *why)
{
    px_auto_json json_t *message = NULL;
    json_error_t problem = {0};
    if (!why && !exchange->answered && px_buffer_length(&exchange->text))
        message =
            px_json_read(px_buffer_shown(&exchange->text), px_buffer_length(&exchange->text), JSON_ALLOW_NUL, &problem);
    if (!why && !exchange->answered && lost_session(exchange, message) && wait_for_session(exchange))
        return;
    if (!why && !exchange->answered && px_buffer_length(&exchange->text))
        px_bridge_take_message(exchange, px_buffer_shown(&exchange->text), px_buffer_length(&exchange->text));
    if (!exchange->answered && exchange->kind == PX_BRIDGE_REQUEST)
        tell_failure(exchange, why);
    px_bridge_exchange_free(exchange);
}

void px_bridge_finish(struct px_bridge_exchange *exchange, const char *why)
{
    struct px_bridge *bridge = exchange->bridge;
    bool barrier = exchange->barrier;
    if (exchange->kind == PX_BRIDGE_LISTEN) {
        /* A server without this stream answers with 405. */
        bool served = exchange->status == 200 && exchange->is_events;
        bridge->listen_at_ns = served ? px_now_ns() + LISTEN_AGAIN_NS : 0;
        px_bridge_exchange_free(exchange);
    } else if (exchange->kind == PX_BRIDGE_AGAIN) {
        if (px_buffer_length(&exchange->text))
            px_bridge_take_message(exchange, px_buffer_shown(&exchange->text), px_buffer_length(&exchange->text));
        finish_again(exchange, why);
    } else if (exchange->kind == PX_BRIDGE_REQUEST) {
        finish_request(exchange, why);
    } else {
        px_bridge_exchange_free(exchange);
    }
    if (barrier) {
        resend_waiting(bridge);
        bridge->listen_at_ns = px_now_ns();
    }
}

/* ---- Lines of pyexec ---- */

static bool cancel(struct px_bridge *bridge, const json_t *params)
{
    const json_t *id = json_object_get(params, "requestId");
    for (struct px_bridge_exchange *at = bridge->exchanges; at && id; at = at->next)
        if (at->id && at->kind == PX_BRIDGE_REQUEST && json_equal(at->id, id)) {
            bool modern = at->modern;
            px_bridge_exchange_free(at);
            return !modern;
        }
    return false;
}

/* Adds the headers that repeat parts of the message (2026-07-28). */
static void add_own_headers(struct px_bridge_exchange *exchange, const json_t *params, const json_t *version)
{
    const json_t *name = json_object_get(params, "name");
    px_bridge_exchange_header(exchange, "MCP-Protocol-Version", json_string_value(version),
                              json_string_length(version));
    px_bridge_exchange_header(exchange, "Mcp-Method", exchange->method, strlen(exchange->method));
    if (!is_call(exchange) || !json_is_string(name))
        return;
    px_bridge_exchange_header(exchange, "Mcp-Name", json_string_value(name), json_string_length(name));
    px_bridge_params_add(exchange, params);
}

static void keep_initialize(struct px_bridge *bridge, const char *line, size_t length)
{
    free(bridge->initialize);
    bridge->initialize = strndup(line, length);
    bridge->initialize_length = length;
}

void px_bridge_take_line(struct px_bridge *bridge, const char *line, size_t length)
{
    px_auto_json json_t *message = px_json_loadb(line, length, JSON_ALLOW_NUL, NULL);
    const json_t *params = json_object_get(message, "params");
    const json_t *version = json_object_get(json_object_get(params, "_meta"), BRIDGE_META "protocolVersion");
    const char *method = json_string_value(json_object_get(message, "method"));
    json_t *id = json_object_get(message, "id");
    bool modern = json_is_string(version);
    if (!message || (method && strcmp(method, CANCELLED) == 0 && !cancel(bridge, params)))
        return;
    char *body = malloc(length + 1);
    if (body) {
        memcpy(body, line, length);
        body[length] = '\0';
    }
    struct px_bridge_exchange *exchange =
        body ? px_bridge_exchange_new(bridge, method && id ? PX_BRIDGE_REQUEST : PX_BRIDGE_NOTICE, body, length) : NULL;
    if (!exchange) {
        px_bridge_fail(bridge, "pyexec has no memory for a message");
        return;
    }
    exchange->id = exchange->kind == PX_BRIDGE_REQUEST ? json_incref(id) : NULL;
    exchange->method = strdup(method ? method : "");
    exchange->modern = modern;
    exchange->barrier = method && strcmp(method, "notifications/initialized") == 0;
    if (method && strcmp(method, "initialize") == 0)
        keep_initialize(bridge, line, length);
    if (exchange->method && modern)
        add_own_headers(exchange, params, version);
    if (!exchange->method || px_bridge_exchange_send(exchange) < 0)
        px_bridge_fail(bridge, "pyexec has no memory for a message");
}
