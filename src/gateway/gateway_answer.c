/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of an answer: their order, parts, acknowledgements, events. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/retry.h"
#include "gateway/gateway.h"

#define SLOW_CLIENT_NS (10 * PX_NS_PER_MS) /* how often it is seen whether the client has read */

/* ---- Answers ---- */

void px_gateway_answer_clear(struct px_fleet_answer *answer)
{
    px_fleet_answer_done(answer);
    answer->status = 0;
}

void px_gateway_answer_add(struct px_fleet_answer *answer, const char *name, const char *value)
{
    px_buffer_add_pair(&answer->headers, name, value, strlen(value));
}

void px_gateway_problem(struct px_fleet_answer *ret, int status, const char *code, const char *hint, const char *format,
                        ...)
{
    char title[400];
    va_list args;
    va_start(args, format);
    vsnprintf(title, sizeof title, format, args);
    va_end(args);
    px_gateway_answer_clear(ret);
    ret->status = status;
    px_gateway_answer_add(ret, "Content-Type", "application/problem+json");
    if (status == 503)
        px_gateway_answer_add(ret, "Retry-After", "1");
    px_auto_free char *text = px_json_take_text(json_pack("{s:s, s:s, s:i, s:s, s:s}", "type", "about:blank", "title",
                                                          title, "status", status, "code", code, "hint", hint));
    px_buffer_add_string(&ret->body, text);
}

void px_gateway_failed(struct px_gateway *gateway, enum px_exchange_end end, const char *node,
                       struct px_fleet_answer *ret)
{
    static const char hint[] =
        "It is not known whether it was started. If it had the header Pyexec-Key, send it again with the same key. Otherwise a second "
        "request may run it twice.";
    if (end == PX_EXCHANGE_NOBODY && node)
        px_gateway_problem(ret, 404, "not_found", "GET /v1/nodes and `pyexec fleet list` name the nodes.",
                           "there is no node %s", node);
    else if (end == PX_EXCHANGE_NOBODY)
        px_gateway_problem(
            ret, 503, "overloaded",
            "Check that `pyexec worker --nats URL` runs somewhere, or try again later. Nothing was started.",
            "no node of the fleet has room, or there is none");
    else if (end == PX_EXCHANGE_NOT_SENT && px_gateway_link_is_up(gateway))
        px_gateway_problem(ret, 503, "overloaded", PX_GATEWAY_AGAIN, "this gateway has no room for more requests");
    else if (end == PX_EXCHANGE_NOT_SENT)
        px_gateway_problem(ret, 503, "overloaded", "It connects again by itself. " PX_GATEWAY_AGAIN,
                           "the gateway has no connection to NATS");
    else if (end == PX_EXCHANGE_CANCELLED)
        px_gateway_problem(ret, 499, "cancelled", PX_GATEWAY_AGAIN, "the client went away");
    else if (end == PX_EXCHANGE_BROKEN)
        px_gateway_problem(ret, 502, "internal", hint, "the answer of the node is not valid");
    else
        px_gateway_problem(ret, 502, "internal", hint, "the node is gone, or its answer was lost");
}

/* ---- Messages ---- */

static bool is_event(natsMsg *message, const char *name)
{
    const char *event = px_gateway_header(message, "Pyexec-Event");
    return event && strcmp(event, name) == 0;
}

static void await_client(const struct px_exchange *exchange)
{
    const struct px_fleet_call *call = exchange->call;
    while (exchange->passes && call->may_send && !call->cancelled && !exchange->waiter->flooded &&
           !call->may_send(call->closure))
        px_sleep_ns(SLOW_CLIENT_NS);
}

/* The client must have read before the node sends more. */
static void acknowledge(struct px_exchange *exchange, natsMsg *message)
{
    const char *reply = natsMsg_GetReply(message);
    bool wants_more =
        is_event(message, "tool_call") || is_event(message, "tool_approval") || is_event(message, "continue");
    if (!reply || !*reply || (wants_more && !px_gateway_header(message, "Pyexec-Part")))
        return;
    await_client(exchange);
    px_gateway_acknowledge(exchange->gateway, reply);
}

/* Reserves memory for the whole message before acknowledging its first part, so that two large answers never wait for each other. First
 * waits until the client has read what came before: a slow client must not hold memory that others need. */
static void reserve(struct px_exchange *exchange, natsMsg *first)
{
    unsigned long long parts;
    size_t length = (size_t)natsMsg_GetDataLength(first);
    if (!px_gateway_number(first, "Pyexec-Parts", &parts) || !parts || !length ||
        parts - 1 > PX_GATEWAY_ANSWER_MAX / length) {
        exchange->broken = "its parts are too many, or have no length";
        return;
    }
    size_t bytes = (size_t)parts * length;
    _Atomic size_t *all = &exchange->gateway->reserved;
    await_client(exchange);
    while (!exchange->call->cancelled && !exchange->waiter->flooded) {
        size_t before = *all;
        if (bytes > PX_GATEWAY_ALWAYS && before + bytes > PX_GATEWAY_ANSWERS_MAX) {
            px_sleep_ns(SLOW_CLIENT_NS);
        } else if (atomic_compare_exchange_weak(all, &before, before + bytes)) {
            exchange->reserved = bytes;
            return;
        }
    }
}

void px_exchange_unreserve(struct px_exchange *exchange)
{
    exchange->gateway->reserved -= exchange->reserved;
    exchange->reserved = 0;
}

static void take_accepted(struct px_exchange *exchange, const char *data, size_t length)
{
    if (px_gateway_accepted(data, length, exchange->about, sizeof exchange->about))
        exchange->gone_ns = 0;
    else
        exchange->broken = "the names in `accepted` are not valid";
}

/* Remembers where the client's POST /v1/calls/ID or /v1/runs/ID must go. */
static void keep_place(struct px_exchange *exchange, const char *key, const char *data, size_t length)
{
    char node[PX_NODE_NAME_MAX + 1];
    px_auto_json json_t *event = px_json_read(data, length, 0, NULL);
    const char *id = json_string_value(json_object_get(event, key));
    if (id && sscanf(exchange->about, "pyexec.v1.node.%64[^.]", node) == 1)
        px_places_keep(&exchange->gateway->places, 'c', exchange->call->principal, id, node);
}

/* The client gets no events, so nobody would answer the call. */
static void refuse_tool(struct px_exchange *exchange, const char *reply)
{
    static const char answer[] = "{\"deny\":\"the client does not take events, so it can't answer calls of tools\"}";
    (void)natsConnection_Publish(exchange->gateway->connection, reply, answer, (int)(sizeof answer - 1));
}

static void take_event(struct px_exchange *exchange, natsMsg *head, const char *reply, const char *data, size_t length)
{
    const char *name = px_gateway_header(head, "Pyexec-Event");
    const struct px_fleet_call *call = exchange->call;
    bool tool = name && (strcmp(name, "tool_call") == 0 || strcmp(name, "tool_approval") == 0);
    if (!name)
        return;
    if (strcmp(name, "accepted") == 0) {
        take_accepted(exchange, data, length);
    } else if (strcmp(name, "continue") == 0) {
        snprintf(exchange->upload, sizeof exchange->upload, "%s", reply ? reply : "");
        px_exchange_send_part(exchange, px_now_ns());
    } else if (tool && !call->events) {
        if (reply)
            refuse_tool(exchange, reply);
    } else if (exchange->passes && call->events) {
        if (tool || strcmp(name, "control") == 0)
            keep_place(exchange, tool ? "call_id" : "run_id", data, length);
        call->event(call->closure, name, px_gateway_header(head, "Pyexec-Event-Id"), data, length);
    }
}

static void take_last(struct px_exchange *exchange, natsMsg *head, struct px_buffer *body, struct px_fleet_answer *ret)
{
    static const char *const passed[] = {"Content-Type",        "Retry-After", "Content-Range", "ETag",
                                         "Content-Disposition", "Pyexec-Node", "Mcp-Session-Id"};
    unsigned long long status;
    if (!px_gateway_number(head, "Pyexec-Status", &status) || status < 200 || status > 599) {
        exchange->broken = "Pyexec-Status is no status of an answer";
        return;
    }
    ret->status = (int)status;
    for (size_t i = 0; i < PX_COUNT(passed); i++) {
        const char *value = px_gateway_header(head, passed[i]);
        if (value)
            px_gateway_answer_add(ret, passed[i], value);
    }
    ret->body = *body;
    *body = (struct px_buffer){0};
    exchange->over = true;
}

/* A message, or the last part of one. `head` has its headers. */
static void take_whole(struct px_exchange *exchange, natsMsg *head, const char *reply, struct px_buffer *body,
                       struct px_fleet_answer *ret)
{
    if (!px_buffer_ok(body)) { /* the next ping says that it is over */
        exchange->gone_ns = px_now_ns();
        return;
    }
    if (px_gateway_header(head, "Pyexec-Status"))
        take_last(exchange, head, body, ret);
    else
        take_event(exchange, head, reply, px_buffer_string(body), body->length);
}

/* One part of a message. True: it fits to those before. */
static bool take_part(struct px_exchange *exchange, natsMsg *got)
{
    unsigned long long part;
    bool first = !exchange->head;
    if (!px_gateway_number(got, "Pyexec-Part", &part) || part != (first ? 0 : exchange->parts))
        exchange->broken = "its parts are not in their order";
    else if (first)
        reserve(exchange, got);
    if (exchange->broken || exchange->call->cancelled || exchange->waiter->flooded)
        return false;
    if (exchange->whole.length + (size_t)natsMsg_GetDataLength(got) > exchange->reserved)
        exchange->broken = "a part is longer than the first one";
    return !exchange->broken;
}

/* A message whose turn it is. It belongs to this function. */
static void take_next(struct px_exchange *exchange, struct px_message *message, struct px_fleet_answer *ret)
{
    natsMsg *got = message->message;
    bool in_parts = exchange->head || px_gateway_header(got, "Pyexec-Part");
    if (in_parts && !take_part(exchange, got)) {
        px_message_free(message);
        return;
    }
    acknowledge(exchange, got);
    px_buffer_add(&exchange->whole, natsMsg_GetData(got), (size_t)natsMsg_GetDataLength(got));
    if (!in_parts) {
        take_whole(exchange, got, natsMsg_GetReply(got), &exchange->whole, ret);
        px_buffer_done(&exchange->whole);
        px_message_free(message);
        return;
    }
    exchange->part_came_ns = px_now_ns(); /* the node sends no more before it is acknowledged */
    if (!exchange->head) {                /* the first part has the headers */
        exchange->head = got;
        message->message = NULL;
        exchange->parts = 0;
    }
    px_message_free(message);
    unsigned long long parts;
    px_gateway_number(exchange->head, "Pyexec-Parts", &parts);
    if (++exchange->parts < parts)
        return;
    take_whole(exchange, exchange->head, NULL, &exchange->whole, ret);
    px_buffer_done(&exchange->whole);
    natsMsg_Destroy(TAKE_PTR(exchange->head));
    px_exchange_unreserve(exchange);
}

static unsigned long long number_of(const struct px_message *message)
{
    unsigned long long number;
    px_gateway_number(message->message, "Pyexec-Seq", &number);
    return number;
}

static void keep_early(struct px_exchange *exchange, struct px_message *message, unsigned long long number)
{
    struct px_message **at = &exchange->early;
    while (*at && number_of(*at) < number)
        at = &(*at)->next;
    if (*at && number_of(*at) == number) { /* it came twice before its turn */
        px_message_free(message);
        return;
    }
    message->next = *at;
    *at = message;
}

/* A node has sent `open` on to the session's owner, which accepts it too, and counts from there. */
static void take_owner(struct px_exchange *exchange, natsMsg *message)
{
    char before[sizeof exchange->about];
    memcpy(before, exchange->about, sizeof before);
    take_accepted(exchange, natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message));
    if (strcmp(before, exchange->about) != 0)
        exchange->number = 1;
}

void px_exchange_take(struct px_exchange *exchange, struct px_message *message, struct px_fleet_answer *ret)
{
    if (!px_gateway_header(message->message, "Pyexec-Seq")) {
        take_next(exchange, message, ret);
        return;
    }
    unsigned long long number = number_of(message);
    if (number < exchange->number) { /* it has come before, but its acknowledgement may be lost */
        if (!number && is_event(message->message, "accepted"))
            take_owner(exchange, message->message);
        else
            acknowledge(exchange, message->message);
        px_message_free(message);
        return;
    }
    keep_early(exchange, message, number);
    while (exchange->early && number_of(exchange->early) == exchange->number && !exchange->over && !exchange->broken) {
        struct px_message *next = exchange->early;
        exchange->early = next->next;
        exchange->number++;
        take_next(exchange, next, ret);
    }
}
