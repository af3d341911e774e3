/* SPDX-License-Identifier: Apache-2.0 */
/* Forks. The ids of the branches are claimed before the server makes them, so that each is free in the whole fleet. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/trace_context.h"
#include "worker/worker_seats.h"

/* What a fork claims. The request may be gone when the bucket answers. */
struct fork_claim {
    char id[PX_NODE_ID_SIZE];
    char key[]; /* of the branch */
};

static struct px_seat *branch_seat(struct px_node_request *request, size_t index)
{
    const char *id = json_string_value(json_array_get(request->branches, index));
    px_auto_free char *key = px_seat_key(request->principal, id);
    return key ? px_seat_find(request->worker, key) : NULL;
}

void px_forks_done(struct px_node_request *request)
{
    while (request->claimed) {
        struct px_seat *seat = branch_seat(request, --request->claimed);
        if (!seat)
            continue;
        if (request->forked)
            seat->fresh = seat->gone = false;
        px_seat_release(seat);
    }
}

static void refuse_fork(struct px_node_request *request, int status, const char *code, const char *title,
                        const char *hint)
{
    px_answer_problem(request, status, code, hint, "%s", title);
    px_sessions_left(request);
}

static void refuse_taken(struct px_node_request *request)
{
    refuse_fork(request, 409, "conflict", "there is already a session with this id", "Choose another id.");
}

static void branch_claimed(struct px_worker *worker, void *closure, natsMsg *message)
{
    px_auto_free struct fork_claim *fork = closure;
    struct px_node_request *request = px_node_request_find(worker, fork->id);
    px_auto_json json_t *answer = NULL;
    bool bad = !message || natsMsg_IsNoResponders(message);
    long code = bad ? 0 : px_entry_error(message, &answer);
    uint64_t revision = code ? 0 : (uint64_t)json_integer_value(json_object_get(answer, "seq"));
    bool gone = !request || request->ended; /* it was cancelled */
    if (!gone && (code == PX_ENTRY_EXISTS || px_seat_find(worker, fork->key))) {
        refuse_taken(request); /* a call of this id came meanwhile: it finds the entry, and takes it over */
        return;
    }
    struct px_seat *seat = gone || !revision
                               ? NULL
                               : px_seat_add(worker, request->principal,
                                             json_string_value(json_array_get(request->branches, request->claimed)));
    if (!seat && revision)
        px_entry_remove(worker, PX_SESSIONS_BUCKET, fork->key, revision);
    if (!seat && !gone)
        refuse_fork(request, 503, "overloaded", "JetStream does not answer", PX_JETSTREAM_HINT);
    if (!seat)
        return;
    px_seat_hold(seat);
    seat->ours = seat->fresh = true;
    seat->revision = revision;
    seat->used_ns = px_now_ns();
    request->claimed++;
    px_forks_claim(request);
}

void px_forks_claim(struct px_node_request *request)
{
    const char *id = json_string_value(json_array_get(request->branches, request->claimed));
    if (!id) {
        px_node_begin(request);
        return;
    }
    px_auto_free char *key = px_seat_key(request->principal, id);
    struct fork_claim *fork = key ? malloc(sizeof *fork + strlen(key) + 1) : NULL;
    if (!fork) {
        refuse_fork(request, 503, "overloaded", "the node has no memory for the fork", PX_HINT_AGAIN);
        return;
    }
    if (px_seat_find(request->worker, key)) {
        free(fork);
        refuse_taken(request);
        return;
    }
    memcpy(fork->id, request->id, sizeof fork->id);
    strcpy(fork->key, key);
    px_seat_create_entry(request->worker, key, branch_claimed, fork);
}

/* Replaces `count` by ids. False: the server says what is wrong with the body. */
bool px_forks_name(struct px_node_request *request)
{
    px_auto_json json_t *body = request->body.length ? px_json_loadb(px_buffer_shown(&request->body),
                                                                     request->body.length, JSON_REJECT_DUPLICATES, NULL)
                                                     : json_object();
    const json_t *ids = json_object_get(body, "ids"), *count = json_object_get(body, "count");
    size_t i;
    json_t *row;
    if (!json_is_object(body) || (ids && count) || (ids && !json_is_array(ids)) || (count && !json_is_integer(count)))
        return false;
    json_int_t wanted = ids ? (json_int_t)json_array_size(ids) : count ? json_integer_value(count) : 1;
    if (wanted < 1 || wanted > 1000)
        return false;
    json_t *names = request->branches = json_array();
    for (json_int_t n = 0; !ids && n < wanted; n++) {
        char made[PX_NODE_ID_SIZE + 2] = "s-";
        if (px_trace_make_id(made + 2, 16) < 0)
            return false;
        px_json_append(names, json_string(made));
    }
    json_array_foreach(ids, i, row) {
        if (!json_is_string(row) || !*json_string_value(row) || json_string_length(row) > 128)
            return false;
        px_json_append(names, json_incref(row));
    }
    (void)json_object_del(body, "count");
    px_json_set(body, "ids", json_incref(names));
    px_auto_free char *text = px_json_dumps(body, JSON_COMPACT);
    px_buffer_done(&request->body);
    px_buffer_add_string(&request->body, text);
    return px_buffer_ok(&request->body);
}
