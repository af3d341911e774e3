/* SPDX-License-Identifier: Apache-2.0 */
/* Which HTTP request a message is: its subject says for whom and for which session, its headers the rest. Everything here comes
 * from clients. A text is checked before it becomes a part of a path or a header. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/message_header.h"
#include "base/spelling.h"
#include "nats_link/mcp_route.h"
#include "nats_link/subject_template.h"
#include "worker/worker.h"

#define ROUTE_TOKENS 8
#define ROUTE_VALUE_MAX 1024u
#define ROUTE_PRINCIPAL_MAX 64u
#define RUN_KEY_MAX 128u

static bool refuse(struct px_node_request *request, int status, const char *code, const char *title, const char *hint)
{
    px_answer_problem(request, status, code, hint, "%s", title);
    return false;
}

/* The end of a function that makes the path: it is there, or the client has been told why not. */
static bool has_path(struct px_node_request *request)
{
    return request->path || (!request->ended && refuse(request, 503, "overloaded",
                                                       "the node has no memory for the request", PX_HINT_AGAIN));
}

/* Decodes base64url without padding. NULL: it is not valid, or the text is empty or has a NUL. */
static char *decode(const char *token, size_t length)
{
    px_auto_buffer struct px_buffer text = {0};
    if (px_base64url_decode(&text, token, length) < 0 || !text.length || strlen(text.data) != text.length)
        return NULL;
    return px_buffer_take(&text);
}

struct tokens {
    const char *at[ROUTE_TOKENS];
    size_t length[ROUTE_TOKENS], count;
};

/* The last token is the rest of the subject. */
static struct tokens split(const char *subject)
{
    struct tokens tokens = {.count = 0};
    while (tokens.count < ROUTE_TOKENS) {
        const char *dot = tokens.count < ROUTE_TOKENS - 1 ? strchr(subject, '.') : NULL;
        tokens.at[tokens.count] = subject;
        tokens.length[tokens.count++] = dot ? (size_t)(dot - subject) : strlen(subject);
        if (!dot)
            break;
        subject = dot + 1;
    }
    return tokens;
}

static bool is(const struct tokens *tokens, size_t index, const char *text)
{
    return index < tokens->count && tokens->length[index] == strlen(text) &&
           memcmp(tokens->at[index], text, tokens->length[index]) == 0;
}

/* ---- Headers ---- */

static bool printable(const char *text)
{
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f)
            return false;
    return strlen(text) <= ROUTE_VALUE_MAX;
}

static bool take_headers(struct px_node_request *request, natsMsg *message)
{
    static const char *const names[] = {"Accept",      "Content-Type", "Range",         "Last-Event-ID",
                                        "traceparent", "tracestate",   "X-Request-Id",  "MCP-Protocol-Version",
                                        "Mcp-Method",  "Mcp-Name",     "Mcp-Session-Id"};
    bool typed = false;
    for (size_t i = 0; i < PX_COUNT(names); i++) {
        const char *value = px_link_header(message, names[i]);
        if (!value)
            continue;
        if (!printable(value))
            return refuse(request, 400, "invalid_request", "a header has characters that are not ASCII, or is too long",
                          "Send printable ASCII, at most 1024 bytes.");
        px_buffer_add_string(&request->headers, names[i]);
        px_buffer_add_string(&request->headers, ": ");
        px_buffer_add(&request->headers, value, strlen(value) + 1);
        request->events |= i == 0 && strstr(value, "text/event-stream");
        typed |= i == 1;
    }
    const char *key = px_link_header(message, "Pyexec-Key");
    if (key && (!*key || strlen(key) > RUN_KEY_MAX || !printable(key)))
        return refuse(request, 400, "invalid_request", "Pyexec-Key is not valid",
                      "Send 1 to 128 printable ASCII characters.");
    if (key && !(request->key = strdup(key)))
        return refuse(request, 503, "overloaded", "the node has no memory for the request", PX_HINT_AGAIN);
    const char *keep = px_link_header(message, "Pyexec-Keep");
    if (keep && (!key || strcmp(keep, "answer") != 0))
        return refuse(request, 400, "invalid_request", "Pyexec-Keep is not valid",
                      "Send `answer`, together with Pyexec-Key.");
    request->keeps = keep;
    static const char json[] = "Content-Type: application/json";
    if (!typed)
        px_buffer_add(&request->headers, json, sizeof json);
    return true;
}

/* Reads Pyexec-Call: METHOD, a space, and a path that begins with '/'. */
static bool take_call(struct px_node_request *request, natsMsg *message, const char *otherwise, const char **ret_path)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "DELETE", "OPEN"};
    const char *call = px_link_header(message, "Pyexec-Call");
    if (!call)
        call = otherwise;
    size_t length = strcspn(call, " ");
    const char *path = call + length + strspn(call + length, " ");
    for (size_t i = 0; i < PX_COUNT(methods); i++)
        if (length == strlen(methods[i]) && memcmp(call, methods[i], length) == 0)
            snprintf(request->method, sizeof request->method, "%s", methods[i]);
    bool good = *request->method && strlen(path) <= 8 * ROUTE_VALUE_MAX && (!*path || *path == '/');
    for (const char *at = path; *at; at++)
        good = good && (unsigned char)*at > ' ' && (unsigned char)*at < 0x7f && *at != '#';
    *ret_path = path;
    return good || refuse(request, 400, "invalid_request", "Pyexec-Call is not a method and a path",
                          "Send for example `POST /execute` or `GET /files/a.csv`.");
}

/* ---- The kinds of subjects ---- */

static bool take_principal(struct px_node_request *request, const char *token, size_t length)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    px_auto_free char *name = decode(token, length);
    if (!name || strlen(name) > ROUTE_PRINCIPAL_MAX || strspn(name, allowed) != strlen(name))
        return refuse(request, 400, "invalid_request", "the principal in the subject is not valid",
                      "It is the principal's name as base64url without padding.");
    request->principal = TAKE_PTR(name);
    return true;
}

/* True if the call is a message of the Model Context Protocol. Its body, which may still be on its way, says more (worker_mcp.c). */
static bool is_mcp(struct px_node_request *request, const char *path)
{
    request->mcp = strcmp(path, PX_MCP_ROUTE_PATH) == 0 && strcmp(request->method, "POST") == 0;
    return request->mcp;
}

static bool take_mcp(struct px_node_request *request)
{
    if (request->key)
        return refuse(request, 400, "invalid_request", "POST /mcp takes no Pyexec-Key", "Leave it out.");
    request->path = strdup(PX_MCP_ROUTE_PATH);
    return has_path(request);
}

/* pyexec.v1.run, .run.ENV and .open, also with `as.PRINCIPAL` before it. */
static bool route_run(struct px_node_request *request, const struct tokens *tokens, size_t at, natsMsg *message)
{
    const char *path;
    if (!request->principal)
        request->principal = strdup(request->worker->principal);
    if (!request->principal)
        return has_path(request);
    if (is(tokens, at, "open")) {
        px_sessions_open_call(request);
        return has_path(request);
    }
    if (!take_call(request, message, "POST /v1/execute", &path))
        return false;
    if (is_mcp(request, path))
        return take_mcp(request);
    if (at + 1 < tokens->count)
        request->environment = strdup(tokens->at[at + 1]);
    request->counted = strcmp(path, "/v1/execute") == 0 || strcmp(path, "/v1/verify") == 0;
    bool is_list = strcmp(path, "/v1/environments") == 0 && strcmp(request->method, "GET") == 0;
    if (!is_list && (!request->counted || strcmp(request->method, "POST") != 0))
        return refuse(request, 404, "not_found", "this subject has no such call",
                      "Send POST /v1/execute (the default), POST /v1/verify, POST /mcp or GET /v1/environments.");
    request->path = strdup(path);
    return has_path(request);
}

/* pyexec.v1.node.NODE.s.PRINCIPAL.ID */
static bool route_session(struct px_node_request *request, const struct tokens *tokens, natsMsg *message)
{
    const char *path;
    px_auto_buffer struct px_buffer whole = {0};
    if (tokens->count != 7 || !take_principal(request, tokens->at[5], tokens->length[5]))
        return false;
    px_auto_free char *session = decode(tokens->at[6], tokens->length[6]);
    if (!session || !px_word_is_session_id(session, strlen(session), PX_SESSION_ID_MAX))
        return refuse(request, 400, "invalid_request", "the session id in the subject is not valid",
                      "It is base64url without padding, of 1 to 128 of A-Z a-z 0-9 . _ : - (and not \".\" or \"..\").");
    request->session = TAKE_PTR(session);
    if (!take_call(request, message, "POST /execute", &path))
        return false;
    if (strcmp(request->method, "GET") != 0 &&
        strchr(path, '?')) /* the server would cut it off, and see another path */
        return refuse(request, 400, "invalid_request", "only GET takes a query",
                      "Send the path without '?'; in a file's name it is %3F.");
    if (strcmp(request->method, "OPEN") == 0) {
        px_sessions_open_call(request);
        return has_path(request);
    }
    if (is_mcp(request, path))
        return take_mcp(request);
    bool is_post = strcmp(request->method, "POST") == 0;
    request->forks = is_post && strcmp(path, "/fork") == 0;
    request->counted = is_post && strcmp(path, "/execute") == 0;
    request->ordered =
        request->counted || request->forks || (is_post && (strcmp(path, "/undo") == 0 || strcmp(path, "/reset") == 0));
    px_buffer_printf(&whole, "/v1/sessions/%s%s", request->session, path);
    request->path = px_buffer_take(&whole);
    return has_path(request);
}

/* pyexec.v1.node.NODE.p.PRINCIPAL. Sessions have an owner, so their routes have the other subjects. */
static bool route_other(struct px_node_request *request, const struct tokens *tokens, natsMsg *message)
{
    static const char *const starts[] = {"/v1/executions", "/v1/calls/", "/v1/runs/", "/v1/environments"};
    const char *path;
    if (tokens->count != 6 || !take_principal(request, tokens->at[5], tokens->length[5]) ||
        !take_call(request, message, "GET /v1/executions", &path))
        return false;
    if (is_mcp(request, path))
        return take_mcp(request);
    bool good = strcmp(path, "/v1/sessions") == 0 && strcmp(request->method, "GET") == 0;
    for (size_t i = 0; i < PX_COUNT(starts); i++)
        good |= strncmp(path, starts[i], strlen(starts[i])) == 0;
    if (!good)
        return refuse(request, 404, "not_found", "this subject has no such path",
                      "It has /v1/executions, /v1/calls, /v1/runs, /v1/environments, POST /mcp and GET /v1/sessions.");
    request->path = strdup(path);
    return has_path(request);
}

/* The server makes a span of a message whose code it runs. The size of the body is that of the message. */
static void describe(struct px_node_request *request, enum px_topic_kind kind, const char *subject, natsMsg *message)
{
    struct px_message_header told = {.arrived_ns = request->started_ns, .bytes = natsMsg_GetDataLength(message)};
    char value[PX_MESSAGE_HEADER_SIZE];
    snprintf(told.node, sizeof told.node, "%s", request->worker->node);
    px_subject_template(subject, told.destination);
    snprintf(told.queue, sizeof told.queue, "%s", kind == PX_TOPIC_RUN ? request->worker->queue : "");
    px_message_header_format(&told, value);
    px_buffer_add_string(&request->headers, PX_MESSAGE_HEADER ": ");
    px_buffer_add(&request->headers, value, strlen(value) + 1);
}

static bool route(struct px_node_request *request, enum px_topic_kind kind, const char *subject, natsMsg *message)
{
    struct tokens tokens = split(subject);
    if (!take_headers(request, message))
        return false;
    if (kind == PX_TOPIC_NODE)
        return is(&tokens, 4, "s") ? route_session(request, &tokens, message) : route_other(request, &tokens, message);
    if (is(&tokens, 2, "as"))
        return take_principal(request, tokens.at[3], tokens.length[3]) && route_run(request, &tokens, 4, message);
    return route_run(request, &tokens, 2, message);
}

bool px_node_route(struct px_node_request *request, enum px_topic_kind kind, const char *subject, natsMsg *message)
{
    if (!route(request, kind, subject, message))
        return false;
    if (request->counted || request->mcp)
        describe(request, kind, subject, message);
    return true;
}
