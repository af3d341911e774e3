/* SPDX-License-Identifier: Apache-2.0 */
/* Sends one request over NATS and receives its answer, in the thread that calls. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/spelling.h"
#include "gateway/gateway.h"
#include "nats_link/subject_template.h"

#define SECOND_NS (INT64_C(1000000000))
#define EXCHANGE_LOOK_NS (250 * PX_NS_PER_MS)
#define EXCHANGE_QUIET_NS (500 * PX_NS_PER_MS) /* then the node is asked whether it still has the request */
#define LAST_NS (300 * PX_NS_PER_MS)           /* for messages on their way, after the node has said that it is over */
#define ACCEPT_NS (10 * SECOND_NS) /* a node says at once that it has a request, or sends its answer at once */
#define LATE_NS (310 * SECOND_NS)  /* but some requests wait at the node, and have no events: for 300 seconds */
#define SILENT_NS (30 * SECOND_NS) /* without an answer to any ping */
#define PART_NS (2 * SECOND_NS)    /* then a part is sent again */
#define GAP_NS (30 * SECOND_NS)    /* between two parts of an answer */
#define HEADROOM 4096
#define EXCHANGE_MESSAGE_MAX (8 << 20) /* "not recommended" above, says NATS */
#define HEADERS 24

/* ---- Bodies in parts ---- */

void px_exchange_send_part(struct px_exchange *exchange, int64_t now_ns)
{
    char number[24];
    if (exchange->part >= exchange->part_count) /* a node asked for a part that there is not */
        return;
    size_t at = exchange->part * exchange->room;
    size_t left = exchange->length - at, length = left < exchange->room ? left : exchange->room;
    snprintf(number, sizeof number, "%lu", exchange->part);
    const struct px_fleet_header header = {"Pyexec-Part", number};
    exchange->part_ns = now_ns;
    (void)!px_gateway_say(exchange->gateway, exchange->upload, exchange->waiter, PX_MESSAGE_PART, &header, 1,
                          exchange->body + at, length);
}

void px_exchange_take_part(struct px_exchange *exchange, natsMsg *message)
{
    const char *number = px_gateway_header(message, "Pyexec-Part");
    if (!*exchange->upload || !number || strtoul(number, NULL, 10) != exchange->part)
        return;
    exchange->part++;
    if (exchange->part < exchange->part_count)
        px_exchange_send_part(exchange, px_now_ns());
    else
        *exchange->upload = '\0';
}

/* ---- The beginning ---- */

static size_t room_of(struct px_gateway *gateway)
{
    int64_t most = natsConnection_GetMaxPayload(gateway->connection);
    if (most <= 0 || most > EXCHANGE_MESSAGE_MAX)
        most = most <= 0 ? 1 << 20 : EXCHANGE_MESSAGE_MAX;
    return most > 2 * HEADROOM ? (size_t)most - HEADROOM : (size_t)most / 2;
}

/* The answer is kept for the client, who asks for it again (Pyexec-Keep). */
static bool is_kept(const struct px_exchange *exchange)
{
    const struct px_fleet_call *call = exchange->call;
    for (size_t i = 0; exchange->passes && i < call->header_count; i++)
        if (call->headers[i].value && strcmp(call->headers[i].name, "Pyexec-Keep") == 0)
            return true;
    return false;
}

/* A list of files is an archive when the client asks for one. */
static const char *accepts(const struct px_fleet_header *wanted)
{
    return wanted && strstr(wanted->value, "application/x-tar") ? "application/x-tar, text/event-stream"
                                                                : "text/event-stream";
}

static int send_first(struct px_exchange *exchange)
{
    const struct px_fleet_call *call = exchange->call;
    const struct px_fleet_header *wanted = NULL;
    struct px_fleet_header headers[HEADERS];
    size_t count = 0;
    char parts[24], bytes[24];
    exchange->room = room_of(exchange->gateway);
    exchange->part_count = exchange->length ? (exchange->length + exchange->room - 1) / exchange->room : 1;
    exchange->part = 1;
    const char *own = *exchange->traceparent ? "traceparent" : "";
    for (size_t i = 0; exchange->passes && i < call->header_count; i++)
        if (exchange->events && strcmp(call->headers[i].name, "Accept") == 0)
            wanted = call->headers[i].value ? &call->headers[i] : NULL;
        else if (strcmp(call->headers[i].name, own) != 0)
            headers[count++] = call->headers[i];
    if (*own)
        headers[count++] = (struct px_fleet_header){own, exchange->traceparent};
    if (exchange->events)
        headers[count++] = (struct px_fleet_header){"Accept", accepts(wanted)};
    headers[count++] = (struct px_fleet_header){"Pyexec-Call", exchange->pyexec_call};
    if (exchange->part_count > 1) {
        snprintf(parts, sizeof parts, "%lu", exchange->part_count);
        snprintf(bytes, sizeof bytes, "%zu", exchange->length);
        headers[count++] = (struct px_fleet_header){"Pyexec-Parts", parts};
        headers[count++] = (struct px_fleet_header){"Pyexec-Bytes", bytes};
    }
    size_t length = exchange->part_count > 1 ? exchange->room : exchange->length;
    return px_gateway_say(exchange->gateway, exchange->subject, exchange->waiter,
                          is_kept(exchange) ? PX_MESSAGE_KEPT : PX_MESSAGE_ANSWER, headers, count, exchange->body,
                          length);
}

/* ---- Silence ---- */

static void ping(struct px_exchange *exchange, int64_t now_ns)
{
    static const char about_node[] = "{\"do\":\"ping\"}";
    char subject[PX_GATEWAY_SUBJECT_SIZE + 8];
    exchange->pinged_ns = now_ns;
    if (*exchange->about)
        snprintf(subject, sizeof subject, "%s.ping", exchange->about);
    else
        snprintf(subject, sizeof subject, "pyexec.v1.node.%s", exchange->node);
    (void)!px_gateway_say(exchange->gateway, subject, exchange->waiter, PX_MESSAGE_PING, NULL, 0, about_node,
                          *exchange->about ? 0 : sizeof about_node - 1);
}

/* Nothing has come for a while. Returns false when nothing will. */
static bool look(struct px_exchange *exchange)
{
    int64_t now = px_now_ns(), quiet = now - exchange->heard_ns;
    bool asks = *exchange->about || exchange->node; /* the node's own answer tells only when it is gone */
    if (*exchange->upload && now - exchange->part_ns > PART_NS)
        px_exchange_send_part(exchange, now);
    if (exchange->gone_ns)
        return now - exchange->gone_ns < LAST_NS;
    if (asks && quiet > EXCHANGE_QUIET_NS && now - exchange->pinged_ns > EXCHANGE_QUIET_NS)
        ping(exchange, now);
    return !asks || quiet < SILENT_NS;
}

/* Nothing that is due has come, though the node answers pings, or sends other messages. */
static bool is_overdue(struct px_exchange *exchange)
{
    int64_t now = px_now_ns();
    if (exchange->head && now - exchange->part_came_ns > GAP_NS)
        exchange->broken = "the next part did not come for 30 seconds";
    return !exchange->broken && !*exchange->about && now - exchange->told_ns > exchange->patience_ns;
}

static void take_ping(struct px_exchange *exchange, natsMsg *message)
{
    const char *status = px_gateway_header(message, "Pyexec-Status");
    bool gone = natsMsg_IsNoResponders(message) || (status && strcmp(status, "404") == 0);
    if (gone && !exchange->gone_ns)
        exchange->gone_ns = exchange->heard_ns;
}

/* ---- The whole ---- */

static void cancel(struct px_exchange *exchange)
{
    char subject[PX_GATEWAY_SUBJECT_SIZE + 8];
    if (!*exchange->about || is_kept(exchange)) /* if a node accepts it later, it is cancelled then */
        return;
    snprintf(subject, sizeof subject, "%s.cancel", exchange->about);
    (void)!px_gateway_say(exchange->gateway, subject, NULL, PX_MESSAGE_ANSWER, NULL, 0, NULL, 0);
}

static enum px_exchange_end fail(struct px_exchange *exchange)
{
    char detail[PX_GATEWAY_SUBJECT_SIZE + 100];
    snprintf(detail, sizeof detail, "%s (%s)", exchange->broken,
             *exchange->about ? exchange->about : exchange->subject);
    px_gateway_tell(exchange->gateway, "a node's answer is not valid", detail);
    cancel(exchange);
    return PX_EXCHANGE_BROKEN;
}

/* The message belongs to this function. */
static void take(struct px_exchange *exchange, struct px_message *message, struct px_fleet_answer *ret)
{
    exchange->heard_ns = px_now_ns();
    if (message->kind != PX_MESSAGE_PING)
        exchange->told_ns = exchange->heard_ns;
    if (message->kind == PX_MESSAGE_PING) {
        take_ping(exchange, message->message);
    } else if (message->kind == PX_MESSAGE_PART) {
        px_exchange_take_part(exchange, message->message);
    } else if (natsMsg_IsNoResponders(message->message)) {
        exchange->nobody = true;
    } else {
        px_exchange_take(exchange, message, ret);
        return;
    }
    px_message_free(message);
}

static enum px_exchange_end await_answer(struct px_exchange *exchange, struct px_fleet_answer *ret)
{
    while (!exchange->over && !exchange->broken) {
        struct px_message *message = px_waiter_next(exchange->waiter, exchange->call, px_now_ns() + EXCHANGE_LOOK_NS);
        bool flooded = exchange->waiter->flooded;
        if (message && (flooded || exchange->call->cancelled))
            px_message_free(message);
        else if (message)
            take(exchange, message, ret);
        if (exchange->call->cancelled && !exchange->over) {
            cancel(exchange);
            return PX_EXCHANGE_CANCELLED;
        }
        if (exchange->nobody)
            return PX_EXCHANGE_NOBODY;
        if (flooded)
            exchange->broken = "there are more messages than a node may send ahead";
        else if (!exchange->over && ((!message && !look(exchange)) || is_overdue(exchange))) {
            cancel(exchange);
            return PX_EXCHANGE_LOST;
        }
    }
    return exchange->broken ? fail(exchange) : PX_EXCHANGE_ANSWERED;
}

static void done(struct px_exchange *exchange)
{
    px_exchange_unreserve(exchange);
    natsMsg_Destroy(exchange->head);
    px_buffer_done(&exchange->whole);
    while (exchange->early) {
        struct px_message *next = exchange->early->next;
        px_message_free(exchange->early);
        exchange->early = next;
    }
}

static enum px_exchange_end run(struct px_exchange *exchange, struct px_fleet_answer *ret)
{
    struct px_gateway *gateway = exchange->gateway;
    px_gateway_answer_clear(ret);
    if (!px_gateway_link_is_up(gateway) || !(exchange->waiter = px_waiter_take(gateway)))
        return PX_EXCHANGE_NOT_SENT;
    enum px_exchange_end end = PX_EXCHANGE_NOT_SENT;
    exchange->heard_ns = exchange->told_ns = px_now_ns();
    exchange->patience_ns =
        !exchange->events && px_gateway_is_route(exchange->call, "execution_get mcp") ? LATE_NS : ACCEPT_NS;
    exchange->call->waits_at = exchange->waiter - gateway->waiters + 1;
    if (send_first(exchange) == 0)
        end = await_answer(exchange, ret);
    exchange->call->waits_at = 0;
    done(exchange);
    px_waiter_give(gateway, exchange->waiter);
    return end;
}

static void trace(const struct px_exchange *exchange, int64_t begun_ns, enum px_exchange_end end,
                  const struct px_fleet_answer *answer)
{
    char destination[PX_SUBJECT_TEMPLATE_SIZE];
    const char *node = px_buffer_pair(&answer->headers, "Pyexec-Node");
    px_subject_template(exchange->subject, destination);
    const struct px_fleet_sent sent = {.destination = destination,
                                       .node = px_word_is_plain(node, PX_NODE_NAME_MAX) ? node : NULL,
                                       .bytes = exchange->length,
                                       .begun_ns = begun_ns,
                                       .status = answer->status,
                                       .failed = end == PX_EXCHANGE_ANSWERED ? NULL : px_exchange_end_name(end)};
    exchange->call->tracer->ended(exchange->call->tracer, &sent);
}

enum px_exchange_end px_exchange_run(struct px_exchange *exchange, struct px_fleet_answer *ret)
{
    struct px_gateway *gateway = exchange->gateway;
    struct px_fleet_tracer *tracer = exchange->call->tracer;
    int64_t begun = px_now_ns();
    if (tracer)
        tracer->begins(tracer, exchange->traceparent);
    gateway->waiting++;
    enum px_exchange_end end = run(exchange, ret);
    gateway->waiting--;
    gateway->ends[end]++;
    if (tracer)
        trace(exchange, begun, end, ret);
    return end;
}
