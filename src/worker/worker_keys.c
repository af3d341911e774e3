/* SPDX-License-Identifier: Apache-2.0 */
/* Requests with a key (the header Pyexec-Key): before such a request goes to the server, its key is written into a bucket by an atomic
 * create, for its principal. So of all requests of the fleet with one key at most one starts, however often a client sends it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "worker/worker_seats.h"

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

static void key_created(struct px_worker *worker, void *closure, natsMsg *message)
{
    px_auto_free struct px_claim *claim = closure;
    struct px_node_request *request = px_claim_request(worker, claim); /* NULL: it was cancelled, so nothing starts */
    uint64_t revision;
    enum px_entry_outcome outcome = px_entry_created(message, &revision);
    PX_FIGURES_CLAIMED(worker, key, outcome);
    if (outcome == PX_ENTRY_UNANSWERED && request)
        px_keys_ready(worker);
    if (outcome == PX_ENTRY_MADE && request) {
        request->keyed = revision;
        px_node_begin(request);
    } else if (outcome == PX_ENTRY_MADE) {
        px_entry_remove(worker, PX_KEYS_BUCKET, claim->key, revision);
    } else if (outcome == PX_ENTRY_TAKEN && request && request->keeps) {
        px_keep_search(request);
    } else if (outcome == PX_ENTRY_TAKEN && request) {
        px_keys_taken(request);
    } else if (request) {
        char title[160];
        snprintf(title, sizeof title, "the key can't be checked: %s", px_entry_why(outcome));
        px_sessions_refuse(request, 503, "overloaded", title, RUN_KEYS_HINT);
    }
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
