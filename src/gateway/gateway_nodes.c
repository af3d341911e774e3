/* SPDX-License-Identifier: Apache-2.0 */
/* All nodes. They answer `$SRV.STATS.pyexec` as NATS micro services, with their figures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/spelling.h"
#include "gateway/gateway.h"

#define DISCOVER_NS (300 * PX_NS_PER_MS) /* nobody knows how many nodes will answer */
#define NODE_STATS_MAX (64 << 10)        /* bytes of the figures of one node */
#define GATHERED_MAX (32u << 20)         /* bytes of all lists that are put together */
#define VALUES_MAX (64u << 20)           /* bytes of memory that their values take, which is far more than their text */
#define NODE_VALUES_MAX (16u << 20)      /* of one node */
#define ALL_VALUES_MAX (1u << 30)        /* of all requests */

/* Values of nodes that one request holds. */
struct node_values {
    struct px_gateway *gateway;
    size_t bytes;
};

static void give_values(struct node_values *values, size_t left)
{
    values->gateway->values -= values->bytes - left;
    values->bytes = left;
}

static void values_done(struct node_values *values)
{
    give_values(values, 0);
}

/* Returns NULL also when the values would take too much memory. */
static json_t *read_values(struct node_values *values, const char *text, size_t length, size_t flags)
{
    size_t bytes = px_json_memory_estimate(text, length).bytes;
    if (bytes > NODE_VALUES_MAX || bytes > VALUES_MAX - values->bytes)
        return NULL;
    values->bytes += bytes;
    size_t all = atomic_fetch_add(&values->gateway->values, bytes) + bytes;
    return all > ALL_VALUES_MAX ? NULL : px_json_read(text, length, flags, NULL);
}

static void add_node(struct node_values *values, json_t *nodes, natsMsg *message)
{
    size_t before = values->bytes;
    px_auto_json json_t *stats =
        natsMsg_GetDataLength(message) > NODE_STATS_MAX
            ? NULL
            : read_values(values, natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message), 0);
    json_t *data = json_object_get(json_array_get(json_object_get(stats, "endpoints"), 0), "data");
    const char *name = json_string_value(json_object_get(data, "node"));
    if (px_word_is_plain(name, PX_NODE_NAME_MAX) && !json_object_get(nodes, name) &&
        json_object_size(nodes) < PX_GATEWAY_NODES_MAX)
        px_json_set(nodes, name, json_incref(data));
    else
        give_values(values, before);
}

/* Returns an object with the figures of all nodes by name, or NULL with a problem. */
static json_t *discover(struct node_values *values, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    struct px_gateway *gateway = values->gateway;
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
        add_node(values, nodes, message->message);
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
    px_auto(values_done) struct node_values values = {.gateway = gateway};
    px_auto_json json_t *nodes = discover(&values, call, ret);
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
    bool good = px_word_is_plain(call->named, PX_NODE_NAME_MAX);
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
static void merge(json_t *into, const json_t *object)
{
    const char *key;
    json_t *list, *row;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)object, key, list) {
        if (!json_object_get(into, key))
            px_json_set(into, key, json_array());
        json_array_foreach(list, i, row)
            px_json_append(json_object_get(into, key), json_incref(row));
    }
}

/* The list of one node is not there. */
static void add_missing(json_t *missing, const char *node, const struct px_fleet_answer *answer)
{
    px_auto_json json_t *problem =
        px_json_read(px_buffer_shown(&answer->body), px_buffer_length(&answer->body), 0, NULL);
    const char *title = json_string_value(json_object_get(problem, "title"));
    px_json_append(missing, json_pack("{s:s, s:i, s:s}", "node", node, "status", answer->status, "title",
                                      title ? title : "its answer is not valid"));
}

/* Takes the list of a node, or notes that it is missing. True: it is there. */
static bool take_list(struct node_values *values, const char *node, struct px_fleet_answer *answer, json_t *whole,
                      json_t *missing)
{
    px_auto_json json_t *list = answer->status >= 400 ? NULL
                                                      : read_values(values, px_buffer_shown(&answer->body),
                                                                    px_buffer_length(&answer->body), JSON_ALLOW_NUL);
    if (!json_is_object(list) && answer->status < 400)
        px_gateway_problem(answer, 502, "internal", "Ask the node.",
                           "the list of a node is not valid, or the values of it or of all lists take too much memory");
    if (json_is_object(list))
        merge(whole, list);
    else
        add_missing(missing, node, answer);
    return json_is_object(list);
}

void px_gateway_gather(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    px_auto(values_done) struct node_values values = {.gateway = gateway};
    px_auto_json json_t *nodes = discover(&values, call, ret), *whole = json_object(), *missing = json_array();
    px_auto_free const char **names = nodes ? names_of(nodes) : NULL;
    size_t bytes = 0, lists = 0;
    px_json_set(whole, px_gateway_is_route(call, "session_list") ? "sessions" : "executions", json_array());
    for (size_t i = 0; names && names[i]; i++) {
        enum px_exchange_end end = px_gateway_ask_node(gateway, call, names[i], ret);
        if (end == PX_EXCHANGE_NOBODY) /* it has just ended, and its sessions with it */
            continue;
        if (end == PX_EXCHANGE_CANCELLED) {
            px_gateway_failed(gateway, end, NULL, ret);
            return;
        }
        if (end != PX_EXCHANGE_ANSWERED)
            px_gateway_failed(gateway, end, NULL, ret);
        bytes += ret->body.length;
        if (bytes > GATHERED_MAX)
            px_gateway_problem(ret, 502, "internal", "Ask the nodes.", "all lists together are larger than 32 MiB");
        lists += take_list(&values, names[i], ret, whole, missing);
    }
    if (!nodes || (!lists && json_array_size(missing))) /* the problem of the last node */
        return;
    if (json_array_size(missing))
        px_json_set(whole, "missing", json_incref(missing));
    answer_json(ret, 200, json_incref(whole));
}

/* ---- Things whose node is not known ---- */

/* Returns the seat of this request, or -1. */
static int begin_seek(struct px_gateway *gateway, const char *principal)
{
    size_t all = 0, own = 0;
    int seat = -1;
    pthread_mutex_lock(&gateway->lock);
    for (size_t i = 0; i < PX_GATEWAY_SEEKS; i++) {
        const char *other = gateway->seekers[i];
        all += other != NULL;
        own += other && strcmp(other, principal) == 0;
        if (!other)
            seat = (int)i;
    }
    if (all + own >= PX_GATEWAY_SEEKS)
        seat = -1;
    if (seat >= 0)
        gateway->seekers[seat] = principal;
    pthread_mutex_unlock(&gateway->lock);
    return seat;
}

/* The node has what the call names. A node that fails, or that does not know the principal, may not have it. */
static bool knows(int status)
{
    return status < 500 && status != 401 && status != 403 && status != 429;
}

/* `all`: it is for all nodes, and what they answer does not matter. */
static void seek(struct px_gateway *gateway, struct px_fleet_call *call, bool all, struct px_fleet_answer *ret)
{
    px_auto(values_done) struct node_values values = {.gateway = gateway};
    px_auto_json json_t *nodes = discover(&values, call, ret);
    px_auto_free const char **names = nodes ? names_of(nodes) : NULL;
    px_auto(px_fleet_answer_done) struct px_fleet_answer problem = {0};
    for (size_t i = 0; names && names[i]; i++) {
        enum px_exchange_end end = px_gateway_ask_node(gateway, call, names[i], ret);
        if (end == PX_EXCHANGE_NOBODY || (end == PX_EXCHANGE_ANSWERED && ret->status == 404) ||
            (all && end != PX_EXCHANGE_CANCELLED))
            continue;
        if (end != PX_EXCHANGE_ANSWERED)
            px_gateway_failed(gateway, end, NULL, ret);
        if (end == PX_EXCHANGE_CANCELLED || (end == PX_EXCHANGE_ANSWERED && knows(ret->status)))
            return;
        px_gateway_answer_clear(&problem); /* another node may know it */
        problem = *ret;
        *ret = (struct px_fleet_answer){0};
    }
    if (nodes && all) {
        px_gateway_answer_clear(ret);
        ret->status = 202;
    } else if (nodes && problem.status) {
        px_gateway_answer_clear(ret);
        *ret = problem;
        problem = (struct px_fleet_answer){0};
    } else if (nodes) {
        px_gateway_problem(ret, 404, px_gateway_is_route(call, "call_answer") ? "call_not_found" : "not_found",
                           "It was already answered, or what it belongs to has ended.", "no node knows '%.128s'",
                           call->named);
    }
}

static void seek_in_turn(struct px_gateway *gateway, struct px_fleet_call *call, bool all, struct px_fleet_answer *ret)
{
    int seat = begin_seek(gateway, call->principal);
    if (seat < 0) {
        px_gateway_problem(ret, 503, "overloaded", PX_GATEWAY_AGAIN,
                           "the gateway does not know the node of '%.128s', and looks for too many others",
                           call->named);
        return;
    }
    seek(gateway, call, all, ret);
    pthread_mutex_lock(&gateway->lock);
    gateway->seekers[seat] = NULL;
    pthread_mutex_unlock(&gateway->lock);
}

void px_gateway_seek(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    seek_in_turn(gateway, call, false, ret);
}

void px_gateway_tell_all(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret)
{
    seek_in_turn(gateway, call, true, ret);
}
