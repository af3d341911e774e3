/* SPDX-License-Identifier: Apache-2.0 */
/* Between requests and the nodes of a fleet, over NATS (docs/scale.md has the protocol). `pyexec serve --nats` and `pyexec fleet` load
 * this module, and call px_gateway_open(). The thread that asks waits for the answer here.
 *
 *   gateway_link.c      the connection to NATS
 *   gateway_exchange.c  one request over NATS: parts, events, acknowledgements, pings
 *   gateway_answer.c    the messages of its answer
 *   gateway_call.c      which subject a request goes to
 *   gateway_session.c   calls of sessions
 *   gateway_mcp.c       messages of the Model Context Protocol
 *   gateway_nodes.c     all nodes: lists, drain
 *   gateway_places.c    which node has a session or a tool call, as far as known
 *
 * Nothing here must be kept: when a gateway is killed, another one finds everything again. Nodes are trusted. */
#ifndef PX_GATEWAY_GATEWAY_H
#define PX_GATEWAY_GATEWAY_H

#include <nats/nats.h>
#include <pthread.h>
#include <stdint.h>

#include "base/json.h"
#include "base/spelling.h"
#include "gateway/gateway_open.h"
#include "serve/fleet.h"

#define PX_GATEWAY_WAITERS_MAX 4096u /* requests over NATS that are in progress */
#define PX_GATEWAY_NODES_MAX 1024u
#define PX_GATEWAY_SUBJECT_SIZE 512
#define PX_GATEWAY_ANSWERS_MAX (1u << 30) /* bytes of all answers that come in parts */
#define PX_GATEWAY_ANSWER_MAX (32u << 20) /* of one */
#define PX_GATEWAY_HELD_MAX (1u << 30)    /* bytes of all messages that have arrived and wait for their turn */
#define PX_GATEWAY_ALWAYS (4u << 20)      /* of one request, when all others together have too many of these bytes */
#define PX_GATEWAY_SEEKS 16u              /* requests that ask one node after the other */
#define PX_GATEWAY_AGAIN "Nothing was started. Send the request again."

/* Where the messages to one request arrive. */
struct px_waiter {
    struct px_gateway *gateway;
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    struct px_waiter *next_free;
    unsigned long long number; /* of the request; 0: none */
    struct px_message *first, **end;
    unsigned long long highest; /* Pyexec-Seq that has come */
    _Atomic size_t held;        /* bytes of messages that px_message_free() has not got yet */
    atomic_bool flooded;        /* more messages have come than a node may send ahead; those are lost */
};

/* What the last part of a reply subject says about a message. */
enum px_message_kind {
    PX_MESSAGE_ANSWER,
    PX_MESSAGE_PING, /* the answer of a ping */
    PX_MESSAGE_PART, /* the answer to a part of the request's body */
    PX_MESSAGE_KEPT, /* an answer that the node keeps: the request must go on when its client is gone */
};

struct px_message {
    struct px_message *next;
    enum px_message_kind kind;
    natsMsg *message;
    struct px_waiter *waiter; /* NULL: none has got it yet */
    size_t bytes;
};

struct px_places {
    pthread_mutex_t lock;
    struct px_place **rows;
};

struct px_gateway {
    struct px_fleet fleet; /* must be the first member */
    natsConnection *connection;
    natsOptions *options;
    natsSubscription *answers;
    char inbox[160]; /* the beginning of all reply subjects */
    struct px_waiter *waiters;
    pthread_mutex_t lock; /* of the next members */
    struct px_waiter *free;
    char denied[256]; /* what the NATS server has refused last, or "": for the operator, because it may name clients */
    const char *seekers[PX_GATEWAY_SEEKS]; /* the principals of px_gateway_seek(), or NULL */
    pthread_mutex_t log_lock;              /* of the next members. A log that is not read must hold up no request */
    px_fleet_log_fn log;                   /* NULL: standard error */
    void *log_closure;
    _Atomic size_t held;                                   /* bytes of messages that wait for their turn */
    _Atomic size_t reserved;                               /* bytes of answers in parts */
    _Atomic size_t values;                                 /* bytes of lists of nodes */
    _Atomic uint64_t waiting, ends[PX_EXCHANGE_END_COUNT]; /* requests over NATS: in progress, and how they ended */
    struct px_places places;
};

/* ---- The connection (gateway_link.c) ---- */

int px_gateway_link_open(struct px_gateway *gateway, const json_t *config, bool now, char *problem, size_t size);
/* False: threads of libnats may still use the gateway, which must stay. */
bool px_gateway_link_close(struct px_gateway *gateway);
bool px_gateway_link_is_up(struct px_gateway *gateway);
/* Writes a line to the log: `what`, and `detail` unless it is NULL. */
void px_gateway_tell(struct px_gateway *gateway, const char *what, const char *detail);
/* Publishes. `kind` is what its answers are; they arrive at the waiter. NULL: it wants no answer. */
int px_gateway_say(struct px_gateway *gateway, const char *subject, const struct px_waiter *waiter,
                   enum px_message_kind kind, const struct px_fleet_header *headers, size_t count, const void *bytes,
                   size_t length);
/* An empty message to a reply subject. */
void px_gateway_acknowledge(struct px_gateway *gateway, const char *reply);
const char *px_gateway_header(natsMsg *message, const char *name);
/* Returns false when the message has no such header. */
bool px_gateway_number(natsMsg *message, const char *name, unsigned long long *ret);
/* Reads {"node", "request"} of `accepted`. False: it has no names that can be parts of a subject. */
bool px_gateway_accepted(const char *data, size_t length, char *ret_subject, size_t size);
/* Copies what the NATS server has refused last. */
void px_gateway_denied(struct px_gateway *gateway, char *ret, size_t size);

struct px_waiter *px_waiter_take(struct px_gateway *gateway);
void px_waiter_give(struct px_gateway *gateway, struct px_waiter *waiter);
/* Returns the next message for px_message_free(), or NULL: none has come until then, or the call is cancelled. */
struct px_message *px_waiter_next(struct px_waiter *waiter, const struct px_fleet_call *call, int64_t until_ns);
void px_message_free(struct px_message *message);
/* px_fleet.log_to, px_fleet.count, px_fleet.wake */
void px_gateway_log_to(struct px_fleet *fleet, px_fleet_log_fn log, void *closure);
void px_gateway_count(struct px_fleet *fleet, struct px_fleet_counts *ret);
void px_waiter_wake(struct px_fleet *fleet, const struct px_fleet_call *call);

/* ---- One request over NATS (gateway_exchange.c, gateway_answer.c) ---- */

struct px_exchange {
    struct px_gateway *gateway;
    struct px_fleet_call *call; /* its events go to the client; it can be cancelled */
    const char *subject;
    const char *pyexec_call; /* the header, or NULL */
    const char *node;        /* the node that has the subject, or NULL */
    const char *body;
    size_t length;
    bool passes; /* the headers of the call go to the node, and events to the client */
    bool events; /* asks for events; only then it can be cancelled, and its node asked whether it still has it */

    /* In progress. */
    struct px_waiter *waiter;
    char traceparent[PX_TRACEPARENT_SIZE]; /* of the span of this request over NATS, or "" */
    char about[PX_GATEWAY_SUBJECT_SIZE];   /* the beginning of subjects about it; "": not known yet */
    int64_t heard_ns, pinged_ns, gone_ns;
    int64_t told_ns;           /* the last message that was no answer of a ping */
    int64_t patience_ns;       /* for the next one while `about` is not known */
    unsigned long long number; /* of the next message */
    struct px_message *early;  /* messages that came before their turn, by number */
    natsMsg *head;             /* the first part of a message in parts */
    unsigned long parts;       /* how many of its parts have come */
    struct px_buffer whole;
    size_t reserved;
    int64_t part_came_ns;                 /* when the last of its parts came */
    char upload[PX_GATEWAY_SUBJECT_SIZE]; /* where the next part of the body goes; "": nowhere */
    unsigned long part, part_count;
    size_t room;
    int64_t part_ns;
    bool over, nobody;
    const char *broken; /* what is wrong with the node's messages, or NULL */
};

enum px_exchange_end px_exchange_run(struct px_exchange *exchange, struct px_fleet_answer *ret);
/* Takes one message of the answer. Sets `over` when it was the last one. */
void px_exchange_take(struct px_exchange *exchange, struct px_message *message, struct px_fleet_answer *ret);
/* The message for which memory was reserved is with the client's connection now, or it is dropped. */
void px_exchange_unreserve(struct px_exchange *exchange);
void px_exchange_send_part(struct px_exchange *exchange, int64_t now_ns);
void px_exchange_take_part(struct px_exchange *exchange, natsMsg *message);

/* ---- Answers ---- */

void px_gateway_problem(struct px_fleet_answer *ret, int status, const char *code, const char *hint, const char *format,
                        ...) __attribute__((format(printf, 5, 6)));
/* The problem of an exchange without an answer. `node` is the one that was asked, or NULL. */
void px_gateway_failed(struct px_gateway *gateway, enum px_exchange_end end, const char *node,
                       struct px_fleet_answer *ret);
void px_gateway_answer_add(struct px_fleet_answer *answer, const char *name, const char *value);
void px_gateway_answer_clear(struct px_fleet_answer *answer);

/* ---- Calls (gateway_call.c, gateway_session.c, gateway_nodes.c) ---- */

/* METHOD and PATH, for Pyexec-Call. */
void px_gateway_pyexec_call(struct px_buffer *out, const struct px_fleet_call *call, const char *path);
/* Asks where `pyexec.v1.as.PRINCIPAL.WHAT` leads. */
enum px_exchange_end px_gateway_ask_any(struct px_gateway *gateway, struct px_fleet_call *call, const char *what,
                                        const char *pyexec_call, const char *body, size_t length, bool passes,
                                        struct px_fleet_answer *ret);
/* Sends the call to this node, for its principal. */
enum px_exchange_end px_gateway_ask_node(struct px_gateway *gateway, struct px_fleet_call *call, const char *node,
                                         struct px_fleet_answer *ret);
/* Sends the call to any node, best to one that has the environment (NULL: none is named). If no node has it, the answer of any node says what
 * is wrong with it. */
void px_gateway_run(struct px_gateway *gateway, struct px_fleet_call *call, const char *environment,
                    struct px_fleet_answer *ret);
/* Reads the node from the id of a detached execution, e-NODE-DIGITS. */
bool px_gateway_node_of_execution(const char *id, char ret[PX_NODE_NAME_MAX + 1]);
/* True if the body is an object with this member, written without escapes. */
bool px_gateway_body_has(const struct px_fleet_call *call, const char *member);
/* The call becomes one that asks for events at the node, because it may take long, and its answer may be lost. */
bool px_gateway_wants_events(const struct px_fleet_call *call);
bool px_gateway_is_route(const struct px_fleet_call *call, const char *names);
void px_gateway_session(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret);
void px_gateway_mcp(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret);
void px_gateway_list_nodes(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret);
void px_gateway_drain(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret);
/* Asks all nodes, and puts their lists together. */
void px_gateway_gather(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret);
/* Asks one node after the other until one knows the named thing. Few requests may do so at once, and those of one principal use at most
 * half, because each holds a thread that answers of tools need. */
void px_gateway_seek(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret);
/* Sends it to all nodes, within the same limits, and answers 202. */
void px_gateway_tell_all(struct px_gateway *gateway, struct px_fleet_call *call, struct px_fleet_answer *ret);

/* ---- Places (gateway_places.c) ---- */

int px_places_init(struct px_places *places);
void px_places_done(struct px_places *places);
/* `kind`: 's' a session of the principal, 'c' a tool call or a run. */
void px_places_keep(struct px_places *places, char kind, const char *principal, const char *id, const char *node);
bool px_places_find(struct px_places *places, char kind, const char *principal, const char *id,
                    char ret[PX_NODE_NAME_MAX + 1]);
void px_places_forget(struct px_places *places, char kind, const char *principal, const char *id);

#endif
