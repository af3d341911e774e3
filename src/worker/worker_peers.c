/* SPDX-License-Identifier: Apache-2.0 */
/* Which live node has a session. The bucket of sessions may forget an entry or show an older one: servers of NATS lost entries of a
 * replicated stream when they were killed (nats-server's issues 4710, 5644 and 5939). So before this node makes a session, or says that one is
 * lost, it asks all nodes, and believes them more than the bucket. A question is one message, which each node answers.
 *
 * It must know which nodes have to answer. Each node says when it begins to serve, connects again, and leaves; the
 * answers tell a new node about the others, so no question ends before those to its own `hello` had time to come. A node that does not
 * answer for PEERS_WAIT_NS is forgotten until it is heard again. This node answers too: without its own answers nothing is known, because
 * those of others are lost in the same way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/spelling.h"
#include "base/trace_context.h"
#include "worker/worker_seats.h"

#define PEERS_MAX 4096u
#define PEERS_WAIT_NS (2000 * PX_NS_PER_MS) /* a node whose NATS server was killed is connected again by then */
#define PEERS_AGAIN_NS (250 * PX_NS_PER_MS)
#define PEERS_HELLO_AGAIN_NS (500 * PX_NS_PER_MS)
#define PEERS_LINK_NS \
    (1000 * PX_NS_PER_MS) /* so long this node's own answers may be missing; they come as often as it asks */
#define PEERS_KEY_MAX 400u

struct px_question {
    struct px_question *next;
    char token[PX_NODE_ID_SIZE];
    char *key;         /* of the session; NULL: this node only says that it is there */
    uint64_t revision; /* of the session's entry in the bucket */
    json_t *answered;  /* the nodes that have answered, and do not have the session for certain */
    int64_t start_ns, end_ns, again_ns;
    int64_t own_ns; /* when this node's own answer came last */
    bool silent;    /* its own answers were missing for PEERS_LINK_NS, so others' may be lost */
    char doubted[PX_NODE_NAME_MAX + 1],
        doubted_boot[PX_NODE_ID_SIZE]; /* a node that has the session, but was away; or "" */
    px_owner_fn *fn;
    void *closure;
};

static void say(struct px_worker *worker, const char *verb, const char *key, uint64_t revision, const char *token)
{
    char reply[120] = "";
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:s*}", "do", verb, "node", worker->node, "boot", worker->boot, "key", key);
    if (key && object)
        px_json_set(object, "revision", json_integer((json_int_t)revision));
    px_auto_free char *text = px_json_take_text(object);
    if (token)
        snprintf(reply, sizeof reply, "_INBOX.%s.%s", worker->boot, token);
    if (text)
        px_link_say(worker, PX_PEERS_SUBJECT, token ? reply : NULL, NULL, 0, text, strlen(text));
}

static void question_send(struct px_worker *worker, struct px_question *question, int64_t now_ns)
{
    question->again_ns = now_ns + (question->key ? PEERS_AGAIN_NS : PEERS_HELLO_AGAIN_NS);
    if (worker->server > 1) /* otherwise it has said `bye` */
        say(worker, question->key ? "find" : "hello", question->key, question->revision, question->token);
}

static void question_begin(struct px_worker *worker, struct px_question *question, int64_t now_ns)
{
    (void)json_object_clear(question->answered);
    question->silent = false;
    question->start_ns = question->own_ns = now_ns;
    question->end_ns = now_ns + PEERS_WAIT_NS;
    question_send(worker, question, now_ns);
}

static void question_free(struct px_question *question)
{
    json_decref(question->answered);
    free(question->key);
    free(question);
}

void px_peers_ask(struct px_worker *worker, const char *key, uint64_t revision, px_owner_fn *fn, void *closure)
{
    struct px_question *question = calloc(1, sizeof *question);
    if (question) {
        question->key = key ? strdup(key) : NULL;
        question->answered = json_object();
    }
    if (!question || !question->answered || (key && !question->key) ||
        px_trace_make_id(question->token, PX_NODE_ID_SIZE - 1) < 0) {
        if (question)
            question_free(question);
        if (fn)
            fn(worker, closure, PX_OWNER_FAILED, NULL, NULL);
        return;
    }
    question->revision = revision;
    question->fn = fn;
    question->closure = closure;
    question->next = worker->questions;
    worker->questions = question;
    question_begin(worker, question, px_now_ns());
}

void px_peers_hello(struct px_worker *worker)
{
    struct px_question *question = worker->questions;
    while (question && question->key)
        question = question->next;
    if (question)
        question_begin(worker, question, px_now_ns());
    else
        px_peers_ask(worker, NULL, 0, NULL, NULL);
}

const char *px_peers_why(enum px_peers_outcome outcome)
{
    return outcome == PX_OWNER_FAILED ? "the node has no memory to ask the others"
                                      : "the connection to NATS did not answer, so the other nodes could not be asked";
}

static void end(struct px_worker *worker, struct px_question **at, enum px_peers_outcome outcome, const char *node,
                const char *boot)
{
    struct px_question *question = *at;
    *at = question->next;
    if (question->fn)
        question->fn(worker, question->closure, outcome, node, boot);
    question_free(question);
}

/* No node has the session for certain. */
static void end_without(struct px_worker *worker, struct px_question **at)
{
    const struct px_question *question = *at;
    if (*question->doubted)
        end(worker, at, PX_OWNER_DOUBTED, question->doubted, question->doubted_boot);
    else
        end(worker, at, PX_OWNER_NONE, NULL, NULL);
}

/* True while answers to this node's `hello` come: then it does not know all others yet. */
static bool is_new(const struct px_worker *worker)
{
    const struct px_question *question = worker->questions;
    while (question && question->key)
        question = question->next;
    return question != NULL;
}

/* True when this node, and each other one that is known, has answered. */
static bool all_answered(struct px_worker *worker, const struct px_question *question)
{
    const char *node;
    json_t *heard;
    if (!json_object_get(question->answered, worker->node))
        return false;
    json_object_foreach(worker->peers, node, heard)
        if (!json_object_get(question->answered, node))
            return false;
    return true;
}

/* Reads who has sent the message. Returns its name, or NULL if it has none that is valid. */
static const char *sender(struct px_worker *worker, const json_t *body, const char **ret_boot)
{
    const char *node = json_string_value(json_object_get(body, "node"));
    *ret_boot = json_string_value(json_object_get(body, "boot"));
    if (!px_word_is_plain(node, PX_NODE_NAME_MAX) || !px_word_is_plain(*ret_boot, PX_NODE_ID_SIZE - 1))
        return NULL;
    if (json_object_size(worker->peers) < PEERS_MAX || json_object_get(worker->peers, node))
        px_json_set(worker->peers, node, json_integer(px_now_ns()));
    return node;
}

static json_t *read_body(natsMsg *message)
{
    return px_json_loadb(natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message), 0, NULL);
}

/* Another node asks, or this one. A verb that is not known is of a newer version. */
void px_peers_question(struct px_worker *worker, natsMsg *message)
{
    const char *boot, *reply = natsMsg_GetReply(message);
    px_auto_json json_t *body = read_body(message);
    const char *node = sender(worker, body, &boot), *verb = json_string_value(json_object_get(body, "do")),
               *key = json_string_value(json_object_get(body, "key"));
    if (!node || !verb)
        return;
    if (strcmp(verb, "bye") == 0)
        (void)json_object_del(worker->peers, node);
    if (!reply || !*reply || worker->server <= 1 || (strcmp(verb, "find") != 0 && strcmp(verb, "hello") != 0))
        return;
    const struct px_seat *seat = key && strlen(key) <= PEERS_KEY_MAX ? px_seat_find(worker, key) : NULL;
    bool owns = seat && seat->ours && !seat->fresh && !seat->gone;
    /* A newer entry than its own says that the session was lost, or made elsewhere, while this node was away. */
    bool doubted =
        owns && seat->doubted && json_integer_value(json_object_get(body, "revision")) > (json_int_t)seat->revision;
    px_auto_free char *text = px_json_take_text(json_pack("{s:s, s:s, s:b, s:b}", "node", worker->node, "boot",
                                                          worker->boot, "owns", owns, "doubted", doubted));
    if (text)
        px_link_say(worker, reply, NULL, NULL, 0, text, strlen(text));
}

static void own_answered(struct px_question *question, int64_t now_ns)
{
    question->silent |= now_ns - question->own_ns > PEERS_LINK_NS;
    question->own_ns = now_ns;
}

/* An answer. Also one that comes too late says that its node is there. */
void px_peers_take(struct px_worker *worker, natsMsg *message)
{
    const char *token = strrchr(natsMsg_GetSubject(message), '.'), *boot;
    struct px_question **at = &worker->questions;
    if (!token || natsMsg_IsNoResponders(message))
        return;
    px_auto_json json_t *body = read_body(message);
    const json_t *owns = json_object_get(body, "owns");
    const char *node = json_is_boolean(owns) ? sender(worker, body, &boot) : NULL;
    while (node && *at && strcmp((*at)->token, token + 1) != 0)
        at = &(*at)->next;
    if (!node || !*at)
        return;
    struct px_question *question = *at;
    bool own = strcmp(node, worker->node) == 0;
    /* Two nodes took this name at the same moment, and each got its own ping first, so both serve (worker_load.c). Each request
     * would run on both nodes. */
    if (own && strcmp(boot, worker->boot) != 0) {
        px_load_lose_name(worker);
        return;
    }
    if (own)
        own_answered(question, px_now_ns());
    if (json_is_true(owns) && !own && !json_is_true(json_object_get(body, "doubted"))) {
        end(worker, at, PX_OWNER_FOUND, node, boot);
        return;
    }
    if (json_is_true(owns) && !own) {
        snprintf(question->doubted, sizeof question->doubted, "%s", node);
        snprintf(question->doubted_boot, sizeof question->doubted_boot, "%s", boot);
    }
    px_json_set(question->answered, node, json_true());
    if (question->key && all_answered(worker, question) && !is_new(worker))
        end_without(worker, at);
}

/* Nodes that were heard since the question began have only missed it. */
static void forget_silent(struct px_worker *worker, const struct px_question *question)
{
    const char *node;
    void *next;
    json_t *heard;
    json_object_foreach_safe(worker->peers, next, node, heard)
        if (!json_object_get(question->answered, node) && json_integer_value(heard) < question->start_ns)
            (void)json_object_del(worker->peers, node);
}

/* The time of the question is over. Without this node's own answers, a `hello` begins anew. */
static void time_out(struct px_worker *worker, struct px_question **at, int64_t now_ns)
{
    struct px_question *question = *at;
    own_answered(question, now_ns);
    bool heard = !question->silent && json_object_get(question->answered, worker->node);
    if (heard)
        forget_silent(worker, question);
    if (!heard && !question->key)
        question_begin(worker, question, now_ns);
    else if (!heard)
        end(worker, at, PX_OWNER_UNKNOWN, NULL, NULL);
    else
        end_without(worker, at);
}

/* A function that is called may ask something new, which is put at the beginning. */
void px_peers_tick(struct px_worker *worker, int64_t now_ns)
{
    bool knows = !is_new(worker);
    for (struct px_question **at = &worker->questions; *at;) {
        struct px_question *question = *at;
        if (now_ns >= question->end_ns) {
            time_out(worker, at, now_ns);
            at = &worker->questions;
        } else if (knows && all_answered(worker, question)) {
            end_without(worker, at);
            at = &worker->questions;
        } else {
            if (now_ns >= question->again_ns)
                question_send(worker, question, now_ns);
            at = &question->next;
        }
    }
}

void px_peers_drop(struct px_worker *worker, const void *closure)
{
    struct px_question **at = &worker->questions;
    while (*at && (*at)->closure != closure)
        at = &(*at)->next;
    if (*at)
        end(worker, at, PX_OWNER_UNKNOWN, NULL, NULL);
}

void px_peers_bye(struct px_worker *worker)
{
    say(worker, "bye", NULL, 0, NULL);
}

void px_peers_free(struct px_worker *worker)
{
    while (worker->questions)
        end(worker, &worker->questions, PX_OWNER_UNKNOWN, NULL, NULL);
    json_decref(TAKE_PTR(worker->peers));
}
