/* SPDX-License-Identifier: Apache-2.0 */
/* Forks. The ids of the branches are claimed before the server makes them, so that each is free in the whole fleet. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/trace_context.h"
#include "worker/worker_seats.h"

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

static void refuse_taken(struct px_node_request *request)
{
    char title[200];
    const char *id = json_string_value(json_array_get(request->branches, request->claimed));
    snprintf(title, sizeof title, "there is already a session '%.128s'", id);
    px_sessions_refuse(request, 409, "conflict", title, "Choose another id.");
}

/* The id is free in the whole fleet. Without a request, or memory, its entry is removed. */
static void take_branch(struct px_worker *worker, const struct px_claim *branch, struct px_node_request *request)
{
    struct px_seat *seat = request ? px_seat_add(worker, request->principal,
                                                 json_string_value(json_array_get(request->branches, request->claimed)))
                                   : NULL;
    if (!seat)
        px_entry_remove(worker, PX_SESSIONS_BUCKET, branch->key, branch->revision);
    if (!seat && request)
        px_sessions_refuse(request, 503, "overloaded", "the node has no memory for the fork", PX_HINT_AGAIN);
    if (!seat)
        return;
    px_seat_hold(seat);
    seat->ours = seat->fresh = true;
    seat->revision = branch->revision;
    seat->used_ns = px_now_ns();
    request->claimed++;
    px_forks_claim(request);
}

/* The bucket had no entry. If a live node has the session, the entry becomes that node's again. */
static void branch_asked(struct px_worker *worker, void *closure, enum px_peers_outcome outcome, const char *node,
                         const char *boot)
{
    px_auto_free struct px_claim *branch = closure;
    struct px_node_request *request = px_claim_request(worker, branch);
    char title[160];
    if (outcome == PX_OWNER_FOUND)
        px_entry_give(worker, PX_SESSIONS_BUCKET, branch->key, node, boot, branch->revision, NULL, NULL);
    if (request && (outcome == PX_OWNER_FOUND || px_seat_find(worker, branch->key))) {
        refuse_taken(request); /* a call of this id came meanwhile: it finds the entry, and takes it over */
    } else if (outcome == PX_OWNER_NONE || outcome == PX_OWNER_DOUBTED) {
        take_branch(worker, branch, request);
    } else if (outcome != PX_OWNER_FOUND) {
        px_entry_remove(worker, PX_SESSIONS_BUCKET, branch->key, branch->revision);
        snprintf(title, sizeof title, "the owner of a branch is not known: %s", px_peers_why(outcome));
        if (request)
            px_sessions_refuse(request, 503, "overloaded", title, PX_HINT_AGAIN);
    }
}

static void branch_claimed(struct px_worker *worker, void *closure, natsMsg *message)
{
    struct px_claim *branch = closure;
    struct px_node_request *request = px_claim_request(worker, branch); /* NULL: it was cancelled */
    enum px_entry_outcome outcome = px_entry_created(message, &branch->revision);
    PX_FIGURES_CLAIMED(worker, session, outcome);
    if (outcome == PX_ENTRY_MADE && request && !request->invented) {
        px_peers_ask(worker, branch->key, branch->revision, branch_asked, branch);
        return;
    }
    if (outcome == PX_ENTRY_MADE)
        branch_asked(worker, branch, PX_OWNER_NONE, NULL, NULL);
    else if (request && (outcome == PX_ENTRY_TAKEN || px_seat_find(worker, branch->key)))
        refuse_taken(request);
    else if (request)
        px_sessions_refuse(request, 503, "overloaded", px_entry_why(outcome), PX_JETSTREAM_HINT);
    if (outcome != PX_ENTRY_MADE)
        free(branch);
}

void px_forks_claim(struct px_node_request *request)
{
    const char *id = json_string_value(json_array_get(request->branches, request->claimed));
    if (!id) {
        px_node_begin(request);
        return;
    }
    px_auto_free char *key = px_seat_key(request->principal, id);
    struct px_claim *branch = key ? px_claim_new(request, key) : NULL;
    if (!branch) {
        px_sessions_refuse(request, 503, "overloaded", "the node has no memory for the fork", PX_HINT_AGAIN);
        return;
    }
    if (px_seat_find(request->worker, key)) {
        free(branch);
        refuse_taken(request);
        return;
    }
    px_entry_create(request->worker, PX_SESSIONS_BUCKET, key, NULL, branch_claimed, branch);
}

enum px_forks_outcome px_forks_name(struct px_node_request *request)
{
    json_error_t problem = {0};
    px_auto_json json_t *body =
        px_buffer_length(&request->body)
            ? px_json_read(px_buffer_shown(&request->body), px_buffer_length(&request->body),
                           JSON_REJECT_DUPLICATES | (request->mcp ? JSON_ALLOW_NUL : 0), &problem)
            : json_object();
    json_t *given = request->mcp ? json_object_get(json_object_get(body, "params"), "arguments") : body;
    const json_t *ids = json_object_get(given, "ids"), *count = json_object_get(given, "count");
    size_t i;
    json_t *row;
    if (!body && (!px_buffer_length(&request->body) || json_error_code(&problem) == json_error_out_of_memory))
        return PX_FORKS_FAILED;
    if (!json_is_object(given) || (ids && count) || (ids && !json_is_array(ids)) || (count && !json_is_integer(count)))
        return PX_FORKS_BAD_BODY;
    json_int_t wanted = ids ? (json_int_t)json_array_size(ids) : count ? json_integer_value(count) : 1;
    if (wanted < 1 || wanted > 1000)
        return PX_FORKS_BAD_BODY;
    json_t *names = request->branches = json_array();
    request->invented = !ids;
    for (json_int_t n = 0; !ids && n < wanted; n++) {
        char made[PX_NODE_ID_SIZE + 2] = "s-";
        if (px_trace_make_id(made + 2, 16) < 0)
            return PX_FORKS_FAILED;
        px_json_append(names, json_string(made));
    }
    json_array_foreach(ids, i, row) {
        if (!json_is_string(row) || !*json_string_value(row) || json_string_length(row) > 128)
            return PX_FORKS_BAD_BODY;
        px_json_append(names, json_incref(row));
    }
    (void)json_object_del(given, "count");
    px_json_set(given, "ids", json_incref(names));
    px_auto_free char *text = px_json_dumps(body, JSON_COMPACT);
    if (!text)
        return PX_FORKS_FAILED;
    px_buffer_done(&request->body);
    px_buffer_add_string(&request->body, text);
    return px_buffer_ok(&request->body) ? PX_FORKS_NAMED : PX_FORKS_FAILED;
}
