/* SPDX-License-Identifier: Apache-2.0 */
/* Requests with a key (the header Pyexec-Key): before such a request goes to the server, its key is written into a bucket by an atomic
 * create, for its principal. So of all requests of the fleet with one key at most one starts, however often a client sends it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "worker/worker_seats.h"

#define KEY_LOOKS_MAX 20u /* about a minute */
#define RUN_KEYS_HINT "Keys " PX_JETSTREAM_NEEDED

static void bucket_made(struct px_worker *worker, void *closure, natsMsg *message)
{
    (void)closure;
    px_bucket_made(worker, PX_KEYS_BUCKET, message);
}

void px_keys_ready(struct px_worker *worker)
{
    px_bucket_make(worker, PX_KEYS_BUCKET, PX_KEYS_AGE, "-1", bucket_made, NULL);
}

bool px_keys_gives_back(int status)
{
    return status == 400 || status == 401 || status == 429 || status == 503;
}

void px_keys_taken(struct px_node_request *request)
{
    px_sessions_refuse(request, 409, "already_started",
                       "a request with this key has started before; this one is not started",
                       request->keeps ? "Its answer is gone, or was never kept."
                                      : "Its answer went to the client that sent it first.");
}

void px_keys_renew(struct px_node_request *request)
{
    px_auto_free char *entry = px_seat_key(request->principal, request->key);
    if (entry)
        px_entry_renew(request->worker, PX_KEYS_BUCKET, entry, request->id, request->keyed);
}

static void refuse_key(struct px_node_request *request, enum px_entry_outcome outcome)
{
    char title[160];
    snprintf(title, sizeof title, "the key can't be checked: %s", px_entry_why(outcome));
    px_sessions_refuse(request, 503, "overloaded", title, RUN_KEYS_HINT);
}

/* The key's entry belongs to this request, or to another one (revision 0). Without a request nothing starts: it was cancelled, or refused. */
static void use_key(struct px_worker *worker, const struct px_claim *claim, uint64_t revision)
{
    struct px_node_request *request = px_claim_request(worker, claim);
    if (request && !request->keyed && revision) {
        request->keyed = revision;
        px_node_begin(request);
    } else if (revision) {
        px_entry_remove(worker, PX_KEYS_BUCKET, claim->key, revision);
    } else if (request && request->keeps) {
        px_keep_search(request);
    } else if (request) {
        px_keys_taken(request);
    }
}

/* JetStream may have stored the key without an answer. So the entry is read, and read again while no answer comes: a key that was
 * stored for a request that did not start would refuse it for a day. */
static void key_read(struct px_worker *worker, void *closure, natsMsg *message)
{
    struct px_claim *claim = closure;
    struct px_node_request *request = px_claim_request(worker, claim);
    px_auto_buffer struct px_buffer value = {0};
    uint64_t revision;
    if (px_entry_state(message, &value, &revision) == PX_ENTRY_THERE) {
        px_auto_json json_t *entry = px_json_loadb(px_buffer_shown(&value), px_buffer_length(&value), 0, NULL);
        const char *first = json_string_value(json_object_get(entry, "request"));
        use_key(worker, claim, first && strcmp(first, claim->id) == 0 ? revision : 0);
    } else if (request) {
        refuse_key(request, PX_ENTRY_UNANSWERED);
    }
    if (!message && claim->looks++ < KEY_LOOKS_MAX)
        px_entry_read(worker, PX_KEYS_BUCKET, claim->key, key_read, claim);
    else
        free(claim);
}

static void key_created(struct px_worker *worker, void *closure, natsMsg *message)
{
    struct px_claim *claim = closure;
    struct px_node_request *request = px_claim_request(worker, claim);
    uint64_t revision;
    enum px_entry_outcome outcome = px_entry_created(message, &revision);
    PX_FIGURES_CLAIMED(worker, key, outcome);
    if (!message) {
        px_entry_read(worker, PX_KEYS_BUCKET, claim->key, key_read, claim);
        return;
    }
    if (outcome == PX_ENTRY_UNANSWERED && request)
        px_keys_ready(worker);
    if (outcome == PX_ENTRY_MADE || outcome == PX_ENTRY_TAKEN)
        use_key(worker, claim, revision);
    else if (request)
        refuse_key(request, outcome);
    free(claim);
}

void px_keys_claim(struct px_node_request *request)
{
    px_auto_free char *entry = px_seat_key(request->principal, request->key);
    struct px_claim *claim = entry ? px_claim_new(request, entry) : NULL;
    if (claim)
        px_entry_create(request->worker, PX_KEYS_BUCKET, entry, request->id, key_created, claim);
    else
        px_sessions_refuse(request, 503, "overloaded", "the node has no memory for the request", RUN_KEYS_HINT);
}

void px_keys_answered(struct px_node_request *request, int status)
{
    if (!request->keyed || !px_keys_gives_back(status))
        return;
    px_auto_free char *entry = px_seat_key(request->principal, request->key);
    if (entry)
        px_entry_remove(request->worker, PX_KEYS_BUCKET, entry, request->keyed);
}
