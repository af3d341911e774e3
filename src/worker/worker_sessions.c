/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of the fleet. Each id has one owner, which is written into a JetStream key-value bucket by an atomic create
 * (worker_bucket.c). A seat is what this node knows about one id: the calls that wait while the bucket is
 * asked, or because a call before them runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/spelling.h"
#include "base/trace_context.h"
#include "worker/worker_seats.h"

#define SEATS_KEPT 10000u /* as many ids of ended sessions as the server remembers */
#define SEATS_MAX 100000u
#define SEAT_CALLS_MAX 1000u
#define SEAT_TRIES 5
#define SEATS_LEFT_AT_ONCE 64u /* entries that are removed at the same time when the node ends */
#define SEAT_CHECKS 50u        /* sessions about which the server is asked, at most, in one px_sessions_tick() */
#define SEAT_UNUSED_NS (60000 * PX_NS_PER_MS)
#define STREAM_AGAIN_NS (2000 * PX_NS_PER_MS)
/* A node whose NATS server ends is not reachable until it has found another one. So a node only counts as gone after this time, and a
 * node that was away nearly as long asks the bucket whether its sessions are still its own. */
#define NODE_GONE_NS (5000 * PX_NS_PER_MS)
#define NODE_AWAY_NS (4000 * PX_NS_PER_MS)

static void stream_made(struct px_worker *worker, void *closure, natsMsg *message)
{
    (void)closure;
    px_bucket_made(worker, PX_SESSIONS_BUCKET, message);
}

static void make_stream(struct px_worker *worker)
{
    int64_t now = px_now_ns();
    if (worker->seats->stream_ns && now - worker->seats->stream_ns < STREAM_AGAIN_NS)
        return;
    worker->seats->stream_ns = now;
    px_bucket_make(worker, PX_SESSIONS_BUCKET, "0", "-1", stream_made, NULL);
}

/* ---- Calls of a seat ---- */

/* Returns the first call whose turn it is. */
static struct px_node_request *next_call(const struct px_seat *seat)
{
    struct px_node_request *request = seat->ours && !seat->asking ? seat->first : NULL;
    while (request && request->ordered && seat->at_work)
        request = request->next_of_seat;
    return request;
}

/* Sends the calls whose turn it is. A call that can't be sent leaves the seat at once. */
static void step(struct px_seat *seat)
{
    struct px_node_request *request;
    px_seat_hold(seat);
    while ((request = next_call(seat))) {
        px_seat_remove_waiting(seat, request);
        if (request->ordered)
            seat->at_work = request;
        request->seated = true;
        px_node_begin(request);
    }
    px_seat_release(seat);
}

/* Answers all calls that wait for the owner of this id with one problem. Releases the reference to the seat that the question to
 * NATS held. */
static void refuse_all(struct px_seat *seat, int status, const char *code, const char *hint, const char *title)
{
    struct px_node_request *request;
    while ((request = px_seat_take_first(seat))) {
        if (seat->other)
            snprintf(request->owner, sizeof request->owner, "%s", seat->other);
        px_answer_problem(request, status, code, hint, "%s", title);
    }
    seat->asking = false;
    seat->absent_ns = 0;
    px_seat_release(seat);
}

static void refuse_unavailable(struct px_seat *seat, enum px_entry_outcome outcome)
{
    char title[160];
    snprintf(title, sizeof title, "the owner of the session is not known: %s", px_entry_why(outcome));
    refuse_all(seat, 503, "overloaded", PX_JETSTREAM_HINT, title);
}

static void claim(struct px_seat *seat);

static void entry_lost(struct px_worker *worker, void *closure, natsMsg *message)
{
    struct px_seat *seat = closure;
    px_auto_json json_t *answer = NULL;
    char title[PX_NODE_NAME_MAX + 80];
    (void)worker;
    bool silent = !message || natsMsg_IsNoResponders(message);
    if (silent || px_entry_error(message, &answer) || !seat->other) {
        refuse_unavailable(seat, silent ? PX_ENTRY_UNANSWERED : PX_ENTRY_REFUSED);
        return;
    }
    if (json_integer_value(json_object_get(answer, "purged")) == 0) {
        if (seat->tries < SEAT_TRIES)
            claim(seat);
        else
            refuse_unavailable(seat, PX_ENTRY_UNANSWERED);
        return;
    }
    seat->ours = false;
    snprintf(title, sizeof title, "the session was at node %.64s, which is gone", seat->other);
    refuse_all(seat, 410, "session_lost",
               "Its state is lost. The next `open` or call with this id makes a new session.", title);
}

/* The session was at a node that is gone. The entry is removed, so that the next `open` makes a new session. A server of NATS that was
 * stopped may have shown an entry that was replaced meanwhile: then nothing is removed, and the bucket is asked again. */
static void lose(struct px_seat *seat)
{
    px_entry_purge(seat->worker, PX_SESSIONS_BUCKET, seat->key, seat->revision, entry_lost, seat);
}

/* Returns the value of a header of the HTTP request, or NULL. */
static const char *header_of(const struct px_node_request *request, const char *name)
{
    const char *at = px_buffer_shown(&request->headers), *end = at + px_buffer_length(&request->headers);
    size_t length = strlen(name);
    for (; at < end; at += strlen(at) + 1)
        if (strncmp(at, name, length) == 0 && strncmp(at + length, ": ", 2) == 0)
            return at + length + 2;
    return NULL;
}

/* Sends `open` on to the owner, which answers the client. */
static bool forward(struct px_seat *seat, struct px_node_request *request)
{
    char subject[500];
    struct px_worker *worker = seat->worker;
    const struct px_header headers[] = {{"Pyexec-Call", "OPEN"},
                                        {"Pyexec-Key", request->key},
                                        {"Accept", header_of(request, "Accept")},
                                        {"traceparent", header_of(request, "traceparent")},
                                        {"tracestate", header_of(request, "tracestate")},
                                        {"X-Request-Id", header_of(request, "X-Request-Id")}};
    if (!request->opens || request->body.length > px_link_room(worker))
        return false;
    snprintf(subject, sizeof subject, "pyexec.v1.node.%s.s.%s", seat->other, seat->key);
    if (px_link_say(worker, subject, request->reply, headers, PX_COUNT(headers), px_buffer_shown(&request->body),
                    px_buffer_length(&request->body)) < 0)
        return false;
    px_node_abandon(request);
    return true;
}

static void give_to_other(struct px_seat *seat)
{
    struct px_node_request *request;
    while ((request = px_seat_take_first(seat))) {
        if (forward(seat, request))
            continue;
        snprintf(request->owner, sizeof request->owner, "%s", seat->other);
        px_answer_problem(request, 421, "session_moved", "Send the call to the node that Pyexec-Node names.",
                          "the session is at node %s", seat->other);
    }
    seat->ours = seat->asking = false;
    seat->absent_ns = 0;
    px_seat_release(seat);
}

/* ---- Who owns the id ---- */

/* Each question to NATS has the seat. The function that gets its answer hands the seat to the next question, or releases it. */

/* The entry names this node. If it did not have the seat, it knows of no session there. */
static void take_over(struct px_seat *seat, uint64_t revision)
{
    if (!seat->ours)
        seat->ours = seat->fresh = true;
    seat->asking = seat->doubted = false;
    seat->absent_ns = 0;
    seat->revision = revision;
    step(seat);
    px_seat_release(seat);
}

/* The entry names that node now, or has changed meanwhile. */
static void entry_given(struct px_worker *worker, void *closure, natsMsg *message)
{
    struct px_seat *seat = closure;
    uint64_t revision;
    enum px_entry_outcome outcome = px_entry_created(message, &revision);
    (void)worker;
    if (outcome == PX_ENTRY_MADE)
        give_to_other(seat);
    else if (outcome == PX_ENTRY_TAKEN && seat->tries < SEAT_TRIES)
        claim(seat);
    else
        refuse_unavailable(seat, outcome);
}

/* The owner is not known. An entry that this node has just made is given back. */
static void refuse_unasked(struct px_seat *seat, enum px_peers_outcome outcome)
{
    char title[160];
    if (seat->made && !seat->ours)
        px_entry_remove(seat->worker, PX_SESSIONS_BUCKET, seat->key, seat->revision);
    snprintf(title, sizeof title, "the owner of the session is not known: %s", px_peers_why(outcome));
    refuse_all(seat, 503, "overloaded", PX_HINT_AGAIN, title);
}

static void state_removed(struct px_node_request *request)
{
    px_auto_free char *key = px_seat_key(request->principal, request->session);
    struct px_seat *seat = key ? px_seat_find(request->worker, key) : NULL;
    if (!seat)
        return;
    if (request->status != 204 && request->status != 404) {
        refuse_all(seat, 503, "overloaded", PX_HINT_AGAIN, "the node could not remove the session's old state");
        return;
    }
    seat->lost = false;
    seat->fresh = true;
    take_over(seat, seat->revision);
}

/* The session was lost for the fleet while this node was away, so it is made anew. */
static void remove_state(struct px_seat *seat)
{
    if (!px_seat_ask_server(seat, "DELETE", state_removed))
        refuse_all(seat, 503, "overloaded", PX_HINT_AGAIN, "the node has no memory for the session");
}

static void owner_found(struct px_worker *worker, void *closure, enum px_peers_outcome outcome, const char *node,
                        const char *boot)
{
    struct px_seat *seat = closure;
    if (outcome == PX_OWNER_DOUBTED) /* it is still the owner if the entry names it */
        outcome = seat->other && strcmp(seat->other, node) == 0 && strcmp(seat->other_boot, boot) == 0 ? PX_OWNER_FOUND
                                                                                                       : PX_OWNER_NONE;
    if (outcome == PX_OWNER_FOUND) {
        free(seat->other);
        seat->other = strdup(node);
        snprintf(seat->other_boot, sizeof seat->other_boot, "%s", boot);
        outcome = seat->other ? outcome : PX_OWNER_FAILED;
    }
    if (outcome == PX_OWNER_FOUND)
        px_entry_give(worker, PX_SESSIONS_BUCKET, seat->key, node, boot, seat->revision, entry_given, seat);
    else if (outcome != PX_OWNER_NONE)
        refuse_unasked(seat, outcome);
    else if (seat->losing)
        lose(seat);
    else if (seat->lost)
        remove_state(seat);
    else
        take_over(seat, seat->revision);
}

/* The bucket says that this node may make the session, or that it is lost. It may be wrong, so ask the live nodes first. */
static void ask_nodes(struct px_seat *seat, bool losing)
{
    seat->losing = losing;
    if (!losing && !seat->lost && (seat->ours || seat->invented))
        take_over(seat, seat->revision);
    else
        px_peers_ask(seat->worker, seat->key, seat->revision, owner_found, seat);
}

static void other_answered(struct px_worker *worker, void *closure, natsMsg *message)
{
    struct px_seat *seat = closure;
    px_auto_json json_t *answer = NULL;
    int64_t now = px_now_ns();
    if (message && natsMsg_IsNoResponders(message)) {
        if (!seat->absent_ns)
            seat->absent_ns = now;
        if (now - seat->absent_ns > NODE_GONE_NS) {
            ask_nodes(seat, true);
            return;
        }
        seat->next_absent = worker->seats->absent;
        worker->seats->absent = seat;
        return;
    }
    /* Without an answer nobody knows: the node may be slow, or not reachable. Its clients find out. */
    if (message)
        px_entry_error(message, &answer);
    const char *boot = json_string_value(json_object_get(answer, "boot"));
    if (boot && strcmp(boot, seat->other_boot) != 0)
        ask_nodes(seat, true);
    else
        give_to_other(seat);
}

/* Takes the owner from the entry's value. */
static bool read_entry(struct px_seat *seat, const struct px_buffer *value, uint64_t revision)
{
    px_auto_json json_t *entry = px_json_loadb(px_buffer_shown(value), px_buffer_length(value), 0, NULL);
    const char *node = json_string_value(json_object_get(entry, "node")),
               *boot = json_string_value(json_object_get(entry, "boot"));
    if (!px_word_is_plain(node, PX_NODE_NAME_MAX) || !boot)
        return false;
    free(seat->other);
    seat->other = strdup(node);
    snprintf(seat->other_boot, sizeof seat->other_boot, "%s", boot);
    seat->revision = revision;
    return seat->other != NULL;
}

static void entry_read(struct px_worker *worker, void *closure, natsMsg *message)
{
    struct px_seat *seat = closure;
    px_auto_buffer struct px_buffer value = {0};
    uint64_t revision;
    enum px_entry_state state = px_entry_state(message, &value, &revision);
    if (state == PX_ENTRY_NONE && seat->tries < SEAT_TRIES) { /* it was removed meanwhile */
        claim(seat);
        return;
    }
    if (state != PX_ENTRY_THERE || !read_entry(seat, &value, revision)) {
        refuse_unavailable(seat, PX_ENTRY_UNANSWERED);
        return;
    }
    bool here = strcmp(seat->other, worker->node) == 0;
    if (here && strcmp(seat->other_boot, worker->boot) == 0) {
        ask_nodes(seat, false);
    } else if (here) {
        ask_nodes(seat, true);
    } else {
        char subject[128];
        snprintf(subject, sizeof subject, "pyexec.v1.node.%s", seat->other);
        px_ask_send(worker, subject, NULL, 0, "{\"do\":\"ping\"}", 13, other_answered, seat);
    }
}

static void entry_created(struct px_worker *worker, void *closure, natsMsg *message)
{
    struct px_seat *seat = closure;
    uint64_t revision;
    enum px_entry_outcome outcome = px_entry_created(message, &revision);
    PX_FIGURES_CLAIMED(worker, session, outcome);
    switch (outcome) {
    case PX_ENTRY_MADE:
        /* The entry of a node that was away is gone. If it is newer than the session's own, this one was removed, and not the bucket. */
        seat->lost |= seat->ours && seat->doubted && revision > seat->revision;
        seat->made = true;
        seat->revision = revision;
        free(TAKE_PTR(seat->other));
        ask_nodes(seat, false);
        return;
    case PX_ENTRY_TAKEN:
        px_entry_read(worker, PX_SESSIONS_BUCKET, seat->key, entry_read, seat);
        return;
    case PX_ENTRY_UNANSWERED:
        make_stream(worker);
        break;
    case PX_ENTRY_REFUSED:
        break;
    }
    refuse_unavailable(seat, outcome);
}

/* Asks again about owners that were not there. */
static void ask_absent(struct px_worker *worker)
{
    struct px_seat *seat = TAKE_PTR(worker->seats->absent);
    while (seat) {
        struct px_seat *next = seat->next_absent;
        px_entry_read(worker, PX_SESSIONS_BUCKET, seat->key, entry_read, seat);
        seat = next;
    }
}

static void claim(struct px_seat *seat)
{
    seat->asking = true;
    seat->made = false;
    seat->tries++;
    px_entry_create(seat->worker, PX_SESSIONS_BUCKET, seat->key, NULL, entry_created, seat);
}

/* ---- `open` ---- */

/* Reads or makes the id. False: the body goes to the server as it is, which says what is wrong with it. */
static bool name_session(struct px_node_request *request)
{
    char made[PX_NODE_ID_SIZE + 2] = "s-";
    px_auto_json json_t *body = px_buffer_length(&request->body)
                                    ? px_json_read(px_buffer_shown(&request->body), px_buffer_length(&request->body),
                                                   JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL)
                                    : json_object();
    const json_t *given = json_object_get(body, "id");
    const char *id = json_string_value(given);
    if (!json_is_object(body) || (given && !id))
        return false;
    if (!id) {
        if (px_trace_make_id(made + 2, 16) < 0)
            return false;
        request->invented = true;
        px_json_set(body, "id", json_string(id = made));
        px_auto_free char *text = px_json_dumps(body, JSON_COMPACT);
        px_buffer_done(&request->body);
        px_buffer_add_string(&request->body, text);
    }
    if (!px_word_is_session_id(id, strlen(id), PX_SESSION_ID_MAX))
        return false;
    free(request->session);
    request->session = strdup(id);
    return request->session && px_buffer_ok(&request->body);
}

void px_sessions_open_call(struct px_node_request *request)
{
    request->opens = request->ordered = true;
    strcpy(request->method, "POST");
    free(request->path);
    request->path = strdup("/v1/sessions");
}

/* The session exists, and this node has it: that is what the client wanted. */
static void answer_existing(struct px_node_request *request)
{
    px_auto_free char *text =
        px_json_take_text(json_pack("{s:s, s:s}", "id", request->session, "node", request->worker->node));
    px_answer_last(request, 200, "application/json", text ? text : "{}", text ? strlen(text) : 2);
}

/* ---- The interface ---- */

int px_sessions_init(struct px_worker *worker)
{
    worker->seats = calloc(1, sizeof *worker->seats);
    return worker->seats ? 0 : -1;
}

void px_sessions_done(struct px_worker *worker)
{
    for (size_t i = 0; worker->seats && i < PX_SEAT_BUCKETS; i++)
        while (worker->seats->buckets[i])
            px_seat_drop(worker->seats->buckets[i]);
    free(TAKE_PTR(worker->seats));
}

void px_sessions_ready(struct px_worker *worker)
{
    make_stream(worker);
}

bool px_sessions_take(struct px_node_request *request)
{
    struct px_worker *worker = request->worker;
    if (request->seated) {
        if (!request->forks || request->branches)
            return false;
        enum px_forks_outcome outcome = px_forks_name(request);
        if (outcome == PX_FORKS_NAMED) {
            px_forks_claim(request);
            return true;
        }
        json_decref(TAKE_PTR(request->branches));
        if (outcome == PX_FORKS_FAILED)
            px_sessions_refuse(request, 503, "overloaded", "the node has no memory for the fork", PX_HINT_AGAIN);
        else
            request->branches = json_array();
        return outcome == PX_FORKS_FAILED;
    }
    if (request->opens && !name_session(request)) {
        request->seated = true;
        return false;
    }
    px_auto_free char *key = px_seat_key(request->principal, request->session);
    struct px_seat *seat = key ? px_seat_find(worker, key) : NULL;
    bool made = key && !seat && worker->seats->count < SEATS_MAX;
    if (made)
        seat = px_seat_add(worker, request->principal, request->session);
    if (made && seat)
        seat->invented = request->invented;
    if (!seat || seat->count >= SEAT_CALLS_MAX) {
        px_answer_problem(request, 503, "overloaded", PX_HINT_AGAIN, "too many calls or sessions wait at this node");
        return true;
    }
    if (!seat->first)
        seat->last = &seat->first;
    *seat->last = request;
    seat->last = &request->next_of_seat;
    seat->count++;
    seat->used_ns = px_now_ns();
    request->seat = px_seat_hold(seat);
    if (made || (seat->doubted && !seat->asking)) {
        seat->tries = 0;
        claim(px_seat_hold(seat));
    } else {
        step(seat);
    }
    return true;
}

void px_sessions_connected(struct px_worker *worker, int64_t away_ns)
{
    if (worker->serving)
        px_peers_hello(worker);
    (void)json_object_clear(worker->unkept);
    for (size_t i = 0; away_ns > NODE_AWAY_NS && i < PX_SEAT_BUCKETS; i++)
        for (struct px_seat *seat = worker->seats->buckets[i]; seat; seat = seat->next)
            seat->doubted |= seat->ours;
}

void px_sessions_refuse(struct px_node_request *request, int status, const char *code, const char *title,
                        const char *hint)
{
    px_answer_problem(request, status, code, hint, "%s", title);
    px_sessions_left(request);
}

void px_sessions_left(struct px_node_request *request)
{
    struct px_seat *seat = TAKE_PTR(request->seat);
    if (!seat)
        return;
    px_forks_done(request);
    if (request->sent && !request->answered && !px_request_looks(request)) /* it may have made the session */
        seat->fresh = seat->gone = false;
    px_seat_remove_waiting(seat, request);
    if (seat->asking && !seat->first)
        px_peers_drop(seat->worker, seat);
    if (seat->at_work == request)
        seat->at_work = NULL;
    seat->used_ns = px_now_ns();
    step(seat);
    px_seat_release(seat);
}

bool px_sessions_answered(struct px_node_request *request, int status)
{
    struct px_seat *seat = request->seat;
    if (!seat)
        return false;
    if (request->mcp) {
        px_node_mcp_answered(request, status);
        return request->ended;
    }
    bool closes = strcmp(request->method, "DELETE") == 0 && !strchr(request->path + strlen("/v1/sessions/"), '/');
    bool refused = px_status_refuses(status) || (request->opens && status >= 500);
    request->forked = status == 201;
    request->answered = true;
    seat->fresh &= refused;
    if (closes && (status == 204 || status == 404))
        seat->gone = true;
    else if (status < 300 && !px_request_looks(request)) /* it is there again */
        seat->gone = false;
    if (request->opens && status == 409)
        answer_existing(request);
    return request->ended;
}

bool px_sessions_leave(struct px_worker *worker)
{
    struct px_sessions_table *seats = worker->seats;
    for (size_t i = 0; i < PX_SEAT_BUCKETS; i++)
        for (struct px_seat *seat = seats->buckets[i], *next; seat && seats->removing < SEATS_LEFT_AT_ONCE;
             seat = next) {
            next = seat->next;
            if (seat->users)
                continue;
            seat->gone = true;
            px_seat_release(px_seat_hold(seat));
        }
    return !seats->removing;
}

/* ---- Ended sessions ---- */

static void session_checked(struct px_node_request *request)
{
    px_auto_free char *key = px_seat_key(request->principal, request->session);
    struct px_seat *seat = key ? px_seat_find(request->worker, key) : NULL;
    if (!seat)
        return;
    bool used = seat->users || seat->used_ns > request->started_ns;
    seat->used_ns = px_now_ns();
    seat->gone |= !used && request->status == 404;
    px_seat_release(px_seat_hold(seat));
}

void px_sessions_tick(struct px_worker *worker, int64_t now_ns)
{
    struct px_sessions_table *seats = worker->seats;
    unsigned checks = 0;
    ask_absent(worker);
    for (unsigned i = 0; i < PX_SEAT_BUCKETS / 16 && seats->count > SEATS_KEPT && checks < SEAT_CHECKS; i++) {
        seats->cursor = (seats->cursor + 1) % PX_SEAT_BUCKETS;
        for (struct px_seat *seat = seats->buckets[seats->cursor]; seat && checks < SEAT_CHECKS; seat = seat->next)
            if (seat->ours && !seat->users && now_ns - seat->used_ns > SEAT_UNUSED_NS)
                checks += px_seat_ask_server(seat, "GET", session_checked);
    }
}
