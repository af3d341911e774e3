/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are kept: a request with a key may ask for it (the header Pyexec-Keep). Its answer is written into a bucket before the
 * client gets it, and the same request later gets the same answer. So an answer is not lost with its client.
 *
 * An answer is stored in parts that fit into messages. The first part begins with a line of JSON that says how many there are. It is
 * written last, so an answer is either whole or not there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "worker/worker_seats.h"

#define ANSWERS_BUCKET "pyexec_answers"
#define ANSWERS_AGE "86400000000000" /* a day, in ns, as keys */
#define ANSWERS_BYTES "1073741824"   /* then the oldest are removed */
#define ANSWER_HEAD 64u              /* bytes of the line, filled up with spaces */
#define KEEP_AGAIN_NS (1 * INT64_C(1000000000))
#define KEEP_GIVE_UP_NS (30 * INT64_C(1000000000))

void px_keep_ready(struct px_worker *worker)
{
    px_bucket_make(worker, ANSWERS_BUCKET, ANSWERS_AGE, ANSWERS_BYTES);
}

/* Makes the name of a part: PRINCIPAL.KEY.NUMBER. Returns false if it is too long. */
static bool name_part(const struct px_node_request *request, unsigned part, char *ret, size_t size)
{
    px_auto_free char *entry = px_seat_key(request->principal, request->key);
    int length = entry ? snprintf(ret, size, "%s.%u", entry, part) : -1;
    return length > 0 && (size_t)length < size;
}

/* ---- Writing ---- */

struct px_keep {
    int status;
    struct px_buffer text; /* the line, and the answer */
    size_t room;           /* bytes of a part */
    unsigned part;         /* the one that is written */
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
                   keep->text.length - ANSWER_HEAD);
}

static void write_part(struct px_node_request *request);

static void part_written(struct px_worker *worker, void *closure, natsMsg *message)
{
    px_auto_free struct px_claim *claim = closure;
    struct px_node_request *request = px_claim_request(worker, claim);
    px_auto_json json_t *answer = NULL;
    if (!request)
        return;
    bool silent = !message || natsMsg_IsNoResponders(message);
    bool refused = !silent && px_entry_error(message, &answer);
    if (silent && px_now_ns() < request->keep->end_ns) {
        px_keep_ready(worker); /* the bucket may be missing */
        request->keep->again_ns = px_now_ns() + KEEP_AGAIN_NS;
    } else if (!silent && !refused && request->keep->part) {
        request->keep->part--;
        write_part(request);
    } else {
        if (silent || refused)
            px_worker_say("an answer could not be kept: JetStream %s", silent ? "does not answer" : "refuses it");
        deliver(request);
    }
}

static void write_part(struct px_node_request *request)
{
    char name[400], subject[440];
    struct px_keep *keep = request->keep;
    size_t at = keep->part * keep->room, left = keep->text.length - at;
    struct px_claim *claim = px_claim_new(request, "");
    if (!claim || !name_part(request, keep->part, name, sizeof name)) {
        free(claim);
        deliver(request);
        return;
    }
    keep->again_ns = 0;
    snprintf(subject, sizeof subject, "$KV." ANSWERS_BUCKET ".%s", name);
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
                       PX_HINT_AGAIN);
    end_search(search);
}

/* Decodes the value of an entry. Returns false if there is none. */
static bool read_value(const json_t *answer, struct px_buffer *ret)
{
    const char *data = json_string_value(json_object_get(json_object_get(answer, "message"), "data"));
    return data && px_base64_decode(ret, data, strlen(data)) == 0 && px_buffer_ok(ret);
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

static void part_read(struct px_worker *worker, void *closure, natsMsg *message)
{
    struct px_search *search = closure;
    struct px_node_request *request = searcher(worker, search);
    px_auto_json json_t *answer = NULL;
    px_auto_buffer struct px_buffer value = {0};
    if (!request)
        return;
    bool silent = !message || natsMsg_IsNoResponders(message);
    if (!silent)
        px_entry_error(message, &answer);
    bool there = read_value(answer, &value) && (search->part || read_head(search, &value));
    if (there && px_share_take(request, PX_GOODS_ANSWERS, value.length))
        silent = true;
    if (silent || (!there && search->part)) {
        refuse_search(request, search);
    } else if (!there && search->asked) {
        px_keys_taken(request);
        end_search(search);
    } else if (!there) {
        find_first(request, search);
    } else {
        px_buffer_add(&search->answer, value.data, value.length);
        if (!px_buffer_ok(&search->answer)) {
            refuse_search(request, search);
            return;
        }
        if (++search->part < search->parts) {
            read_part(request, search);
            return;
        }
        px_answer_last(request, search->status, type_of(search->status), px_buffer_shown(&search->answer),
                       search->answer.length);
        px_sessions_left(request);
        end_search(search);
    }
}

static void read_part(struct px_node_request *request, struct px_search *search)
{
    char name[400];
    if (name_part(request, search->part, name, sizeof name))
        px_entry_read(request->worker, ANSWERS_BUCKET, name, part_read, search);
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
    px_sessions_refuse(request, 409, "in_progress", title, PX_HINT_AGAIN);
    end_search(search);
}

/* It may become a part of a subject. */
static bool is_token(const char *text, size_t most)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return text && *text && strlen(text) <= most && strspn(text, allowed) == strlen(text);
}

static void key_read(struct px_worker *worker, void *closure, natsMsg *message)
{
    char subject[200];
    struct px_search *search = closure;
    struct px_node_request *request = searcher(worker, search);
    px_auto_json json_t *answer = NULL;
    px_auto_buffer struct px_buffer value = {0};
    if (!request)
        return;
    if (message && !natsMsg_IsNoResponders(message))
        px_entry_error(message, &answer);
    px_auto_json json_t *entry =
        read_value(answer, &value) ? px_json_loadb(px_buffer_shown(&value), value.length, 0, NULL) : NULL;
    const char *node = json_string_value(json_object_get(entry, "node")),
               *first = json_string_value(json_object_get(entry, "request"));
    if (!is_token(node, PX_NODE_NAME_MAX) ||
        !is_token(first, PX_NODE_ID_SIZE - 1)) { /* given back meanwhile, or of an older worker */
        refuse_search(request, search);
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
