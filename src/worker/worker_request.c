/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a request: message, HTTP request, response or events, answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/trace_context.h"
#include "worker/worker.h"

#define IGNORED_SAY_NS (10000 * PX_NS_PER_MS)

struct px_node_request *px_node_request_new(struct px_worker *worker, const char *reply)
{
    struct px_node_request *request = calloc(1, sizeof *request);
    if (!request)
        return NULL;
    request->worker = worker;
    request->reply = reply && *reply ? strdup(reply) : NULL;
    request->started_ns = request->heard_ns = request->said_ns = px_now_ns();
    if (px_trace_make_id(request->id, PX_NODE_ID_SIZE - 1) < 0 || (reply && *reply && !request->reply)) {
        free(request->reply);
        free(request);
        return NULL;
    }
    request->next = worker->requests;
    if (request->next)
        request->next->previous = request;
    worker->requests = request;
    worker->request_count++;
    return request;
}

struct px_node_request *px_node_request_find(struct px_worker *worker, const char *id)
{
    struct px_node_request *at = worker->requests;
    while (at && (at->finished || strcmp(at->id, id) != 0))
        at = at->next;
    return at;
}

/* The server has no part in the request any more. */
static void leave_server(struct px_node_request *request)
{
    px_node_http_drop(request);
    request->worker->runs -= request->running;
    request->running = false;
    px_sessions_left(request);
}

static void free_request(struct px_node_request *request)
{
    struct px_worker *worker = request->worker;
    px_answer_free(request);
    px_share_leave(request);
    worker->request_count--;
    if (request->previous)
        request->previous->next = request->next;
    else
        worker->requests = request->next;
    if (request->next)
        request->next->previous = request->previous;
    px_buffer_done(&request->headers);
    px_buffer_done(&request->body);
    px_buffer_done(&request->answer);
    px_buffer_done(&request->passed);
    free(request->reply);
    free(request->path);
    free(request->principal);
    free(request->session);
    free(request->key);
    px_keep_free(request->keep);
    json_decref(request->branches);
    free(request->environment);
    free(request);
}

void px_node_finish(struct px_node_request *request)
{
    if (request->finished)
        return;
    request->finished = true;
    request->next_finished = request->worker->finished;
    request->worker->finished = request;
}

void px_node_sweep(struct px_worker *worker)
{
    bool any = worker->finished;
    while (worker->finished) {
        struct px_node_request *request = worker->finished;
        worker->finished = request->next_finished;
        leave_server(request);
        free_request(request);
    }
    if (any)
        px_load_update(worker);
}

/* ---- From the message to the server ---- */

/* Sets the policy's `environment`. A body that is not an object goes to the server as it is, which says what is wrong with it. */
static bool set_environment(struct px_node_request *request)
{
    px_auto_json json_t *body = px_json_read(px_buffer_string(&request->body), request->body.length,
                                             JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    json_t *policy = json_object_get(body, "policy");
    const char *given = json_string_value(json_object_get(policy, "environment"));
    if (!json_is_object(body) || (policy && !json_is_object(policy)))
        return true;
    if (given && strcmp(given, request->environment) != 0) {
        px_answer_problem(request, 400, "invalid_request", "Leave out policy.environment, or send to pyexec.v1.run.",
                          "the subject names the environment '%.64s', the policy '%.64s'", request->environment, given);
        return false;
    }
    if (!policy)
        px_json_set(body, "policy", policy = json_object());
    px_json_set(policy, "environment", json_string(request->environment));
    char *text = px_json_dumps(body, JSON_COMPACT);
    px_buffer_done(&request->body);
    px_buffer_add_string(&request->body, text);
    free(text);
    return px_buffer_ok(&request->body);
}

static void refuse_without_memory(struct px_node_request *request)
{
    px_answer_problem(request, 503, "overloaded", PX_HINT_AGAIN, "the node has no memory for the request");
}

/* The first event. It says that the node has the request and that nothing has started. */
static void say_accepted(struct px_node_request *request)
{
    char text[PX_NODE_NAME_MAX + PX_NODE_ID_SIZE + 40];
    int length =
        snprintf(text, sizeof text, "{\"node\":\"%s\",\"request\":\"%s\"}", request->worker->node, request->id);
    px_answer_event(request, "accepted", NULL, NULL, text, (size_t)length);
}

void px_node_begin(struct px_node_request *request)
{
    struct px_worker *worker = request->worker;
    request->stage = PX_NODE_TURN;
    if (!px_buffer_ok(&request->body)) { /* what is left of it could be taken for the whole body */
        refuse_without_memory(request);
        return;
    }
    if (request->mcp && !request->known && !px_node_mcp_take(request))
        return;
    if ((request->session || request->opens) && px_sessions_take(request))
        return;
    if (request->key && !request->keyed) {
        px_keys_claim(request);
        return;
    }
    if (request->environment && !set_environment(request)) {
        if (!request->ended)
            refuse_without_memory(request);
        return;
    }
    request->stage = PX_NODE_SENT;
    request->running = request->counted;
    worker->runs += request->running;
    if (px_node_http_send(request) < 0) {
        leave_server(request);
        refuse_without_memory(request);
    }
    if (request->counted)
        px_load_update(worker);
}

static bool take_share(struct px_node_request *request, enum px_goods goods, size_t amount, const char *what)
{
    struct px_node_figures *figures = request->worker->figures;
    int status = px_share_take(request, goods, amount);
    if (status)
        ++*(status == 429 ? &figures->refused_principal : &figures->refused_node);
    if (status == 429)
        px_answer_problem(request, status, "overloaded", PX_HINT_AGAIN,
                          "the %s of this principal take more than its share of the node", what);
    else if (status)
        px_answer_problem(request, status, "overloaded", PX_HINT_AGAIN, "the node has no room for more %s", what);
    return status == 0;
}

static bool take_body(struct px_node_request *request, natsMsg *message)
{
    const char *parts = px_link_header(message, "Pyexec-Parts"), *bytes = px_link_header(message, "Pyexec-Bytes");
    size_t length = (size_t)natsMsg_GetDataLength(message);
    request->parts = parts ? (unsigned)strtoul(parts, NULL, 10) : 1;
    request->total = bytes ? strtoull(bytes, NULL, 10) : length;
    if (request->total > PX_NODE_BODY_MAX) {
        px_answer_problem(request, 413, "invalid_request", "Upload data as files.", "the body is larger than 32 MiB");
        return false;
    }
    if (!request->parts || request->total < length || request->parts > request->total + 1 ||
        (request->parts == 1 && request->total != length)) {
        px_answer_problem(request, 400, "invalid_request",
                          "Send the number of parts, and the bytes of the whole body in decimal.",
                          "Pyexec-Parts and Pyexec-Bytes do not match the message");
        return false;
    }
    if (!take_share(request, PX_GOODS_BODIES, request->total, "bodies of requests"))
        return false;
    px_buffer_add(&request->body, natsMsg_GetData(message), length);
    return true;
}

static bool is_refused(struct px_worker *worker, natsMsg *message)
{
    if (worker->request_count < PX_NODE_REQUESTS_MAX && !worker->closing)
        return false;
    worker->refused++;
    worker->figures->refused_node++;
    px_answer_message(worker, message, 503, worker->closing ? "shutting_down" : "overloaded",
                      worker->closing ? "the node is shutting down" : "the node has too many requests", PX_HINT_AGAIN);
    return true;
}

/* The length of the subject of this node. */
static size_t node_length(const struct px_worker *worker)
{
    return strlen("pyexec.v1.node.") + strlen(worker->node);
}

static void count_taken(struct px_worker *worker, enum px_topic_kind kind, const char *subject)
{
    worker->served++;
    if (kind == PX_TOPIC_RUN)
        worker->figures->taken_runs++;
    else if (strncmp(subject + node_length(worker), ".s.", 3) == 0)
        worker->figures->taken_sessions++;
    else
        worker->figures->taken_others++;
}

static void take_request(struct px_worker *worker, enum px_topic_kind kind, natsMsg *message)
{
    const char *reply = natsMsg_GetReply(message);
    if (!reply || !*reply || is_refused(worker, message)) /* without a reply nobody would get the answer */
        return;
    struct px_node_request *request = px_node_request_new(worker, reply);
    if (!request) {
        px_answer_message(worker, message, 503, "overloaded", "the node has no memory for the request", PX_HINT_AGAIN);
        return;
    }
    count_taken(worker, kind, natsMsg_GetSubject(message));
    if (!px_node_route(request, kind, natsMsg_GetSubject(message), message) ||
        !take_share(request, PX_GOODS_REQUESTS, 1, "requests") || !take_body(request, message)) {
        if (!request->ended)
            px_answer_problem(request, 400, "invalid_request", "docs/scale.md lists the subjects.",
                              "there is no such subject");
        return;
    }
    if (request->events)
        say_accepted(request);
    if (request->parts > 1)
        px_node_upload_begin(request);
    else
        px_node_begin(request);
}

/* ---- Messages about a request ---- */

/* The client answers a tool call: sends it to the server as the request's principal. */
static void answer_call(struct px_node_request *request, const char *call, natsMsg *message)
{
    struct px_worker *worker = request->worker;
    static const char type[] = "Content-Type: application/json";
    struct px_node_request *answer =
        is_refused(worker, message) ? NULL : px_node_request_new(worker, natsMsg_GetReply(message));
    if (!answer)
        return;
    size_t size = strlen(call) + sizeof "/v1/calls/";
    answer->path = malloc(size);
    answer->principal = strdup(request->principal);
    strcpy(answer->method, "POST");
    px_buffer_add(&answer->headers, type, sizeof type);
    answer->parts = 1;
    if (!answer->path || !answer->principal || !take_share(answer, PX_GOODS_REQUESTS, 1, "requests") ||
        !take_body(answer, message)) {
        px_node_finish(answer);
        return;
    }
    snprintf(answer->path, size, "/v1/calls/%s", call);
    px_node_begin(answer);
}

/* `rest` is REQUEST.VERB or REQUEST.VERB.ARGUMENT. */
static void take_about(struct px_worker *worker, const char *rest, natsMsg *message)
{
    char id[PX_NODE_ID_SIZE] = "";
    size_t length = strcspn(rest, ".");
    /* Nobody listens at the reply subject: the client is gone, or is connecting to another NATS server. It has as much time as one that is
     * silent. */
    if (natsMsg_IsNoResponders(message))
        return;
    if (length < sizeof id)
        memcpy(id, rest, length);
    const char *verb = rest[length] ? rest + length + 1 : "";
    struct px_node_request *request = px_node_request_find(worker, id);
    if (!request) {
        px_answer_message(worker, message, 404, "request_not_found", "this request is not in progress",
                          "It has ended, or the node was restarted.");
        return;
    }
    if (strcmp(verb, "ping") == 0) {
        px_answer_message(worker, message, 204, NULL, NULL, NULL);
    } else if (strcmp(verb, "cancel") == 0) {
        px_answer_message(worker, message, 204, NULL, NULL, NULL);
        px_node_cancel(request);
    } else if (strcmp(verb, "part") == 0) {
        px_node_upload_take(request, message);
    } else if (strncmp(verb, "ack.", 4) == 0) {
        px_answer_acknowledged(request, strtoull(verb + 4, NULL, 10));
    } else if (strncmp(verb, "call.", 5) == 0) {
        answer_call(request, verb + 5, message);
    }
}

/* This program publishes answers with its own permissions, and NATS does not compare a reply subject with those of the sender. So
 * nothing is sent to subjects that do something: those of the fleet (a node's commands) and of NATS ($JS.API, $KV). */
static bool may_be_answered(struct px_worker *worker, natsMsg *message)
{
    const char *reply = natsMsg_GetReply(message);
    if (!reply || (strncmp(reply, "pyexec.", 7) != 0 && *reply != '$'))
        return true;
    int64_t now = px_now_ns();
    worker->ignored++;
    if (!worker->ignored_ns || now - worker->ignored_ns > IGNORED_SAY_NS) {
        px_worker_say("%llu messages were ignored: their reply subject is one of pyexec or of NATS (the last: %.100s)",
                      (unsigned long long)worker->ignored, reply);
        worker->ignored_ns = now;
        worker->ignored = 0;
    }
    return false;
}

void px_node_take(struct px_worker *worker, enum px_topic_kind kind, natsMsg *message)
{
    const char *subject = natsMsg_GetSubject(message);
    if (kind == PX_TOPIC_REPLY) {
        if (!px_ask_take(worker, message))
            px_peers_take(worker, message);
        return;
    }
    if (!may_be_answered(worker, message))
        return;
    if (kind == PX_TOPIC_RUN) {
        take_request(worker, kind, message);
        return;
    }
    if (kind == PX_TOPIC_PEERS) {
        px_peers_question(worker, message);
        return;
    }
    if (kind == PX_TOPIC_SERVICE) {
        px_node_service(worker, message, subject);
        return;
    }
    const char *rest = subject + node_length(worker);
    if (kind == PX_TOPIC_ABOUT)
        take_about(worker, rest + strlen(".r."), message);
    else if (*rest)
        take_request(worker, kind, message);
    else
        px_node_command(worker, message);
}

/* ---- From the server to the client ---- */

/* A call's id becomes a part of a subject. */
static bool make_call_subject(struct px_node_request *request, const struct px_sse_event *event, char *ret, size_t size)
{
    px_auto_json json_t *call = px_json_loadb(event->data, event->length, JSON_ALLOW_NUL, NULL);
    const char *id = json_string_value(json_object_get(call, "call_id"));
    if (!id || !*id || strlen(id) > 64 || strpbrk(id, ". *>/\r\n\t"))
        return false;
    snprintf(ret, size, "pyexec.v1.node.%s.r.%s.call.%s", request->worker->node, request->id, id);
    return true;
}

void px_node_event(struct px_node_request *request, const struct px_sse_event *event)
{
    char reply[256];
    if (request->mcp) {
        px_node_mcp_event(request, event);
    } else if (strcmp(event->name, "result") == 0) {
        px_answer_last(request, 200, "application/json", event->data, event->length);
    } else if (strcmp(event->name, "error") == 0) {
        px_auto_json json_t *problem = px_json_loadb(event->data, event->length, JSON_ALLOW_NUL, NULL);
        int status = (int)json_integer_value(json_object_get(problem, "status"));
        px_answer_last(request, status ? status : 500, "application/problem+json", event->data, event->length);
    } else {
        bool is_call = strncmp(event->name, "tool_", 5) == 0 && make_call_subject(request, event, reply, sizeof reply);
        px_answer_event(request, event->name, event->id, is_call ? reply : NULL, event->data, event->length);
    }
}

static void answer_failure(struct px_node_request *request, CURLcode code)
{
    bool unsent = code == CURLE_COULDNT_CONNECT || !request->sent;
    if (request->too_long)
        px_answer_problem(request, 413, "invalid_request", "Read large files with the header Range.",
                          "the answer is larger than 32 MiB");
    else if (unsent)
        px_answer_problem(request, 503, "overloaded", PX_HINT_AGAIN, "the node's server can't be reached");
    else
        px_answer_problem(request, 502, "internal", "The code may have run. Do not send it again without a check.",
                          "the node's server ended before its answer was complete");
}

void px_node_http_over(struct px_node_request *request, CURLcode code)
{
    struct px_worker *worker = request->worker;
    long status = 0;
    curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
    request->status = status;
    if (request->done) {
        request->done(request);
        px_node_finish(request);
        return;
    }
    bool answered = code == CURLE_OK && px_sessions_answered(request, (int)status);
    if (!request->ended && !request->keep && !answered) {
        if (code != CURLE_OK || (request->is_stream && !request->mcp))
            answer_failure(request, code);
        else if (request->is_stream) /* the answer was an event */
            px_answer_last(request, (int)status, NULL, NULL, 0);
        else
            px_answer_last(request, (int)status, px_buffer_pair(&request->passed, "Content-Type"),
                           px_buffer_shown(&request->answer), px_buffer_length(&request->answer));
    }
    px_buffer_done(&request->answer);
    px_buffer_done(&request->body);
    worker->served_ns += px_now_ns() - request->started_ns;
    leave_server(request);
    px_answer_check(request);
    if (request->counted)
        px_load_update(worker);
}

void px_node_cancel(struct px_node_request *request)
{
    leave_server(request);
    px_answer_problem(request, 499, "cancelled", "Its client, or another one that knows its id, cancelled it.",
                      "the request was cancelled");
}

void px_node_abandon(struct px_node_request *request)
{
    leave_server(request);
    px_answer_free(request);
    request->ended = true;
    px_node_finish(request);
}

void px_node_lose_client(struct px_node_request *request)
{
    request->worker->figures->lost_clients++;
    if (!request->keeps || !request->keyed || request->kept) {
        px_node_abandon(request);
        return;
    }
    px_answer_free(request);
    free(TAKE_PTR(request->reply));
}

void px_node_tick(struct px_worker *worker, int64_t now_ns)
{
    for (struct px_node_request *at = worker->requests, *next; at; at = next) {
        next = at->next;
        if (at->finished)
            continue;
        if (at->stage == PX_NODE_BODY && now_ns - at->heard_ns > PX_NODE_UPLOAD_NS)
            px_answer_problem(at, 408, "request_timeout", "Send the parts without a pause.",
                              "no part of the body came for 30 seconds; nothing was started");
        else
            px_answer_tick(at, now_ns);
        px_keep_tick(at, now_ns);
    }
}
