/* SPDX-License-Identifier: Apache-2.0 */
/* Which subjects this node serves now. While too many runs wait at it, it leaves the queue groups, so that NATS gives new runs to
 * other nodes, or refuses them if there are none. It leaves by draining: messages that are on their way still come.
 *
 * This program knows how many runs the server has, but not how many of them sleep and need no turn. The server's metrics say it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "worker/worker.h"

#define LOOK_BUSY_NS (200 * PX_NS_PER_MS)
#define LOOK_IDLE_NS (5000 * PX_NS_PER_MS)
#define PX_RUN_SUBJECT "pyexec.v1.run"
#define PX_RUN_AS_SUBJECT "pyexec.v1.as.*.run"
#define LIST_NS (30000 * PX_NS_PER_MS)

static struct px_topic *add(struct px_worker *worker, enum px_topic_kind kind, const char *subject, const char *queue)
{
    struct px_topic *topic = calloc(1, sizeof *topic);
    if (!topic)
        return NULL;
    topic->kind = kind;
    topic->subject = strdup(subject);
    topic->queue = queue ? strdup(queue) : NULL;
    topic->next = worker->topics;
    worker->topics = topic;
    return topic->subject && (!queue || topic->queue) ? topic : NULL;
}

/* Adds START NAME END. */
static int add_named(struct px_worker *worker, enum px_topic_kind kind, const char *queue, const char *start,
                     const char *name, const char *end)
{
    char subject[256];
    snprintf(subject, sizeof subject, "%s%s%s", start, name, end);
    return add(worker, kind, subject, queue) ? 0 : -1;
}

int px_load_open(struct px_worker *worker)
{
    static const char *const services[] = {"PING", "INFO", "STATS"};
    const char *queue = worker->queue;
    int status = add_named(worker, PX_TOPIC_REPLY, NULL, "_INBOX.", worker->boot, ".*");
    if (worker->principal) {
        status |= add_named(worker, PX_TOPIC_RUN, queue, PX_RUN_SUBJECT, "", "");
        status |= add_named(worker, PX_TOPIC_RUN, queue, "pyexec.v1.open", "", "");
    }
    status |= add_named(worker, PX_TOPIC_RUN, queue, PX_RUN_AS_SUBJECT, "", "");
    status |= add_named(worker, PX_TOPIC_RUN, queue, "pyexec.v1.as.*.open", "", "");
    /* No queue group. After this node has left a server that stands still, the others know two members of a group: its new subscription,
     * and its old one there. Every second message would go to the old one, and arrive out of order when that server goes on. */
    status |= add_named(worker, PX_TOPIC_NODE, NULL, "pyexec.v1.node.", worker->node, "");
    status |= add_named(worker, PX_TOPIC_NODE, NULL, "pyexec.v1.node.", worker->node, ".s.*.*");
    status |= add_named(worker, PX_TOPIC_NODE, NULL, "pyexec.v1.node.", worker->node, ".p.*");
    status |= add_named(worker, PX_TOPIC_ABOUT, NULL, "pyexec.v1.node.", worker->node, ".r.>");
    status |= add_named(worker, PX_TOPIC_PEERS, NULL, PX_PEERS_SUBJECT, "", "");
    for (size_t i = 0; i < PX_COUNT(services); i++) {
        char one[32];
        snprintf(one, sizeof one, "$SRV.%s.pyexec.", services[i]);
        status |= add_named(worker, PX_TOPIC_SERVICE, NULL, "$SRV.", services[i], "");
        status |= add_named(worker, PX_TOPIC_SERVICE, NULL, "$SRV.", services[i], ".pyexec");
        status |= add_named(worker, PX_TOPIC_SERVICE, NULL, one, worker->node, "");
    }
    return status;
}

void px_load_close(struct px_worker *worker)
{
    while (worker->topics) {
        struct px_topic *topic = worker->topics;
        worker->topics = topic->next;
        natsSubscription_Destroy(topic->open);
        natsSubscription_Destroy(topic->leaving);
        free(topic->subject);
        free(topic->queue);
        free(topic);
    }
}

static void join(struct px_worker *worker, enum px_topic_kind kind)
{
    for (struct px_topic *topic = worker->topics; topic; topic = topic->next)
        if (topic->kind == kind && !topic->open && !topic->gone)
            px_link_subscribe(worker, topic);
}

static void leave(struct px_worker *worker)
{
    for (struct px_topic *topic = worker->topics; topic; topic = topic->next)
        if (topic->kind == PX_TOPIC_RUN && topic->open && !topic->leaving)
            px_link_leave(topic);
}

int64_t px_load_waiting(const struct px_worker *worker)
{
    int64_t waiting = worker->runs - worker->asleep - worker->turns;
    return waiting > 0 ? waiting : 0;
}

void px_load_update(struct px_worker *worker)
{
    int64_t waiting = px_load_waiting(worker), most = worker->full_at;
    if (!worker->serving)
        return;
    if (worker->draining || waiting >= most) {
        if (!worker->full && !worker->draining)
            worker->figures->fulls++;
        worker->full = true;
        leave(worker);
    } else if (worker->full && waiting <= most / 2) {
        worker->full = false;
        join(worker, PX_TOPIC_RUN);
    }
}

void px_load_drain(struct px_worker *worker)
{
    worker->draining = true;
    px_load_update(worker);
}

bool px_load_is_drained(const struct px_worker *worker)
{
    for (const struct px_topic *topic = worker->topics; topic; topic = topic->next)
        if (topic->kind == PX_TOPIC_RUN && (topic->open || topic->leaving))
            return false;
    return true;
}

/* ---- The server's figures ---- */

static int get(struct px_worker *worker, const char *path, void (*done)(struct px_node_request *request))
{
    struct px_node_request *request = px_node_request_new(worker, NULL);
    if (!request)
        return -1;
    strcpy(request->method, "GET");
    request->path = strdup(path);
    request->done = done;
    if (request->path) {
        px_node_begin(request);
        return 0;
    }
    px_node_finish(request);
    return -1;
}

static void ask_node(struct px_worker *worker, px_ask_fn *fn)
{
    static const char ping[] = "{\"do\":\"ping\"}";
    char subject[128];
    snprintf(subject, sizeof subject, "pyexec.v1.node.%s", worker->node);
    px_ask_send(worker, subject, NULL, 0, ping, sizeof ping - 1, fn, NULL);
}

void px_load_lose_name(struct px_worker *worker)
{
    if (worker->closing)
        return;
    px_worker_fail(worker, "another node of the fleet has the name '%s'; choose another one with --node", worker->node);
}

/* This node has answered itself: the NATS server has all subscriptions that were sent before. Or another node has answered, which took
 * the name at the same moment. */
static void reached(struct px_worker *worker, void *closure, natsMsg *message)
{
    px_auto_json json_t *answer = NULL;
    (void)closure;
    if (!message || natsMsg_IsNoResponders(message)) {
        if (!worker->draining)
            ask_node(worker, reached);
        return;
    }
    answer = px_json_loadb(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message), 0, NULL);
    const char *boot = json_string_value(json_object_get(answer, "boot"));
    if (boot && strcmp(boot, worker->boot) != 0)
        px_load_lose_name(worker);
    else if (!worker->draining)
        px_worker_ready(worker);
}

/* The name is free, or nobody answers: this node has it now. */
static void take_name(struct px_worker *worker, void *closure, natsMsg *message)
{
    (void)closure;
    if (worker->serving || worker->draining)
        return;
    if (message && !natsMsg_IsNoResponders(message)) {
        px_load_lose_name(worker);
        return;
    }
    if (!message && !worker->link.connected) {
        worker->naming = false; /* the next look asks again */
        return;
    }
    worker->serving = true;
    px_sessions_ready(worker);
    px_keys_ready(worker);
    join(worker, PX_TOPIC_NODE);
    join(worker, PX_TOPIC_PEERS);
    px_peers_hello(worker);
    join(worker, PX_TOPIC_ABOUT);
    join(worker, PX_TOPIC_SERVICE);
    join(worker, PX_TOPIC_RUN);
    ask_node(worker, reached);
}

static void look_done(struct px_node_request *request)
{
    struct px_worker *worker = request->worker;
    const char *text = px_buffer_shown(&request->answer);
    worker->looking = false;
    if (request->status != 200)
        return;
    worker->asleep = (int64_t)px_number_after(text, "pyexec_asleep ", 0);
    worker->sessions = (int64_t)px_number_after(text, "pyexec_sessions ", 0);
    worker->running = (int64_t)px_number_after(text, "pyexec_running ", 0);
    worker->waiting = (int64_t)px_number_after(text, "pyexec_queue_length ", 0);
    if (!worker->serving && !worker->naming) {
        worker->naming = true;
        join(worker, PX_TOPIC_REPLY);
        ask_node(worker, take_name);
    }
    px_load_update(worker);
}

/* ---- Environments ---- */

static bool is_listed(const json_t *list, const char *name)
{
    size_t i;
    json_t *row;
    json_array_foreach(list, i, row) {
        const char *other = json_string_value(json_object_get(row, "name"));
        if (other && strcmp(other, name) == 0)
            return true;
    }
    return false;
}

static struct px_topic *find(struct px_worker *worker, const char *subject)
{
    struct px_topic *topic = worker->topics;
    while (topic && strcmp(topic->subject, subject) != 0)
        topic = topic->next;
    return topic;
}

static void serve_environment(struct px_worker *worker, const char *run, const char *name)
{
    char subject[256];
    if (strlen(name) > 128 || strpbrk(name, " *>\t"))
        return;
    snprintf(subject, sizeof subject, "%s.%s", run, name);
    struct px_topic *topic = find(worker, subject);
    if (!topic)
        topic = add(worker, PX_TOPIC_RUN, subject, worker->queue);
    if (topic)
        topic->gone = false;
}

static void list_done(struct px_node_request *request)
{
    static const char own[] = PX_RUN_SUBJECT ".", others[] = PX_RUN_AS_SUBJECT ".";
    struct px_worker *worker = request->worker;
    px_auto_json json_t *answer =
        px_json_loadb(px_buffer_shown(&request->answer), px_buffer_length(&request->answer), JSON_ALLOW_NUL, NULL);
    const json_t *list = json_object_get(answer, "environments");
    size_t i;
    json_t *row;
    worker->listing = false;
    if (request->status != 200 || !list || json_array_size(list) > PX_NODE_ENVIRONMENTS_MAX)
        return;
    json_array_foreach(list, i, row) {
        const char *name = json_string_value(json_object_get(row, "name"));
        if (name && worker->principal)
            serve_environment(worker, PX_RUN_SUBJECT, name);
        if (name)
            serve_environment(worker, PX_RUN_AS_SUBJECT, name);
    }
    for (struct px_topic *topic = worker->topics; topic; topic = topic->next) {
        const char *name = strncmp(topic->subject, own, strlen(own)) == 0         ? topic->subject + strlen(own)
                           : strncmp(topic->subject, others, strlen(others)) == 0 ? topic->subject + strlen(others)
                                                                                  : NULL;
        topic->gone = name && !is_listed(list, name);
        if (topic->gone && topic->open && !topic->leaving)
            px_link_leave(topic);
    }
    json_decref(worker->environments);
    worker->environments = json_incref(json_object_get(answer, "environments"));
    if (worker->serving && !worker->full)
        join(worker, PX_TOPIC_RUN);
}

void px_load_tick(struct px_worker *worker, int64_t now_ns)
{
    bool busy = worker->runs > worker->turns || !worker->serving;
    if (!worker->looking && now_ns - worker->load_ns > (busy ? LOOK_BUSY_NS : LOOK_IDLE_NS)) {
        worker->load_ns = now_ns;
        worker->looking = get(worker, "/metrics", look_done) == 0;
    }
    if (!worker->listing && now_ns - worker->list_ns > LIST_NS && !worker->closing) {
        worker->list_ns = now_ns;
        worker->listing = get(worker, "/v1/environments", list_done) == 0;
    }
}
