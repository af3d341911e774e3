/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to the client of a request. NATS has no flow control between a sender and a receiver: a server ends the connection
 * of a client that is too slow, and the client's library drops messages. So this program asks the client to acknowledge about
 * every 256 KiB, and every part of a body that does not fit into one message, and is at most ANSWER_AHEAD such messages ahead. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "worker/worker.h"

/* docs/scale.md, "Answer", has these: */
#define ANSWER_AHEAD 4u                              /* messages without their acknowledgement */
#define ANSWER_ASK_BYTES (256u << 10)                /* an acknowledgement is asked for after so many bytes */
#define ANSWER_WAITING_MAX (1u << 20)                /* more bytes of an answer wait in the server */
#define ANSWER_REPEAT_NS (2 * INT64_C(1000000000))   /* until a message without its acknowledgement is sent again */
#define ANSWER_GIVE_UP_NS (30 * INT64_C(1000000000)) /* until the client counts as gone */
#define ALIVE_NS (10 * INT64_C(1000000000))          /* between two events `alive` */
#define ANSWER_HEADERS 20

struct header_list {
    struct px_header rows[ANSWER_HEADERS];
    size_t count;
};

static void add(struct header_list *list, const char *name, const char *value)
{
    if (value && list->count < ANSWER_HEADERS)
        list->rows[list->count++] = (struct px_header){name, value};
}

/* Sends what may be sent now. */
static void pump(struct px_node_request *request)
{
    while (request->waiting && !(request->waiting->asks && request->asked_count >= ANSWER_AHEAD) &&
           !px_link_is_full(request->worker)) {
        struct px_outgoing *out = request->waiting;
        request->waiting = out->next;
        if (!request->waiting)
            request->waiting_end = NULL;
        request->waiting_bytes -= out->bytes;
        out->next = NULL;
        px_link_send(request->worker, out->message);
        request->said_ns = px_now_ns();
        if (!out->asks) {
            natsMsg_Destroy(out->message);
            free(out);
            continue;
        }
        if (!request->asked)
            request->asked_ns = request->repeated_ns = request->said_ns;
        *(request->asked ? request->asked_end : &request->asked) = out;
        request->asked_end = &out->next;
        request->asked_count++;
    }
    px_answer_check(request);
}

/* While the response is not complete, the connection to the server can't be kept. */
void px_answer_check(struct px_node_request *request)
{
    if (request->ended && !request->waiting && !request->asked && !request->easy)
        px_node_finish(request);
}

/* Puts one message into the queue. `asks`: its reply subject is the one for acknowledgements. */
static void put(struct px_node_request *request, struct header_list *list, const char *reply, bool asks, bool numbered,
                const void *bytes, size_t length)
{
    char acknowledge[200];
    struct px_outgoing *out = calloc(1, sizeof *out);
    if (asks) {
        snprintf(acknowledge, sizeof acknowledge, "pyexec.v1.node.%s.r.%s.ack.%llu", request->worker->node, request->id,
                 (unsigned long long)request->number);
        reply = acknowledge;
    }
    natsMsg *message = out ? px_link_message(request->reply, reply, list->rows, list->count, bytes, length) : NULL;
    if (!message) { /* the client sees the gap in the numbers */
        px_worker_say("there is no memory for a message to a client");
        free(out);
        request->number += numbered;
        return;
    }
    *out = (struct px_outgoing){.message = message, .bytes = length, .number = request->number, .asks = asks};
    request->number += numbered;
    *(request->waiting ? request->waiting_end : &request->waiting) = out;
    request->waiting_end = &out->next;
    request->waiting_bytes += length;
}

/* Puts a message, or the parts of one, into the queue. `numbered`: it has a number, as all messages of a stream. */
static void say(struct px_node_request *request, struct header_list *list, const char *reply, bool ask,
                const char *bytes, size_t length, bool numbered)
{
    char number[24], part[24], parts[24];
    size_t room = px_link_room(request->worker), count = length ? (length + room - 1) / room : 1;
    size_t fixed = list->count;
    if (!request->reply) {
        px_answer_check(request);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        size_t from = i * room, most = length - from < room ? length - from : room;
        list->count = i ? 0 : fixed;
        request->unasked_bytes += most;
        bool asks = count > 1 || ask || (!reply && !request->ended && request->unasked_bytes > ANSWER_ASK_BYTES);
        if (asks)
            request->unasked_bytes = 0;
        if (numbered || count > 1) {
            snprintf(number, sizeof number, "%llu", (unsigned long long)request->number);
            add(list, "Pyexec-Seq", number);
        }
        if (count > 1) {
            snprintf(part, sizeof part, "%zu", i);
            snprintf(parts, sizeof parts, "%zu", count);
            add(list, "Pyexec-Part", part);
            add(list, "Pyexec-Parts", parts);
        }
        put(request, list, reply, asks, numbered || count > 1, bytes + from, most);
    }
    pump(request);
}

void px_answer_event(struct px_node_request *request, const char *name, const char *id, const char *reply,
                     const void *bytes, size_t length)
{
    struct header_list list = {0};
    if (request->ended)
        return;
    add(&list, "Pyexec-Event", name);
    if (id && *id)
        add(&list, "Pyexec-Event-Id", id);
    say(request, &list, reply, strcmp(name, "alive") == 0, bytes, length, request->events);
}

/* The title of a problem, for the header of NATS micro services. */
static char *title_of(const char *text, size_t length)
{
    px_auto_json json_t *problem = px_json_loadb(text, length, 0, NULL);
    const char *title = json_string_value(json_object_get(problem, "title"));
    char *copy = title ? strdup(title) : NULL;
    for (char *at = copy; at && *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';
    if (copy)
        copy[px_utf8_truncate(copy, strlen(copy), 500)] = '\0';
    return copy;
}

void px_answer_last(struct px_node_request *request, int status, const char *type, const void *bytes, size_t length)
{
    static const char *const passed[] = {"Retry-After",  "Content-Range", "ETag",          "Content-Disposition",
                                         "X-Request-Id", "traceparent",   "Mcp-Session-Id"};
    struct header_list list = {0};
    char number[12];
    if (request->ended)
        return;
    if (px_keep_answer(request, status, bytes, length)) /* the client gets it when it is kept */
        return;
    request->ended = true;
    request->stage = PX_NODE_ANSWER;
    px_keys_answered(request, status);
    snprintf(number, sizeof number, "%d", status);
    add(&list, "Pyexec-Status", number);
    add(&list, "Pyexec-Node", *request->owner ? request->owner : request->worker->node);
    add(&list, "Content-Type", type);
    for (size_t i = 0; i < PX_COUNT(passed); i++)
        add(&list, passed[i], px_buffer_pair(&request->passed, passed[i]));
    if ((status == 429 || status == 503) && !px_buffer_pair(&request->passed, "Retry-After"))
        add(&list, "Retry-After", "1");
    px_auto_free char *title = status >= 400 ? title_of(bytes, length) : NULL;
    if (status >= 400) {
        struct px_worker *worker = request->worker;
        add(&list, "Nats-Service-Error-Code", number);
        add(&list, "Nats-Service-Error", title ? title : "error");
        if (!request->done) {
            worker->errors++;
            snprintf(worker->last_error, sizeof worker->last_error, "%d:%s", status, title ? title : "error");
            size_t end = strlen(worker->last_error);
            worker->last_error[end - px_utf8_incomplete_tail(worker->last_error, end)] = '\0';
        }
    }
    say(request, &list, NULL, false, bytes, length, request->events);
}

static char *problem(int status, const char *code, const char *title, const char *hint)
{
    return px_json_take_text(json_pack("{s:s, s:s, s:i, s:s, s:s}", "type", "about:blank", "title", title, "status",
                                       status, "code", code, "hint", hint));
}

void px_answer_problem(struct px_node_request *request, int status, const char *code, const char *hint,
                       const char *format, ...)
{
    char title[400];
    va_list args;
    va_start(args, format);
    vsnprintf(title, sizeof title, format, args);
    va_end(args);
    px_auto_buffer struct px_buffer valid = {0}; /* vsnprintf() may have cut a client's text inside of a character */
    px_utf8_repair(&valid, title, strlen(title));
    px_auto_free char *text = problem(status, code, px_buffer_shown(&valid), hint);
    px_buffer_done(&request->passed);
    px_answer_last(request, status, "application/problem+json", text ? text : "{}", text ? strlen(text) : 2);
}

void px_answer_message(struct px_worker *worker, natsMsg *message, int status, const char *code, const char *title,
                       const char *hint)
{
    char number[12];
    const char *reply = natsMsg_GetReply(message);
    px_auto_free char *text = code ? problem(status, code, title, hint) : NULL;
    if (!reply || !*reply)
        return;
    snprintf(number, sizeof number, "%d", status);
    const struct px_header headers[] = {
        {"Pyexec-Status", number},
        {"Pyexec-Node", worker->node},
        {"Content-Type", text ? "application/problem+json" : NULL},
        {"Retry-After", status == 503 ? "1" : NULL},
        {"Nats-Service-Error-Code", code ? number : NULL},
        {"Nats-Service-Error", code ? title : NULL},
    };
    px_link_say(worker, reply, NULL, headers, PX_COUNT(headers), text, text ? strlen(text) : 0);
}

/* ---- Acknowledgements ---- */

void px_answer_acknowledged(struct px_node_request *request, uint64_t number)
{
    if (!request->asked || request->asked->number > number) /* nothing new: the client is not given more time */
        return;
    request->asked_ns = request->repeated_ns = px_now_ns();
    while (request->asked && request->asked->number <= number) {
        struct px_outgoing *out = request->asked;
        request->asked = out->next;
        request->asked_count--;
        natsMsg_Destroy(out->message);
        free(out);
    }
    pump(request);
    if (!px_answer_is_full(request))
        px_node_http_resume(request);
}

bool px_answer_is_full(const struct px_node_request *request)
{
    return request->waiting_bytes > ANSWER_WAITING_MAX || px_link_is_full(request->worker);
}

void px_answer_tick(struct px_node_request *request, int64_t now)
{
    if (request->asked && now - request->asked_ns > ANSWER_GIVE_UP_NS) {
        px_worker_say("a client does not acknowledge its answer; it is dropped (%llu bytes wait)",
                      (unsigned long long)request->waiting_bytes);
        px_node_lose_client(request);
        return;
    }
    if (request->asked && now - request->repeated_ns > ANSWER_REPEAT_NS) {
        request->repeated_ns = now;
        for (struct px_outgoing *out = request->asked; out; out = out->next)
            px_link_send(request->worker, out->message);
    }
    if (request->events && request->stage != PX_NODE_BODY && !request->ended && now - request->said_ns > ALIVE_NS)
        px_answer_event(request, "alive", NULL, NULL, NULL, 0);
    pump(request);
    if (!request->finished && !px_answer_is_full(request))
        px_node_http_resume(request);
}

static void free_all(struct px_outgoing *out)
{
    while (out) {
        struct px_outgoing *next = out->next;
        natsMsg_Destroy(out->message);
        free(out);
        out = next;
    }
}

void px_answer_free(struct px_node_request *request)
{
    free_all(TAKE_PTR(request->waiting));
    free_all(TAKE_PTR(request->asked));
    request->waiting_bytes = request->asked_count = 0;
}
