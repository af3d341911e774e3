/* SPDX-License-Identifier: Apache-2.0 */
/* JetStream key-value buckets: of sessions, of keys and of answers. They are used by their messages (ADR-8 of NATS), because
 * libnats' functions for them wait for their answers. An atomic create says that the last sequence of the key's subject must be 0. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "worker/worker_seats.h"

#define SERVER_MAJOR 2
#define SERVER_MINOR 12
/* JetStream's errors. */
#define ENTRY_EXISTS 10071 /* the last sequence of the subject is another one */
#define STREAM_MISSING 10059

long px_entry_error(natsMsg *message, json_t **ret)
{
    *ret = px_json_loadb(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message), 0, NULL);
    return (long)json_integer_value(json_object_get(json_object_get(*ret, "error"), "err_code"));
}

/* A cluster of older servers may lose entries when its servers are killed. A server says its version in the answer since 2.11, and
 * libnats does not tell it. */
static void check_version(struct px_worker *worker, const json_t *answer)
{
    unsigned major = 0, minor = 0;
    const json_t *metadata = json_object_get(json_object_get(answer, "config"), "metadata");
    const char *version = json_string_value(json_object_get(metadata, "_nats.ver"));
    bool known = version && sscanf(version, "%u.%u", &major, &minor) == 2;
    bool good = known && (major > SERVER_MAJOR || (major == SERVER_MAJOR && minor >= SERVER_MINOR));
    if (good || worker->replicas < 2 || worker->seats->warned)
        return;
    worker->seats->warned = true;
    px_worker_say(
        "the NATS server is older than %d.%d: when servers of its cluster are killed, it may forget sessions and keys of "
        "requests; use a newer one (docs/scale.md, \"The NATS server\")",
        SERVER_MAJOR, SERVER_MINOR);
}

bool px_bucket_made(struct px_worker *worker, const char *name, natsMsg *message)
{
    px_auto_json json_t *answer = NULL;
    bool bad = !message || natsMsg_IsNoResponders(message);
    long code = bad ? 0 : px_entry_error(message, &answer);
    const char *why = json_string_value(json_object_get(json_object_get(answer, "error"), "description"));
    if (code == PX_STREAM_EXISTS)
        return true;
    if ((bad || code) && !worker->seats->complained)
        px_worker_say("the bucket %s can't be used: JetStream is not available%s%s", name, why ? ": " : "",
                      why ? why : "");
    worker->seats->complained = bad || code;
    if (!bad && !code)
        check_version(worker, answer);
    return !bad && !code;
}

void px_bucket_make(struct px_worker *worker, const char *name, const char *age_ns, const char *bytes, px_ask_fn *fn,
                    void *closure)
{
    static const char limits[] = "\"retention\":\"limits\",\"max_consumers\":-1,\"max_msgs\":-1,"
                                 "\"max_msgs_per_subject\":1,\"max_msg_size\":-1,\"storage\":\"file\","
                                 "\"deny_delete\":true,\"allow_rollup_hdrs\":true,\"allow_direct\":true";
    char subject[200], text[800];
    snprintf(subject, sizeof subject, "$JS.API.STREAM.CREATE.KV_%s", name);
    int length =
        snprintf(text, sizeof text,
                 "{\"name\":\"KV_%s\",\"subjects\":[\"$KV.%s.>\"],\"max_age\":%s,\"max_bytes\":%s,\"discard\":\"%s\","
                 "\"num_replicas\":%lld,%s}",
                 name, name, age_ns, bytes, *bytes == '-' ? "new" : "old", (long long)worker->replicas, limits);
    px_ask_send(worker, subject, NULL, 0, text, (size_t)length, fn, closure);
}

static void entry_removed(struct px_worker *worker, void *closure, natsMsg *message)
{
    (void)closure;
    (void)message;
    worker->seats->removing--;
}

void px_entry_purge(struct px_worker *worker, const char *bucket, const char *key, uint64_t revision, px_ask_fn *fn,
                    void *closure)
{
    char subject[100], text[600], until[40] = "";
    snprintf(subject, sizeof subject, "$JS.API.STREAM.PURGE.KV_%s", bucket);
    if (revision)
        snprintf(until, sizeof until, ",\"seq\":%llu", (unsigned long long)revision + 1);
    int length = snprintf(text, sizeof text, "{\"filter\":\"$KV.%s.%s\"%s}", bucket, key, until);
    px_ask_send(worker, subject, NULL, 0, text, (size_t)length, fn, closure);
}

void px_entry_remove(struct px_worker *worker, const char *bucket, const char *key, uint64_t revision)
{
    worker->seats->removing++;
    px_entry_purge(worker, bucket, key, revision, entry_removed, NULL);
}

/* Writes an entry if the last one with this key has this revision; 0: if there is none. */
static void put(struct px_worker *worker, const char *bucket, const char *key, const char *node, const char *boot,
                const char *request, uint64_t revision, px_ask_fn *fn, void *closure)
{
    char subject[400], text[300], last[24];
    const struct px_header headers[] = {{"Nats-Expected-Last-Subject-Sequence", last}};
    snprintf(last, sizeof last, "%llu", (unsigned long long)revision);
    snprintf(subject, sizeof subject, "$KV.%s.%s", bucket, key);
    int length = snprintf(text, sizeof text, "{\"node\":\"%s\",\"boot\":\"%s\"%s%s%s}", node, boot,
                          request ? ",\"request\":\"" : "", request ? request : "", request ? "\"" : "");
    px_ask_send(worker, subject, headers, 1, text, (size_t)length, fn, closure);
}

void px_entry_create(struct px_worker *worker, const char *bucket, const char *key, const char *request, px_ask_fn *fn,
                     void *closure)
{
    put(worker, bucket, key, worker->node, worker->boot, request, 0, fn, closure);
}

static void entry_renewed(struct px_worker *worker, void *closure, natsMsg *message)
{
    (void)worker;
    (void)closure;
    (void)message;
}

void px_entry_renew(struct px_worker *worker, const char *bucket, const char *key, const char *request,
                    uint64_t revision)
{
    put(worker, bucket, key, worker->node, worker->boot, request, revision, entry_renewed, NULL);
}

void px_entry_give(struct px_worker *worker, const char *bucket, const char *key, const char *node, const char *boot,
                   uint64_t revision, px_ask_fn *fn, void *closure)
{
    put(worker, bucket, key, node, boot, NULL, revision, fn ? fn : entry_renewed, closure);
}

enum px_entry_outcome px_entry_created(natsMsg *message, uint64_t *ret_revision)
{
    px_auto_json json_t *answer = NULL;
    *ret_revision = 0;
    if (!message || natsMsg_IsNoResponders(message))
        return PX_ENTRY_UNANSWERED;
    long code = px_entry_error(message, &answer);
    *ret_revision = code ? 0 : (uint64_t)json_integer_value(json_object_get(answer, "seq"));
    return *ret_revision ? PX_ENTRY_MADE : code == ENTRY_EXISTS ? PX_ENTRY_TAKEN : PX_ENTRY_REFUSED;
}

const char *px_entry_why(enum px_entry_outcome outcome)
{
    return outcome == PX_ENTRY_REFUSED ? "JetStream stores no more: its disk or its limit is full, or it has no leader"
                                       : "JetStream does not answer";
}

struct px_claim *px_claim_new(const struct px_node_request *request, const char *key)
{
    struct px_claim *claim = malloc(sizeof *claim + strlen(key) + 1);
    if (claim) {
        memcpy(claim->id, request->id, sizeof claim->id);
        claim->revision = 0;
        claim->looks = 0;
        strcpy(claim->key, key);
    }
    return claim;
}

struct px_node_request *px_claim_request(struct px_worker *worker, const struct px_claim *claim)
{
    struct px_node_request *request = px_node_request_find(worker, claim->id);
    return request && !request->ended ? request : NULL;
}

void px_entry_read(struct px_worker *worker, const char *bucket, const char *key, px_ask_fn *fn, void *closure)
{
    char subject[200], text[500];
    snprintf(subject, sizeof subject, "$JS.API.STREAM.MSG.GET.KV_%s", bucket);
    int length = snprintf(text, sizeof text, "{\"last_by_subj\":\"$KV.%s.%s\"}", bucket, key);
    px_ask_send(worker, subject, NULL, 0, text, (size_t)length, fn, closure);
}

enum px_entry_state px_entry_state(natsMsg *message, struct px_buffer *ret, uint64_t *ret_revision)
{
    px_auto_json json_t *answer = NULL;
    if (ret_revision)
        *ret_revision = 0;
    if (!message || natsMsg_IsNoResponders(message))
        return PX_ENTRY_UNKNOWN;
    long code = px_entry_error(message, &answer);
    if (code == PX_ENTRY_MISSING || code == STREAM_MISSING)
        return PX_ENTRY_NONE;
    const json_t *entry = json_object_get(answer, "message");
    const char *data = json_string_value(json_object_get(entry, "data"));
    if (ret_revision)
        *ret_revision = (uint64_t)json_integer_value(json_object_get(entry, "seq"));
    return !code && data && px_base64_decode(ret, data, strlen(data)) == 0 && px_buffer_ok(ret) ? PX_ENTRY_THERE
                                                                                                : PX_ENTRY_UNKNOWN;
}
