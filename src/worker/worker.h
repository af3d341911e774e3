/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec-worker: brings the requests of a NATS server to a `pyexec serve` on this machine, and its answers back (docs/scale.md has
 * the protocol). `pyexec worker` starts it. It runs no code: each message becomes an HTTP request on the private UNIX socket of
 * the server, which is its child process. One thread does all the work. Threads of libnats connect again, and put messages that may
 * say "no responders" into a queue.
 *
 *   worker_main.c      the start, the loop, signals, the end
 *   worker_link.c      the connection to NATS: options, subscriptions, messages
 *   worker_http.c      HTTP requests to the server, with libcurl
 *   worker_route.c     which request a message is: its subject, its headers
 *   worker_mcp.c       messages of the Model Context Protocol
 *   worker_request.c   the life of a request
 *   worker_upload.c    bodies that come in parts
 *   worker_shares.c    how much of the node one principal may take
 *   worker_answer.c    messages to the client: events, parts, acknowledgements
 *   worker_sessions.c  sessions: who owns an id, the order of calls (worker_seats.h)
 *   worker_seats.c     the table of sessions' ids
 *   worker_forks.c     forks of sessions
 *   worker_keys.c      requests with a key
 *   worker_keep.c      answers that are kept for a request with a key
 *   worker_bucket.c    buckets of JetStream
 *   worker_peers.c     which live node has a session, asked of all nodes
 *   worker_ask.c       requests of this program over NATS
 *   worker_load.c      which subjects this node serves now: back-pressure, environments
 *   worker_figures.c   figures for /metrics, which the server shows
 *   worker_node.c      commands of the node, and NATS micro services
 *
 * Clients are not trusted: the size of everything that waits is limited, and no text of theirs becomes a part of a subject or of
 * an HTTP header without a check. The server is trusted, except that its answers contain what scripts wrote. */
#ifndef PX_WORKER_WORKER_H
#define PX_WORKER_WORKER_H

#include <curl/curl.h>
#include <event2/event.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "base/json.h"
#include "base/node_figures.h"
#include "base/spelling.h"
#include "base/sse_events.h"

#define PX_NODE_BODY_MAX (32u << 20)
#define PX_NODE_BODIES_MAX (512u << 20)  /* bytes of all bodies of requests */
#define PX_NODE_ANSWERS_MAX (512u << 20) /* bytes of all answers that wait for their clients */
#define PX_NODE_REQUESTS_MAX 8192u       /* requests in progress */
#define PX_NODE_ID_SIZE 33               /* 32 hexadecimal digits and a NUL */
#define PX_NODE_HEADROOM 4096            /* bytes of a message that its headers may take */
#define PX_NODE_TICK_MS 250              /* how often the times are looked at */
#define PX_NODE_ENVIRONMENTS_MAX 1000u

struct px_arrived;
struct px_seat;
struct px_share;
struct px_sessions_table;
struct px_ask;
struct px_question;
struct px_keep;
struct px_worker;
struct px_node_request;

/* ---- The connection to NATS (worker_link.c) ---- */

enum px_topic_kind {
    PX_TOPIC_RUN,     /* single runs, from the queue group; left while this node is full */
    PX_TOPIC_NODE,    /* messages to this node */
    PX_TOPIC_ABOUT,   /* messages to this node about requests in progress */
    PX_TOPIC_PEERS,   /* messages to all nodes */
    PX_TOPIC_SERVICE, /* $SRV: NATS micro services */
    PX_TOPIC_REPLY,   /* answers to this program */
};

/* A subject, or a pattern of subjects, that this node serves. */
struct px_topic {
    struct px_topic *next;
    struct px_worker *worker;
    enum px_topic_kind kind;
    char *subject, *queue; /* queue: NULL for none */
    bool gone;             /* the environment is not there any more */
    natsSubscription *open;
    natsSubscription *leaving; /* it is drained: the messages that are on their way still come */
    int64_t dropped;           /* messages that libnats had no room for, as last reported */
};

/* What the event loop knows about the connection. libnats changes it, from its own threads too. */
struct px_link {
    natsConnection *connection;
    natsOptions *options;
    _Atomic int socket; /* a copy of the socket's descriptor, which this program must begin to watch; -1: none */
    _Atomic bool wants_read, wants_write;
    int watched;
    struct event *read, *write, *wake;
    bool reads, writes; /* what is watched */
    int64_t heard_ns;   /* when the NATS server last sent something */
    int wake_fd;
    _Atomic bool connected, closed;
    pthread_mutex_t lock; /* of the next two: messages that a thread of libnats has received */
    struct px_arrived *arrived, **arrived_end;
};

/* One line of a message's headers. A NULL value: it is left out. */
struct px_header {
    const char *name, *value;
};

int px_link_open(struct px_worker *worker);
void px_link_close(struct px_worker *worker);
/* Begins to watch what libnats wants watched. The loop calls it before it waits. */
void px_link_watch(struct px_worker *worker);
/* Calls px_node_take() for all messages that have arrived. */
void px_link_read_all(struct px_worker *worker);
/* Makes a message. `reply` may be NULL. NULL: no memory. */
natsMsg *px_link_message(const char *subject, const char *reply, const struct px_header *headers, size_t count,
                         const void *bytes, size_t length);
/* Sends it. Returns -1 if it is lost, because the connection has been away for too long. */
int px_link_send(struct px_worker *worker, natsMsg *message);
/* The same, with a new message that is freed. */
int px_link_say(struct px_worker *worker, const char *subject, const char *reply, const struct px_header *headers,
                size_t count, const void *bytes, size_t length);
/* Returns the header's value, or NULL. */
const char *px_link_header(natsMsg *message, const char *name);
/* Bytes of a message's body that certainly fit. */
size_t px_link_room(struct px_worker *worker);
/* True while so much waits for the NATS server that nothing may be added to it. */
bool px_link_is_full(struct px_worker *worker);
int px_link_subscribe(struct px_worker *worker, struct px_topic *topic);
/* Leaves a subject. Messages that are on their way are still received. */
void px_link_leave(struct px_topic *topic);

/* ---- Requests over NATS (worker_ask.c) ---- */

#define PX_ASK_MS 3000

/* Gets the answer, or NULL: there was none in time. */
typedef void px_ask_fn(struct px_worker *worker, void *closure, natsMsg *message);

void px_ask_send(struct px_worker *worker, const char *subject, const struct px_header *headers, size_t count,
                 const void *bytes, size_t length, px_ask_fn *fn, void *closure);
/* Returns false if the message answers no request that was sent with px_ask_send(). */
bool px_ask_take(struct px_worker *worker, natsMsg *message);
void px_ask_tick(struct px_worker *worker, int64_t now_ns);
void px_ask_free(struct px_worker *worker);

/* ---- Questions to all nodes (worker_peers.c) ---- */

/* Below the subjects of nodes, so that a worker needs no further permission. No node has such a name. */
#define PX_PEERS_SUBJECT "pyexec.v1.node.@all"

enum px_peers_outcome {
    PX_OWNER_NONE,
    PX_OWNER_FOUND,
    PX_OWNER_DOUBTED, /* a node has it that was away, and its entry was replaced or made anew meanwhile */
    PX_OWNER_UNKNOWN, /* NATS, or this program, stood still */
    PX_OWNER_FAILED,  /* no memory */
};
/* Gets who has the session: a node and its boot, with PX_OWNER_FOUND and PX_OWNER_DOUBTED. */
typedef void px_owner_fn(struct px_worker *worker, void *closure, enum px_peers_outcome outcome, const char *node,
                         const char *boot);

/* Asks which other node has the session with this key, whose entry in the bucket has this revision. Takes about as long as one request
 * over NATS, or 2 seconds if a node that was there does not answer, or this node has only begun to serve. */
void px_peers_ask(struct px_worker *worker, const char *key, uint64_t revision, px_owner_fn *fn, void *closure);
/* Why the owner is not known, for a title. */
const char *px_peers_why(enum px_peers_outcome outcome);
/* Nobody waits for the answer any more: ends the question with this closure, if there is one, with PX_OWNER_UNKNOWN. */
void px_peers_drop(struct px_worker *worker, const void *closure);
/* This node begins to serve, or is connected again; it has ended. */
void px_peers_hello(struct px_worker *worker);
void px_peers_bye(struct px_worker *worker);
/* A question; an answer. */
void px_peers_question(struct px_worker *worker, natsMsg *message);
void px_peers_take(struct px_worker *worker, natsMsg *message);
void px_peers_tick(struct px_worker *worker, int64_t now_ns);
void px_peers_free(struct px_worker *worker);

/* ---- Subjects that are served (worker_load.c) ---- */

int px_load_open(struct px_worker *worker);
void px_load_close(struct px_worker *worker);
/* Joins or leaves the queue groups, after the number of requests in progress has changed. */
void px_load_update(struct px_worker *worker);
/* Looks at the server's figures when that is due. */
void px_load_tick(struct px_worker *worker, int64_t now_ns);
/* Ends the worker with an error: another node of the fleet has its name. Does nothing while the worker already ends. */
void px_load_lose_name(struct px_worker *worker);
/* Leaves the queue groups for good. */
void px_load_drain(struct px_worker *worker);
/* True when no message of a queue group can come any more. */
bool px_load_is_drained(const struct px_worker *worker);
/* Runs of the queue groups that wait at this node for a turn. */
int64_t px_load_waiting(const struct px_worker *worker);

/* ---- A request ---- */

enum px_node_stage {
    PX_NODE_BODY,   /* parts of its body are missing */
    PX_NODE_TURN,   /* it waits: for its turn at its session, or for the bucket */
    PX_NODE_SENT,   /* the server has it */
    PX_NODE_ANSWER, /* the answer is complete, but not all of it has been acknowledged */
};

/* What requests take of their node. */
enum px_goods {
    PX_GOODS_REQUESTS,
    PX_GOODS_BODIES,  /* bytes */
    PX_GOODS_ANSWERS, /* bytes */
    PX_GOODS_COUNT,
};

/* A message to the client. */
struct px_outgoing {
    struct px_outgoing *next;
    natsMsg *message;
    size_t bytes;
    uint64_t number;
    bool asks; /* for an acknowledgement */
};

struct px_node_request {
    struct px_node_request *next, *previous;
    struct px_worker *worker;
    char id[PX_NODE_ID_SIZE];
    enum px_node_stage stage;
    char *reply; /* the client's subject */
    int64_t started_ns, said_ns;
    int64_t heard_ns; /* when a new part of its body came */
    bool counted;     /* it runs code, and counts as load */
    bool running;     /* it is counted in `runs` */
    bool events;      /* the client takes events */
    bool finished;
    struct px_node_request *next_finished;
    struct px_share *share; /* of its principal (worker_shares.c); or NULL */
    size_t taken[PX_GOODS_COUNT];

    char method[8];
    char *path; /* of the HTTP request */
    char *principal;
    char *session;   /* the session's id, or NULL */
    bool ordered;    /* it waits for the session's calls before it */
    bool mcp, known; /* it is a message of the Model Context Protocol; its body was looked at (worker_mcp.c) */
    /* Sessions (worker_sessions.c). */
    struct px_seat *seat;
    struct px_node_request *next_of_seat;
    bool seated;               /* its turn has come */
    bool opens, forks, closes; /* it makes a session, or branches, or ends a session */
    bool looks;                /* it can't make the session */
    bool invented;             /* this node chose the id, of the session or of its branches, so no other node has it */
    bool forked;               /* the branches were made */
    bool answered;             /* the server has answered */
    json_t *branches;          /* ids */
    size_t claimed;            /* how many of them belong to this node */
    char owner[PX_NODE_NAME_MAX + 1]; /* the node of the session, if it is another one */
    char *key;                        /* of requests with one key only one starts; or NULL */
    uint64_t keyed;                   /* the revision of the key's entry, if the key belongs to this request */
    bool keeps, kept;                 /* its answer is kept; that is done, or has failed */
    struct px_keep *keep;             /* the answer, from then on */
    char *environment;                /* becomes the policy's `environment`; or NULL */
    struct px_buffer headers;         /* of the HTTP request: texts, each ended by a NUL */
    struct px_buffer body;
    size_t total; /* bytes of a body that comes in parts */
    unsigned parts, next_part;

    /* The HTTP exchange (worker_http.c). */
    CURL *easy;
    struct curl_slist *list;
    struct px_buffer answer;
    struct px_buffer passed; /* headers of the response for the client: NAME, VALUE, each ended by a NUL */
    long status;
    bool sent, is_stream, paused, too_long;
    struct px_sse_events stream;
    void (*done)(struct px_node_request *request); /* a request of this program itself; NULL: of a client */

    /* Messages to the client (worker_answer.c). */
    uint64_t number;
    struct px_outgoing *waiting, **waiting_end, *asked, **asked_end;
    size_t waiting_bytes, unasked_bytes;
    unsigned asked_count;
    int64_t asked_ns, repeated_ns;
    bool ended;
};

struct px_worker {
    struct event_base *base;
    struct px_link link;
    json_t *config, *labels;
    const char *node, *queue, *principal, *socket;
    char boot[PX_NODE_ID_SIZE];
    char started[40]; /* RFC 3339, with a fraction: nats-py does not read it without one */
    pid_t server;
    struct px_sessions_table *seats;
    int64_t replicas;                     /* of the bucket of sessions */
    int64_t turns, full_at, idle_seconds; /* idle_seconds: how long a connection to the server is kept */
    /* Load. */
    struct px_topic *topics;
    bool full, draining;
    int64_t runs;                       /* requests of the queue groups that the server has */
    int64_t asleep;                     /* of those of the server, as of the last look */
    int64_t sessions, running, waiting; /* the same */
    int64_t load_ns, list_ns;           /* when these, and the environments, were last asked for */
    bool looking, listing;
    bool naming, serving; /* asks whether its name is free; serves */
    struct px_ask *asks;
    struct px_question *questions; /* to all nodes */
    json_t *peers;                 /* the nodes that were heard, with this one, and when */
    json_t *environments;          /* names */
    json_t *unkept;                /* buckets of answers that could not be used, and until when they are not tried */
    /* Requests. */
    struct px_node_request *requests, *finished;
    size_t request_count, taken[PX_GOODS_COUNT];
    struct px_share *shares;
    CURLM *multi;
    struct event *curl_timer, *tick, *on_signal[3], *on_child;
    bool closing; /* a second signal came, or the server has ended */
    bool told;    /* the server was told to end */
    int64_t told_ns;
    int status;                      /* what the program exits with */
    struct px_node_figures *figures; /* for /metrics, in memory that the server reads */
    natsStatistics *statistics;      /* of the connection */
    /* For $SRV.STATS. */
    uint64_t served, errors, refused;
    uint64_t ignored; /* messages with a reply subject to which nothing is sent, since the last line about them */
    int64_t ignored_ns;
    int64_t served_ns;
    char last_error[200];
};

/* ---- Figures (worker_figures.c) ---- */

/* `fd`: the memory that `pyexec worker` made for them. */
int px_figures_open(struct px_worker *worker, int fd);
void px_figures_close(struct px_worker *worker);
/* Brings those up to date that are not counted when something happens. */
void px_figures_tick(struct px_worker *worker);

/* ---- HTTP (worker_http.c) ---- */

int px_node_http_open(struct px_worker *worker);
void px_node_http_close(struct px_worker *worker);
/* Sends the request to the server. px_node_http_over() is called when the response is complete. Returns -1: no memory. */
int px_node_http_send(struct px_node_request *request);
/* Ends the exchange, if there is one. The server cancels the run. */
void px_node_http_drop(struct px_node_request *request);
/* Continues to read a response that had to wait. */
void px_node_http_resume(struct px_node_request *request);
/* Handles exchanges that have ended. */
void px_node_http_reap(struct px_worker *worker);

/* ---- The life of a request (worker_request.c, worker_route.c) ---- */

/* Handles a message. It belongs to the caller. */
void px_node_take(struct px_worker *worker, enum px_topic_kind kind, natsMsg *message);
struct px_node_request *px_node_request_new(struct px_worker *worker, const char *reply);
/* Nothing more happens with the request. It is freed by px_node_sweep(), because callers may still use it. */
void px_node_finish(struct px_node_request *request);
void px_node_sweep(struct px_worker *worker);
struct px_node_request *px_node_request_find(struct px_worker *worker, const char *id);
/* Begins a request whose fields are set and whose body is complete. */
void px_node_begin(struct px_node_request *request);
void px_node_http_over(struct px_node_request *request, CURLcode code);
/* An event of the server's stream. */
void px_node_event(struct px_node_request *request, const struct px_sse_event *event);
/* Ends the request without a result, and cancels its run. */
void px_node_cancel(struct px_node_request *request);
/* The client is gone. */
void px_node_abandon(struct px_node_request *request);
/* The client does not listen any more. The request is abandoned, except if its answer is kept. */
void px_node_lose_client(struct px_node_request *request);
/* The body of a message of the Model Context Protocol is complete: finds out what it does. False: the client has its answer. */
bool px_node_mcp_take(struct px_node_request *request);
/* The server sends a message before the last one, or the last one. */
void px_node_mcp_event(struct px_node_request *request, const struct px_sse_event *event);
#define PX_HINT_AGAIN "The code never started; send it again."
/* Reads the subject and the headers of a request. Returns false for a message that can't be one; it may have answered it. */
bool px_node_route(struct px_node_request *request, enum px_topic_kind kind, const char *subject, natsMsg *message);
void px_node_tick(struct px_worker *worker, int64_t now_ns);

/* Bodies in parts (worker_upload.c). */
#define PX_NODE_UPLOAD_NS (30 * INT64_C(1000000000)) /* how long the next part may take */
void px_node_upload_begin(struct px_node_request *request);
void px_node_upload_take(struct px_node_request *request, natsMsg *message);

/* ---- Shares (worker_shares.c) ---- */

/* Takes this much for the request. Returns 0, or a status: 503 if the node has no more, 429 if its principal has too much. */
int px_share_take(struct px_node_request *request, enum px_goods goods, size_t amount);
/* Gives back everything. */
void px_share_leave(struct px_node_request *request);

/* ---- Sessions (worker_sessions.c) ---- */

int px_sessions_init(struct px_worker *worker);
void px_sessions_done(struct px_worker *worker);
/* The NATS server is reached. */
void px_sessions_ready(struct px_worker *worker);
/* The node is connected again, and has heard nothing for this time. */
void px_sessions_connected(struct px_worker *worker, int64_t away_ns);
/* The request makes a session. */
void px_sessions_open_call(struct px_node_request *request);
/* Returns false if the request goes to the server now. */
bool px_sessions_take(struct px_node_request *request);
/* The server has no part in the request any more. */
void px_sessions_left(struct px_node_request *request);
/* Answers the call with an error; it is then not in its session's queue any more. */
void px_sessions_refuse(struct px_node_request *request, int status, const char *code, const char *title,
                        const char *hint);
/* The server has answered with this status. Returns true if the client has its answer. */
bool px_sessions_answered(struct px_node_request *request, int status);
/* The server has ended: removes the entries of this node. Returns true when all are removed. */
bool px_sessions_leave(struct px_worker *worker);
void px_sessions_tick(struct px_worker *worker, int64_t now_ns);

/* ---- Keys (worker_keys.c) ---- */

void px_keys_ready(struct px_worker *worker);
/* Claims the key; then the request goes to the server, or is refused. */
void px_keys_claim(struct px_node_request *request);
/* True for a status that says that nothing has started: then the key can be used again. */
bool px_keys_gives_back(int status);
/* Another request with this key has started. */
void px_keys_taken(struct px_node_request *request);
/* The answer is kept: from now on the key is known as long as the answer. */
void px_keys_renew(struct px_node_request *request);
/* The client is about to get this status. If it says that nothing has started, the key can be used again. */
void px_keys_answered(struct px_node_request *request, int status);

/* ---- Answers that are kept (worker_keep.c) ---- */

/* Begins to keep the answer, if the request asks for it. Returns true if the client gets it later. */
bool px_keep_answer(struct px_node_request *request, int status, const void *bytes, size_t length);
/* Answers with what was kept for the key, or says whether the request that has the key is in progress. */
void px_keep_search(struct px_node_request *request);
void px_keep_tick(struct px_node_request *request, int64_t now_ns);
void px_keep_free(struct px_keep *keep);

/* ---- Answers (worker_answer.c) ---- */

/* An event for the client. The name and the id (or NULL) belong to the caller. */
void px_answer_event(struct px_node_request *request, const char *name, const char *id, const char *reply,
                     const void *bytes, size_t length);
/* Finishes the request if nothing is left to do for it. */
void px_answer_check(struct px_node_request *request);
/* The last message. `type` may be NULL. */
void px_answer_last(struct px_node_request *request, int status, const char *type, const void *bytes, size_t length);
/* The last message: a problem. */
void px_answer_problem(struct px_node_request *request, int status, const char *code, const char *hint,
                       const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Answers a message that begins no request: with a status, and a problem if `code` is not NULL. */
void px_answer_message(struct px_worker *worker, natsMsg *message, int status, const char *code, const char *title,
                       const char *hint);
/* The client has this message, and all before it. */
void px_answer_acknowledged(struct px_node_request *request, uint64_t number);
void px_answer_tick(struct px_node_request *request, int64_t now_ns);
void px_answer_free(struct px_node_request *request);
/* True while the client must read before more of the response is read. */
bool px_answer_is_full(const struct px_node_request *request);

/* ---- The node (worker_node.c) ---- */

void px_node_command(struct px_worker *worker, natsMsg *message);
void px_node_service(struct px_worker *worker, natsMsg *message, const char *subject);

/* ---- The program (worker_main.c) ---- */

/* A line for the operator. */
void px_worker_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void px_worker_ready(struct px_worker *worker);
/* Ends the program with an error. */
void px_worker_fail(struct px_worker *worker, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Begins to drain: no new work, the work in progress ends, then the program. */
void px_worker_drain(struct px_worker *worker);

#endif
