/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are kept: a request with a key may ask for it (the header Pyexec-Keep). Its answer is written into a bucket before the
 * client gets it, and the same request later gets the same answer. So an answer is not lost with its client. Each principal has a
 * bucket of its own: when it is full its oldest answers are removed, and nobody else's.
 *
 * An answer is stored in parts that fit into messages. The first part begins with a line of JSON that says how many there are. It is
 * written last, so an answer is either whole or not there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/spelling.h"
#include "worker/worker_seats.h"

#define ANSWERS_BYTES "268435456" /* of one principal; then its oldest are removed */
#define ANSWER_HEAD 64u           /* bytes of the line, filled up with spaces */
#define KEEP_AGAIN_NS (1 * INT64_C(1000000000))
#define KEEP_GIVE_UP_NS (30 * INT64_C(1000000000))
#define KEEP_PAUSE_NS (60 * INT64_C(1000000000)) /* a bucket that could not be used is not tried again for so long */
#define KEEP_PAUSES_MAX 1000u
#define KEEP_ASK_AGAIN "Send the same request again later, with the same key."

/* A part of an answer: KEY.NUMBER in the bucket pyexec_answers_PRINCIPAL. */
struct part_name {
    char bucket[120], key[220];
};

/* Returns false if there is no memory. */
static bool name_part(const struct px_node_request *request, unsigned part, struct part_name *ret)
{
    px_auto_free char *entry = px_seat_key(request->principal, request->key);
    const char *dot = entry ? strchr(entry, '.') : NULL;
    if (!dot)
        return false;
    int bucket = snprintf(ret->bucket, sizeof ret->bucket, "pyexec_answers_%.*s", (int)(dot - entry), entry);
    int key = snprintf(ret->key, sizeof ret->key, "%s.%u", dot + 1, part);
    return bucket > 0 && (size_t)bucket < sizeof ret->bucket && key > 0 && (size_t)key < sizeof ret->key;
}

/* ---- Writing ---- */

struct px_keep {
    int status;
    struct px_buffer text; /* the line, and the answer */
    size_t room;           /* bytes of a part */
    unsigned part;         /* the one that is written */
    bool made;             /* the bucket was made for it */
    int64_t end_ns, again_ns;
};

void px_keep_free(struct px_keep *keep)
{
    if (!keep)
        return;
    px_buffer_done(&keep->text);
    free(keep);
}

static const char *type_of(int status)
{
    return status >= 400 ? "application/problem+json" : "application/json";
}

/* The client gets its answer now. */
static void deliver(struct px_node_request *request)
{
    struct px_keep *keep = request->keep;
    keep->again_ns = 0;
    request->kept = true;
    px_answer_last(request, keep->status, type_of(keep->status), px_buffer_shown(&keep->text) + ANSWER_HEAD,
                   px_buffer_length(&keep->text) - ANSWER_HEAD);
}

static void write_part(struct px_node_request *request);

static void give_up(struct px_node_request *request, const char *why)
{
    px_worker_say("an answer could not be kept: %s", why);
    request->worker->figures->kept_failed++;
    deliver(request);
}

/* Nobody has answered for KEEP_GIVE_UP_NS. NATS says nothing to a user that may not publish, and each answer would wait as long. */
static void pause_bucket(struct px_node_request *request)
{
    char why[500];
    struct part_name name;
    json_t *unkept = request->worker->unkept;
    if (!name_part(request, 0, &name)) {
        give_up(request, "the node has no memory");
        return;
    }
    if (json_object_size(unkept) >= KEEP_PAUSES_MAX)
        (void)json_object_clear(unkept);
    px_json_set(unkept, name.bucket, json_integer(px_now_ns() + KEEP_PAUSE_NS));
    snprintf(
        why, sizeof why,
        "JetStream does not answer, or this NATS user may not publish to $KV.%s.> and $JS.API.STREAM.CREATE.KV_%s; "
        "its principal's answers are not kept for a minute",
        name.bucket, name.bucket);
    give_up(request, why);
}

static bool is_paused(const struct px_node_request *request)
{
    struct part_name name;
    const json_t *until = name_part(request, 0, &name) ? json_object_get(request->worker->unkept, name.bucket) : NULL;
    return px_now_ns() < json_integer_value(until);
}

static void write_later(struct px_node_request *request)
{
    int64_t now = px_now_ns();
    if (now < request->keep->end_ns)
        request->keep->again_ns = now + KEEP_AGAIN_NS;
    else
        pause_bucket(request);
}

static void bucket_made(struct px_worker *worker, void *closure, natsMsg *message)
{
    px_auto_free struct px_claim *claim = closure;
    struct px_node_request *request = px_claim_request(worker, claim);
    bool silent = !message || natsMsg_IsNoResponders(message), made = px_bucket_made(worker, claim->key, message);
    if (!request)
        return;
    if (silent || (made && request->keep->made)) {
        write_later(request);
    } else if (made) {
        request->keep->made = true;
        write_part(request);
    } else {
        give_up(request, "JetStream does not make its bucket");
    }
}

/* Nobody listens to the subject of the part. So JetStream is not there, or this is the first answer of the principal. */
static void make_bucket(struct px_node_request *request)
{
    struct part_name name;
    struct px_claim *claim = name_part(request, 0, &name) ? px_claim_new(request, name.bucket) : NULL;
    if (claim)
        px_bucket_make(request->worker, claim->key, PX_KEYS_AGE, ANSWERS_BYTES, bucket_made, claim);
    else
        write_later(request);
}

static void part_written(struct px_worker *worker, void *closure, natsMsg *message)
{
    px_auto_free struct px_claim *claim = closure;
    struct px_node_request *request = px_claim_request(worker, claim);
    px_auto_json json_t *answer = NULL;
    if (!request)
        return;
    if (!message) {
        write_later(request);
    } else if (natsMsg_IsNoResponders(message)) {
        make_bucket(request);
    } else if (px_entry_error(message, &answer)) {
        give_up(request, "JetStream refuses it");
    } else if (request->keep->part) {
        request->keep->part--;
        write_part(request);
    } else {
        px_keys_renew(request);
        worker->figures->kept_written++;
        deliver(request);
    }
}

static void write_part(struct px_node_request *request)
{
    char subject[400];
    struct part_name name;
    struct px_keep *keep = request->keep;
    size_t at = keep->part * keep->room, left = keep->text.length - at;
    struct px_claim *claim = px_claim_new(request, "");
    if (!claim || !name_part(request, keep->part, &name)) {
        free(claim);
        deliver(request);
        return;
    }
    keep->again_ns = 0;
    snprintf(subject, sizeof subject, "$KV.%s.%s", name.bucket, name.key);
    px_ask_send(request->worker, subject, NULL, 0, px_buffer_shown(&keep->text) + at,
                left < keep->room ? left : keep->room, part_written, claim);
}

bool px_keep_answer(struct px_node_request *request, int status, const void *bytes, size_t length)
{
    char head[ANSWER_HEAD];
    if (!request->keeps || !request->keyed || request->kept || px_keys_gives_back(status))
        return false;
    if (request->keep) /* it has its answer: this is a cancellation that came too late */
        return true;
    if (is_paused(request)) {
        request->worker->figures->kept_failed++;
        return false;
    }
    struct px_keep *keep = calloc(1, sizeof *keep);
    if (!keep)
        return false;
    size_t room = px_link_room(request->worker), parts = (ANSWER_HEAD + length + room - 1) / room;
    *keep = (struct px_keep){
        .status = status, .room = room, .part = (unsigned)parts - 1, .end_ns = px_now_ns() + KEEP_GIVE_UP_NS};
    snprintf(head, sizeof head, "{\"status\":%d,\"parts\":%zu}", status, parts);
    px_buffer_printf(&keep->text, "%-*s\n", (int)ANSWER_HEAD - 1, head);
    px_buffer_add(&keep->text, bytes, length);
    if (!px_buffer_ok(&keep->text)) {
        px_keep_free(keep);
        return false;
    }
    request->keep = keep;
    write_part(request);
    return true;
}

void px_keep_tick(struct px_node_request *request, int64_t now_ns)
{
    if (request->keep && !request->ended && request->keep->again_ns && now_ns >= request->keep->again_ns)
        write_part(request);
}

/* ---- Reading ---- */

/* The search for the answer of an earlier request with the key. Each question to NATS has it. */
struct px_search {
    char id[PX_NODE_ID_SIZE]; /* of the request that asks */
    struct px_buffer answer;
    int status;
    unsigned part, parts;
    bool asked;                                              /* the node was asked: this is the last look */
    char node[PX_NODE_NAME_MAX + 1], first[PX_NODE_ID_SIZE]; /* of the request that started */
};

static void end_search(struct px_search *search)
{
    px_buffer_done(&search->answer);
    free(search);
}

/* Returns the request, or NULL if it has ended; then the search ends too. */
static struct px_node_request *searcher(struct px_worker *worker, struct px_search *search)
{
    struct px_node_request *request = px_node_request_find(worker, search->id);
    if (request && !request->ended)
        return request;
    end_search(search);
    return NULL;
}

static void refuse_search(struct px_node_request *request, struct px_search *search)
{
    px_sessions_refuse(request, 503, "overloaded", "it is not known whether the request with this key has ended",
                       KEEP_ASK_AGAIN);
    end_search(search);
}

static bool read_head(struct px_search *search, struct px_buffer *value)
{
    if (value->length < ANSWER_HEAD)
        return false;
    px_auto_json json_t *head = px_json_loadb(value->data, ANSWER_HEAD, 0, NULL);
    search->status = (int)json_integer_value(json_object_get(head, "status"));
    search->parts = (unsigned)json_integer_value(json_object_get(head, "parts"));
    px_buffer_consume(value, ANSWER_HEAD);
    return search->status && search->parts && search->parts <= PX_NODE_BODY_MAX;
}

static void read_part(struct px_node_request *request, struct px_search *search);
static void find_first(struct px_node_request *request, struct px_search *search);

/* There is no answer, or a part of it was removed for newer ones: parts are written from the last to the first. */
static void miss_part(struct px_node_request *request, struct px_search *search)
{
    if (!search->part && !search->asked) {
        find_first(request, search);
        return;
    }
    px_keys_taken(request);
    end_search(search);
}

static void take_part(struct px_node_request *request, struct px_search *search, const struct px_buffer *value)
{
    px_buffer_add(&search->answer, value->data, value->length);
    if (!px_buffer_ok(&search->answer) || px_share_take(request, PX_GOODS_ANSWERS, value->length)) {
        refuse_search(request, search);
        return;
    }
    if (++search->part < search->parts) {
        read_part(request, search);
        return;
    }
    request->worker->figures->kept_read++;
    px_answer_last(request, search->status, type_of(search->status), px_buffer_shown(&search->answer),
                   px_buffer_length(&search->answer));
    px_sessions_left(request);
    end_search(search);
}

static void part_read(struct px_worker *worker, void *closure, natsMsg *message)
{
    struct px_search *search = closure;
    struct px_node_request *request = searcher(worker, search);
    px_auto_buffer struct px_buffer value = {0};
    if (!request)
        return;
    enum px_entry_state state = px_entry_state(message, &value, NULL);
    if (state == PX_ENTRY_UNKNOWN)
        refuse_search(request, search);
    else if (state == PX_ENTRY_NONE || (!search->part && !read_head(search, &value)))
        miss_part(request, search);
    else
        take_part(request, search, &value);
}

static void read_part(struct px_node_request *request, struct px_search *search)
{
    struct part_name name;
    if (name_part(request, search->part, &name))
        px_entry_read(request->worker, name.bucket, name.key, part_read, search);
    else
        refuse_search(request, search);
}

/* The node says whether the first request is in progress. */
static void first_answered(struct px_worker *worker, void *closure, natsMsg *message)
{
    struct px_search *search = closure;
    struct px_node_request *request = searcher(worker, search);
    if (!request)
        return;
    const char *status = message ? px_link_header(message, "Pyexec-Status") : NULL;
    if (message && (natsMsg_IsNoResponders(message) || (status && strcmp(status, "404") == 0))) {
        search->asked = true; /* it may have ended since the first look */
        read_part(request, search);
        return;
    }
    if (!status || strcmp(status, "204") != 0) {
        refuse_search(request, search);
        return;
    }
    char title[200];
    snprintf(title, sizeof title, "the request with this key is in progress at node %s as %s", search->node,
             search->first);
    px_sessions_refuse(request, 409, "in_progress", title, KEEP_ASK_AGAIN);
    end_search(search);
}

static void key_read(struct px_worker *worker, void *closure, natsMsg *message)
{
    char subject[200];
    struct px_search *search = closure;
    struct px_node_request *request = searcher(worker, search);
    px_auto_buffer struct px_buffer value = {0};
    if (!request)
        return;
    if (px_entry_state(message, &value, NULL) != PX_ENTRY_THERE) { /* not known, or given back meanwhile */
        refuse_search(request, search);
        return;
    }
    px_auto_json json_t *entry = px_json_loadb(px_buffer_shown(&value), px_buffer_length(&value), 0, NULL);
    const char *node = json_string_value(json_object_get(entry, "node")),
               *first = json_string_value(json_object_get(entry, "request"));
    if (!px_word_is_plain(node, PX_NODE_NAME_MAX) ||
        !px_word_is_plain(first, PX_NODE_ID_SIZE - 1)) { /* nobody can be asked */
        px_keys_taken(request);
        end_search(search);
        return;
    }
    snprintf(search->node, sizeof search->node, "%s", node);
    snprintf(search->first, sizeof search->first, "%s", first);
    snprintf(subject, sizeof subject, "pyexec.v1.node.%s.r.%s.ping", search->node, search->first);
    px_ask_send(worker, subject, NULL, 0, NULL, 0, first_answered, search);
}

static void find_first(struct px_node_request *request, struct px_search *search)
{
    px_auto_free char *entry = px_seat_key(request->principal, request->key);
    if (entry)
        px_entry_read(request->worker, PX_KEYS_BUCKET, entry, key_read, search);
    else
        refuse_search(request, search);
}

void px_keep_search(struct px_node_request *request)
{
    struct px_search *search = calloc(1, sizeof *search);
    if (!search) {
        px_sessions_refuse(request, 503, "overloaded", "the node has no memory for the request", PX_HINT_AGAIN);
        return;
    }
    memcpy(search->id, request->id, sizeof search->id);
    read_part(request, search);
}
