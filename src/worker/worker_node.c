/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the node, and the discovery of NATS micro services (https://github.com/nats-io/nats-architecture-and-design,
 * ADR-32): libnats has no part for it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "worker/worker.h"

#define SERVICE_DESCRIPTION "Runs Python of AI agents in a kernel sandbox"

static void say(struct px_worker *worker, natsMsg *message, json_t *object)
{
    const char *reply = natsMsg_GetReply(message);
    px_auto_free char *text = px_json_take_text(object);
    const struct px_header headers[] = {
        {"Pyexec-Status", "200"}, {"Pyexec-Node", worker->node}, {"Content-Type", "application/json"}};
    if (text && reply && *reply)
        px_link_say(worker, reply, NULL, headers, PX_COUNT(headers), text, strlen(text));
}

/* Figures of the node. */
static json_t *figures(struct px_worker *worker)
{
    json_t *names = json_array(), *row;
    size_t i;
    json_array_foreach(worker->environments, i, row)
        px_json_append(names, json_incref(json_object_get(row, "name")));
    return json_pack("{s:s, s:s, s:s, s:O, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "node", worker->node,
                     "boot", worker->boot, "version", PX_VERSION, "labels", worker->labels, "draining",
                     worker->draining, "full", worker->full, "requests", (json_int_t)worker->request_count, "running",
                     (json_int_t)worker->running, "asleep", (json_int_t)worker->asleep, "waiting",
                     (json_int_t)worker->waiting, "sessions", (json_int_t)worker->sessions, "turns",
                     (json_int_t)worker->turns, "full_at", (json_int_t)worker->full_at, "environments", names);
}

void px_node_command(struct px_worker *worker, natsMsg *message)
{
    px_auto_json json_t *body = px_json_read(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message), 0, NULL);
    const char *verb = json_string_value(json_object_get(body, "do"));
    if (verb && strcmp(verb, "ping") == 0) {
        say(worker, message, json_pack("{s:s, s:s}", "node", worker->node, "boot", worker->boot));
    } else if (verb && strcmp(verb, "stats") == 0) {
        say(worker, message, figures(worker));
    } else if (verb && strcmp(verb, "drain") == 0) {
        px_worker_say("draining, because a client asked for it");
        px_worker_drain(worker);
        say(worker, message, figures(worker));
    } else {
        px_answer_message(worker, message, 400, "invalid_request", "the node does not know this command",
                          "Send {\"do\": \"ping\"}, {\"do\": \"stats\"} or {\"do\": \"drain\"}.");
    }
}

/* ---- NATS micro services ---- */

static json_t *head(struct px_worker *worker, const char *type)
{
    px_auto_free char *labels = px_json_dumps(worker->labels, JSON_COMPACT);
    return json_pack("{s:s, s:s, s:s, s:s, s:{s:s, s:s, s:s}}", "name", "pyexec", "id", worker->node, "version",
                     PX_VERSION, "type", type, "metadata", "boot", worker->boot, "labels", labels ? labels : "{}",
                     "protocol", "1");
}

static json_t *endpoint(struct px_worker *worker, const char *name, const char *subject, const char *queue)
{
    (void)worker;
    return json_pack("{s:s, s:s, s:s, s:{}}", "name", name, "subject", subject, "queue_group", queue, "metadata");
}

static json_t *stats_of(struct px_worker *worker)
{
    uint64_t count = worker->served;
    json_t *row = endpoint(worker, "run", "pyexec.v1.run", worker->queue);
    px_json_set(row, "num_requests", json_integer((json_int_t)count));
    px_json_set(row, "num_errors", json_integer((json_int_t)worker->errors));
    px_json_set(row, "last_error", json_string(worker->last_error));
    px_json_set(row, "processing_time", json_integer(worker->served_ns));
    px_json_set(row, "average_processing_time", json_integer(count ? worker->served_ns / (json_int_t)count : 0));
    px_json_set(row, "data", figures(worker));
    return row;
}

void px_node_service(struct px_worker *worker, natsMsg *message, const char *subject)
{
    const char *verb = subject + strlen("$SRV.");
    json_t *answer;
    if (strncmp(verb, "PING", 4) == 0) {
        answer = head(worker, "io.nats.micro.v1.ping_response");
    } else if (strncmp(verb, "INFO", 4) == 0) {
        answer = head(worker, "io.nats.micro.v1.info_response");
        px_json_set(answer, "description", json_string(SERVICE_DESCRIPTION));
        px_json_set(answer, "endpoints",
                    json_pack("[o, o]", endpoint(worker, "run", "pyexec.v1.run", worker->queue),
                              endpoint(worker, "open", "pyexec.v1.open", worker->queue)));
    } else {
        answer = head(worker, "io.nats.micro.v1.stats_response");
        px_json_set(answer, "started", json_string(worker->started));
        px_json_set(answer, "endpoints", json_pack("[o]", stats_of(worker)));
    }
    say(worker, message, answer);
}
