/* SPDX-License-Identifier: Apache-2.0 */
/* All nodes. They answer `$SRV.STATS.pyexec` as NATS micro services, with their figures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "gateway/gateway.h"

#define DISCOVER_NS (300 * PX_NS_PER_MS) /* nobody knows how many nodes will answer */

static void add_node(json_t *nodes, natsMsg *message)
{
    px_auto_json json_t *stats =
        px_json_loadb(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message), 0, NULL);
    json_t *data = json_object_get(json_array_get(json_object_get(stats, "endpoints"), 0), "data");
    const char *name = json_string_value(json_object_get(data, "node"));
    if (name && !json_object_get(nodes, name) && json_object_size(nodes) < PX_GATEWAY_NODES_MAX)
        px_json_set(nodes, name, json_incref(data));
}

/* Returns an object with the figures of all nodes by name, or NULL with a problem. */
static json_t *discover(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    int64_t end = px_now_ns() + DISCOVER_NS;
    struct px_waiter *waiter = px_gateway_link_is_up(gateway) ? px_waiter_take(gateway) : NULL;
    struct px_message *message;
    json_t *nodes = json_object();
    bool nobody = false;
    if (!waiter || px_gateway_say(gateway, "$SRV.STATS.pyexec", waiter, PX_MESSAGE_ANSWER, NULL, 0, NULL, 0) < 0) {
        px_gateway_failed(gateway, PX_EXCHANGE_NOT_SENT, NULL, ret);
        json_decref(TAKE_PTR(nodes));
    }
    while (nodes && !nobody && (message = px_waiter_next(waiter, call, end))) {
        nobody = natsMsg_IsNoResponders(message->message);
        add_node(nodes, message->message);
        px_message_free(message);
    }
    if (waiter)
        px_waiter_give(gateway, waiter);
    return nodes;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Returns the names in order, for free(). They belong to `nodes`. */
static const char **names_of(json_t *nodes)
{
    size_t count = 0;
    const char *name, **names = calloc(json_object_size(nodes) + 1, sizeof *names);
    json_t *data;
    json_object_foreach(nodes, name, data)
        if (names)
            names[count++] = name;
    if (names)
        qsort(names, count, sizeof *names, by_name);
    return names;
}

static void answer_json(struct px_fleet_answer *ret, int status, json_t *json)
{
    static const char header[] = "Content-Type\0application/json";
    px_auto_free char *text = px_json_take_text(json);
    px_gateway_answer_clear(ret);
    ret->status = status;
    px_buffer_add(&ret->headers, header, sizeof header);
    px_buffer_add_string(&ret->body, text);
}

void px_gateway_list_nodes(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    char denied[256];
    px_auto_json json_t *nodes = discover(gateway, call, ret);
    if (!nodes)
        return;
    px_gateway_denied(gateway, denied, sizeof denied);
    if (!json_object_size(nodes) && *denied) {
        px_gateway_problem(ret, 502, "forbidden", "Give this NATS user the right to publish to $SRV.STATS.pyexec.",
                           "no node answers; the NATS server says: %s", denied);
        return;
    }
    const char **names = names_of(nodes);
    json_t *list = json_array();
    for (size_t i = 0; names && names[i]; i++)
        px_json_append(list, json_incref(json_object_get(nodes, names[i])));
    free(names);
    answer_json(ret, 200, json_pack("{s:o}", "nodes", list));
}

void px_gateway_drain(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    static const char body[] = "{\"do\":\"drain\"}";
    px_auto_buffer struct px_buffer subject = {0};
    px_buffer_printf(&subject, "pyexec.v1.node.%s", call->named);
    bool good =
        *call->named &&
        strspn(call->named, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == strlen(call->named);
    struct px_exchange exchange = {.gateway = gateway,
                                   .call = call,
                                   .subject = px_buffer_string(&subject),
                                   .body = body,
                                   .length = sizeof body - 1};
    enum px_exchange_end end = good ? px_exchange_run(&exchange, ret) : PX_EXCHANGE_NOBODY;
    if (end != PX_EXCHANGE_ANSWERED)
        px_gateway_failed(gateway, end, call->named, ret);
}

/* Adds the lists of one answer to those with the same names. */
static void merge(json_t *into, const struct px_fleet_answer *answer)
{
    px_auto_json json_t *object =
        px_json_loadb(px_buffer_shown(&answer->body), answer->body.length, JSON_ALLOW_NUL, NULL);
    const char *key;
    json_t *list, *row;
    size_t i;
    json_object_foreach(object, key, list) {
        if (!json_object_get(into, key))
            px_json_set(into, key, json_array());
        json_array_foreach(list, i, row)
            px_json_append(json_object_get(into, key), json_incref(row));
    }
}

void px_gateway_gather(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    px_auto_json json_t *nodes = discover(gateway, call, ret), *whole = json_object();
    px_auto_free const char **names = nodes ? names_of(nodes) : NULL;
    px_json_set(whole, px_gateway_is_route(call, "session_list") ? "sessions" : "executions", json_array());
    for (size_t i = 0; names && names[i]; i++) {
        enum px_exchange_end end = px_gateway_ask_node(gateway, call, names[i], ret);
        if (end == PX_EXCHANGE_NOBODY) /* it has just ended, and its sessions with it */
            continue;
        if (end != PX_EXCHANGE_ANSWERED)
            px_gateway_failed(gateway, end, NULL, ret);
        if (ret->status >= 400)
            return;
        merge(whole, ret);
    }
    if (nodes)
        answer_json(ret, 200, json_incref(whole));
}

void px_gateway_seek(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    px_auto_json json_t *nodes = discover(gateway, call, ret);
    px_auto_free const char **names = nodes ? names_of(nodes) : NULL;
    for (size_t i = 0; names && names[i]; i++) {
        enum px_exchange_end end = px_gateway_ask_node(gateway, call, names[i], ret);
        if (end == PX_EXCHANGE_NOBODY || (end == PX_EXCHANGE_ANSWERED && ret->status == 404))
            continue;
        if (end != PX_EXCHANGE_ANSWERED)
            px_gateway_failed(gateway, end, NULL, ret);
        return;
    }
    if (nodes)
        px_gateway_problem(ret, 404, px_gateway_is_route(call, "call_answer") ? "call_not_found" : "not_found",
                           "It was already answered, or what it belongs to has ended.", "no node knows '%.128s'",
                           call->named);
}
