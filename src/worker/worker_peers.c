/* SPDX-License-Identifier: Apache-2.0 */
/* Which live node has a session. The bucket of sessions may forget an entry or show an older one: servers of NATS lost entries of a
 * replicated stream when they were killed (nats-server's issues 4710, 5644 and 5939). So before this node makes a session, or says that one is
 * lost, it asks all nodes, and believes them more than the bucket. A question is one message, which each node answers.
 *
 * It must know which nodes have to answer. Each node says when it begins to serve, connects again, and leaves; the
 * answers tell a new node about the others. A node that does not answer for PEERS_WAIT_NS is forgotten until it is heard again. */
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
#define PEERS_KEY_MAX 400u

struct px_question {
    struct px_question *next;
    char token[PX_NODE_ID_SIZE];
    char *key;        /* of the session; NULL: this node only says that it is there */
    json_t *answered; /* the nodes that do not have the session */
    int64_t end_ns, again_ns;
    px_owner_fn *fn;
    void *closure;
};

static void say(struct px_worker *worker, const char *verb, const char *key, const char *token)
{
    char reply[120] = "";
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:s*}", "do", verb, "node", worker->node, "boot", worker->boot, "key", key);
    px_auto_free char *text = px_json_take_text(object);
    if (token)
        snprintf(reply, sizeof reply, "_INBOX.%s.%s", worker->boot, token);
    if (text)
        px_link_say(worker, PX_PEERS_SUBJECT, token ? reply : NULL, NULL, 0, text, strlen(text));
}

static void question_send(struct px_worker *worker, struct px_question *question, int64_t now_ns)
{
    question->again_ns = now_ns + PEERS_AGAIN_NS;
    say(worker, question->key ? "find" : "hello", question->key, question->token);
}

static void question_free(struct px_question *question)
{
    json_decref(question->answered);
    free(question->key);
    free(question);
}

void px_peers_ask(struct px_worker *worker, const char *key, px_owner_fn *fn, void *closure)
{
    int64_t now = px_now_ns();
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
            fn(worker, closure, PX_OWNER_UNKNOWN, NULL, NULL);
        return;
    }
    question->fn = fn;
    question->closure = closure;
    question->end_ns = now + PEERS_WAIT_NS;
    question->next = worker->questions;
    worker->questions = question;
    question_send(worker, question, now);
}

void px_peers_hello(struct px_worker *worker)
{
    px_peers_ask(worker, NULL, NULL, NULL);
}

static void end(struct px_worker *worker, struct px_question **at, const char *node, const char *boot)
{
    struct px_question *question = *at;
    *at = question->next;
    if (question->fn)
        question->fn(worker, question->closure, node ? PX_OWNER_FOUND : PX_OWNER_NONE, node, boot);
    question_free(question);
}

/* True when each node that is known has answered. */
static bool all_answered(struct px_worker *worker, const struct px_question *question)
{
    const char *node;
    json_t *boot;
    json_object_foreach(worker->peers, node, boot)
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
        px_json_set(worker->peers, node, json_string(*ret_boot));
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
    px_auto_free char *text =
        px_json_take_text(json_pack("{s:s, s:s, s:b}", "node", worker->node, "boot", worker->boot, "owns", owns));
    if (text)
        px_link_say(worker, reply, NULL, NULL, 0, text, strlen(text));
}

void px_peers_take(struct px_worker *worker, natsMsg *message)
{
    const char *token = strrchr(natsMsg_GetSubject(message), '.'), *boot;
    struct px_question **at = &worker->questions;
    while (token && *at && strcmp((*at)->token, token + 1) != 0)
        at = &(*at)->next;
    if (!token || !*at || natsMsg_IsNoResponders(message))
        return;
    px_auto_json json_t *body = read_body(message);
    const char *node = sender(worker, body, &boot);
    if (!node)
        return;
    if (json_is_true(json_object_get(body, "owns")) && strcmp(node, worker->node) != 0) {
        end(worker, at, node, boot);
        return;
    }
    px_json_set((*at)->answered, node, json_true());
    if (all_answered(worker, *at))
        end(worker, at, NULL, NULL);
}

static void forget_silent(struct px_worker *worker, const struct px_question *question)
{
    const char *node;
    void *next;
    json_t *boot;
    json_object_foreach_safe(worker->peers, next, node, boot)
        if (!json_object_get(question->answered, node))
            (void)json_object_del(worker->peers, node);
}

/* A function that is called may ask something new, which is put at the beginning. */
void px_peers_tick(struct px_worker *worker, int64_t now_ns)
{
    for (struct px_question **at = &worker->questions; *at;) {
        if (now_ns >= (*at)->end_ns) {
            forget_silent(worker, *at);
            end(worker, at, NULL, NULL);
            at = &worker->questions;
            continue;
        }
        if (now_ns >= (*at)->again_ns)
            question_send(worker, *at, now_ns);
        at = &(*at)->next;
    }
}

void px_peers_bye(struct px_worker *worker)
{
    say(worker, "bye", NULL, NULL);
}

void px_peers_free(struct px_worker *worker)
{
    while (worker->questions) {
        struct px_question *question = worker->questions;
        worker->questions = question->next;
        question_free(question);
    }
    json_decref(TAKE_PTR(worker->peers));
}
