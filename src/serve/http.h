/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP as the routes see it, over GNU libmicrohttpd: one struct per request, filled before its
 * route's `serve` is called with the whole body, on a thread that may wait.
 *
 *   headers    the connection's thread: limits, Host and Origin, principal, route
 *   body       kept up to the route's limit, or streamed into a descriptor (PUT of a file)
 *   serve      a worker of the schedule (runs), or of a small pool (all else)
 *   answer     px_respond_…(); the connection's thread sends it
 *
 * While a request is served its connection sleeps; a client that goes away meanwhile is noticed
 * by watch.c, and its run is cancelled. */
#ifndef PX_SERVE_HTTP_H
#define PX_SERVE_HTTP_H

#include "base/json.h"
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "serve/dialect.h"
#include "serve/http_state.h"
#include "serve/principal.h"
#include "serve/schedule.h"
#include "serve/serve.h"

struct px_route;
struct px_server;

enum px_body {
    PX_BODY_NONE, /* what comes is dropped */
    PX_BODY_JSON, /* kept, up to PX_BODY_MAX */
    PX_BODY_FILE, /* streamed: `open_body` gives the descriptor */
};
#define PX_BODY_MAX (32u << 20)    /* the same as PX_LINE_MAX_BYTES of rpc */
#define PX_BODIES_MAX (512u << 20) /* of all requests at once, with JSON that is kept parsed */
#define PX_UNREAD_MAX (256u << 20) /* of a principal's answers: with more it gets no more runs */
#define PX_SLOWEST_BYTES_PER_SECOND 4096u

/* One listening socket with its daemon. */
struct px_listener {
    struct px_server *server;
    struct MHD_Daemon *daemon;
    int fd;
    bool tcp;       /* else a UNIX socket, whose peers are `local` */
    bool loopback;  /* TCP that only this machine reaches */
    char name[160]; /* for the log */
    char host[128]; /* what it listens on, without the port */
};

struct px_http_request {
    struct px_job job; /* first: the schedule's handle */
    struct px_server *server;
    const struct px_listener *listener;
    struct MHD_Connection *connection;
    const struct px_route *route;
    char method[16];                      /* a copy: libmicrohttpd's does not live as long */
    char id[129];                         /* X-Request-Id, the client's or ours */
    char trace[33], parent[17], span[17]; /* W3C trace context; "" without one */
    struct px_principal *principal;
    char *path;        /* as it came, without the query; a file's part decoded */
    char *session;     /* of the path, or NULL */
    char *named;       /* of the path, what is no session: a tool call, an execution; or NULL */
    char *session_key; /* PRINCIPAL/ID for the library */
    char *rest;        /* a file's path: inside of path, or "" */
    struct px_buffer body;
    uint64_t reserved;  /* of PX_BODIES_MAX, for the body and what is parsed of it */
    int body_fd;        /* PX_BODY_FILE; -1 */
    char *upload;       /* the temporary name of a file that is sent, or NULL */
    uint64_t body_room; /* how many more bytes it may have */
    int spools;         /* temporary files that it has */
    uint64_t body_bytes;
    int64_t body_deadline_ns; /* when the next bytes of it must have come */
    pyexec_error body_error;  /* code != PYEXEC_OK: the body could not be taken */
    int64_t started_ns;

    /* The answer. */
    bool ambiguous; /* true if the body length is ambiguous (request smuggling); the
                                           connection is then closed */
    int status;     /* 0: none yet */
    struct MHD_Response *response;
    uint64_t answer_bytes;
    _Atomic long kept_bytes; /* of its answer, in memory until the client has read them */

    /* Between the connection's thread and the one that serves. */
    pthread_mutex_t lock;
    int references;
    int serving; /* threads that have it, or will */
    void (*moved_to)(struct px_http_request *request);
    bool stays;                       /* its run goes on without its client */
    bool suspended;                   /* the connection sleeps */
    atomic_bool cancelled;            /* the server ends, or the client is gone; set with the lock */
    _Atomic enum px_http_state state; /* changed with the lock */
    pyexec_request *running;          /* what to cancel then */
    struct px_sse *stream;            /* server-sent events, or NULL */
    struct px_watch *watch;
    bool streams;               /* its answer has no end to wait for, as with `stream` */
    bool before_runs;           /* served before it is known whether it must wait for a turn */
    struct px_mcp_request *mcp; /* of POST /mcp (mcp.c), or NULL */
    json_t *json;               /* of a dialect: the body, or NULL */

    /* For the log and the audit. */
    const char *outcome; /* status of a run, or code of an error; static */
    char code_hash[65];  /* SHA-256 of the code that ran, or "" */
};

struct px_route {
    const char *method;
    const char *path;    /* "/v1/sessions/{id}/files/{path}" */
    const char *name;    /* of the metrics and the log: low cardinality */
    const char *summary; /* for OpenAPI */
    enum px_body body;
    bool open;         /* needs no principal */
    unsigned dialects; /* the dialects that have it; 0: pyexec's own */
    bool runs;         /* code runs: goes through the schedule */
    bool inline_;      /* answered on the connection's thread: must not wait */
    bool page;         /* for browsers: no part of the API, nor of its document */
    bool late;         /* taken while the server drains: what runs may need it to end */
    bool no_session;   /* the path names something else: `named` */
    void (*serve)(struct px_http_request *request);
    int (*open_body)(struct px_http_request *request, pyexec_error *error);
};

/* The body (body.c): its first bytes are awaited; some have come; the client was too slow; what it took
 * is free again. */
void px_body_await(struct px_http_request *request);
void px_body_take(struct px_http_request *request, const char *bytes, size_t length);
bool px_body_is_late(const struct px_http_request *request);
void px_body_release(struct px_http_request *request);

/* Before the body is parsed by a route that keeps what came of it while the request waits for its turn:
 * reserves the memory. -1: PYEXEC_OVERLOADED, too much is waiting. */
int px_http_request_weigh(struct px_http_request *request, pyexec_error *error);

/* Counts bytes of an answer that wait in memory for the client (negative: that it has read), for the
 * principal too, until the request is released. */
void px_http_request_keep(struct px_http_request *request, long bytes);

/* Answers. Each is given once; the last argument of those with bodies is copied unless said. */
void px_respond_text(struct px_http_request *request, int status, const char *type, const char *text, size_t length);
/* `text` is taken (free). NULL: out of memory. */
void px_respond_json(struct px_http_request *request, int status, char *text);
void px_respond_empty(struct px_http_request *request, int status);
/* RFC 9457 problem+json with code and hint. */
void px_respond_problem(struct px_http_request *request, int status, const char *code, const char *title,
                        const char *hint);
void px_respond_problem_with(struct px_http_request *request, int status, const char *code, const char *title,
                             const char *hint, const char *header, const char *value);
void px_respond_error(struct px_http_request *request, const pyexec_error *error);
/* To a browser that asks whether it may ask. */
void px_respond_preflight(struct px_http_request *request);
/* A response made by the caller. */
void px_respond(struct px_http_request *request, int status, struct MHD_Response *response);
/* Before the last bytes of an answer can be read: a client that has read them finds its turn free. */
void px_http_request_end_turn(const struct px_http_request *request);
/* Once the answer is there or a stream has begun: wakes the connection. */
void px_http_request_wake(struct px_http_request *request);

/* Something has happened to it; call it with the lock held. */
void px_http_request_change(struct px_http_request *request, enum px_http_event event);
/* The client went away before it had its answer. */
static inline bool px_http_request_is_lost(const struct px_http_request *request)
{
    return request->state == PX_HTTP_LOST;
}

/* What runs for it is cancelled: the server ends; or its client went away. */
void px_http_request_cancel(struct px_http_request *request);
void px_http_request_gone(struct px_http_request *request);

/* From `serve`: what runs for it now, to be cancelled with it; NULL: nothing any more. */
void px_http_request_run(struct px_http_request *request, pyexec_request *run);
/* From `serve` of a route that runs no code: this request does. It goes on in the schedule of runs,
 * with `run`, among the calls of request->session. On failure it is still to be answered here. */
int px_http_request_move(struct px_http_request *request, void (*run)(struct px_http_request *request),
                         pyexec_error *error);

void px_http_request_hold(struct px_http_request *request);
void px_http_request_release(struct px_http_request *request);

const char *px_http_request_header(const struct px_http_request *request, const char *name);

/* Whether proxies in front of this could read the request differently than it does (syntax.c); `version` is
 * libmicrohttpd's. */
bool px_syntax_is_ambiguous(struct MHD_Connection *connection, const char *version);

/* Nanoseconds that a connection may take for its next headers, or for so many bytes of a body. */
int64_t px_http_patience(const struct px_server *server, uint64_t bytes);

/* Serves on the listener's socket until its daemon is stopped. */
int px_http_start(struct px_listener *listener, pyexec_error *error);

/* Whether a request may come with this Host and this Origin (NULL: none); route.c. */
bool px_host_allowed(const struct px_listener *listener, const char *host);
bool px_origin_allowed(const struct px_listener *listener, const char *origin, const char *host);

/* `prefix` and 16 random hexadecimal digits, for free(); NULL: out of memory. */
char *px_random_name(const char *prefix);

/* Decodes %XX of a path or query in place; -1: malformed, or a NUL. */
int px_decode(char *text);

#endif
