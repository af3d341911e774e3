/* SPDX-License-Identifier: Apache-2.0 */
/* Requests with a key (the header Pyexec-Key): before such a request goes to the server, its key is written into a bucket by an atomic
 * create, for its principal. So of all requests of the fleet with one key at most one starts, however often a client sends it. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "worker/worker_seats.h"

#define RUN_KEYS_BUCKET "pyexec_keys"
#define RUN_KEYS_AGE "86400000000000" /* a day, in ns */
#define RUN_KEYS_HINT "Keys need JetStream (nats-server -js). " PX_HINT_AGAIN

struct key_claim {
    char id[PX_NODE_ID_SIZE];
    char entry[]; /* PRINCIPAL.KEY */
};

void px_keys_ready(struct px_worker *worker)
{
    px_bucket_make(worker, RUN_KEYS_BUCKET, RUN_KEYS_AGE);
}

static void key_created(struct px_worker *worker, void *closure, natsMsg *message)
{
    px_auto_free struct key_claim *claim = closure;
    struct px_node_request *request = px_node_request_find(worker, claim->id);
    px_auto_json json_t *answer = NULL;
    bool bad = !message || natsMsg_IsNoResponders(message);
    long code = bad ? 0 : px_entry_error(message, &answer);
    uint64_t revision = code ? 0 : (uint64_t)json_integer_value(json_object_get(answer, "seq"));
    if (!request || request->ended) { /* it was cancelled: nothing starts */
        if (revision)
            px_entry_remove(worker, RUN_KEYS_BUCKET, claim->entry, revision);
        return;
    }
    if (code == PX_ENTRY_EXISTS) {
        px_answer_problem(request, 409, "already_started", "Its answer went to the client that sent it first.",
                          "a request with this key has started before; this one is not started");
    } else if (!revision) {
        if (bad)
            px_keys_ready(worker);
        px_answer_problem(request, 503, "overloaded", RUN_KEYS_HINT,
                          "the key can't be checked: JetStream does not answer");
    } else {
        request->keyed = revision;
        px_node_begin(request);
        return;
    }
    px_sessions_left(request);
}

void px_keys_claim(struct px_node_request *request)
{
    px_auto_free char *entry = px_seat_key(request->principal, request->key);
    struct key_claim *claim = entry ? malloc(sizeof *claim + strlen(entry) + 1) : NULL;
    px_auto_buffer struct px_buffer subject = {0};
    px_buffer_printf(&subject, "$KV." RUN_KEYS_BUCKET ".%s", entry ? entry : "");
    if (!claim || !px_buffer_ok(&subject)) {
        free(claim);
        px_answer_problem(request, 503, "overloaded", RUN_KEYS_HINT, "the node has no memory for the request");
        px_sessions_left(request);
        return;
    }
    memcpy(claim->id, request->id, sizeof claim->id);
    strcpy(claim->entry, entry);
    px_entry_create(request->worker, px_buffer_string(&subject), key_created, claim);
}

void px_keys_answered(struct px_node_request *request, int status)
{
    if (!request->keyed || (status != 400 && status != 401 && status != 429 && status != 503))
        return;
    px_auto_free char *entry = px_seat_key(request->principal, request->key);
    if (entry)
        px_entry_remove(request->worker, RUN_KEYS_BUCKET, entry, request->keyed);
}
