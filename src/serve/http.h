/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP as the routes see it, over GNU libmicrohttpd. There is one struct per request. It is filled before the `serve`
 * function of its route is called, which gets the whole body and runs on a thread that may wait.
 *
 *   headers    a thread of the listener checks limits, Host and Origin, and finds the principal and the route
 *   body       is kept in memory (JSON), or streamed into a descriptor (PUT of a file)
 *   serve      runs on this thread if a turn is free, while another thread of the listener goes on (drive.h); else on a
 *              worker: of the schedule of runs, or of a small schedule for all other work
 *   answer     px_respond_…() sets it, and a thread of the listener sends it
 *
 * While a request is served, libmicrohttpd ignores its connection. watch.c then notices a client that goes away, and the
 * client's run is cancelled. */
#ifndef PX_SERVE_HTTP_H
#define PX_SERVE_HTTP_H

#include "base/json.h"
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "base/message_header.h"
#include "base/trace_context.h"
#include "serve/dialect.h"
#include "serve/http_state.h"
#include "serve/principal.h"
#include "serve/schedule.h"
#include "serve/serve.h"

struct px_control;
struct px_route;
struct px_server;

enum px_body {
    PX_BODY_NONE, /* a body is read and dropped */
    PX_BODY_JSON, /* the body is kept in memory, up to PX_BODY_MAX */
    PX_BODY_FILE, /* the body is streamed: `open_body` opens the descriptor */
};
#define PX_BODY_MAX (32u << 20)    /* the same as PX_LINE_MAX_BYTES of jsonrpc */
#define PX_BODIES_MAX (512u << 20) /* bodies of all requests together, and the JSON that is parsed from them */
#define PX_UNREAD_MAX \
    (256u << 20) /* unread answers of one principal: a principal with more than this gets no further runs */
#define PX_SLOWEST_BYTES_PER_SECOND 4096u /* a client that is slower than this is cut off */

/* One listening socket with its daemon. */
struct px_listener {
    struct px_server *server;
    struct MHD_Daemon *daemon;
    struct px_drive *drive; /* calls the daemon (drive.h) */
    _Atomic int64_t due_ns; /* when the daemon must be called next, because a connection has been silent; 0: never */
    int fd;
    bool tcp;              /* false: a UNIX socket. Its clients without a token are the principal `local` */
    bool metrics_only;     /* serves /metrics, /healthz and /readyz, to everybody */
    bool names_principals; /* its clients say which principal they are (`pyexec worker`) */
    bool loopback;         /* TCP, but only this machine can connect */
    char name[160];        /* for the log */
    char host[128];        /* the address, without the port */
};

struct px_http_request {
    struct px_job job; /* must be the first member: a pointer to it is cast to the request */
    struct px_server *server;
    const struct px_listener *listener;
    struct MHD_Connection *connection;
    const struct px_route *route;
    char method[16];                        /* a copy: libmicrohttpd's does not live as long */
    char id[129];                           /* X-Request-Id, from the client or made here */
    char message[PX_MESSAGE_HEADER_SIZE];   /* of a worker: what it says about the message, or "" */
    struct px_trace_context caller;         /* the caller's span; trace_id "": none */
    char span[17];                          /* the id of this request's own span; "" if `caller` is none */
    char tracestate[PX_TRACESTATE_MAX + 1]; /* the caller's, or "" */
    struct px_principal *principal;
    char *target;      /* for a fleet: the path with the query, as the client sent it; else NULL */
    char *path;        /* without the query, and still encoded except for the path of a file */
    char *session;     /* the session id in the path, or NULL */
    char *named;       /* the id of a tool call or an execution in the path, or NULL */
    char *session_key; /* PRINCIPAL/ID for the library */
    char *packages;    /* that the run needs, sorted, a line for each (packages.h); or NULL */
    char *environment; /* the environment of the session, if this request makes it; or NULL */
    char *rest;        /* the path of a file: points into `path`; or "" */
    struct px_buffer body;
    uint64_t reserved;  /* its share of PX_BODIES_MAX, for the body and the JSON parsed from it */
    int body_fd;        /* for PX_BODY_FILE; else -1 */
    char *upload;       /* the temporary name of a file that is being uploaded, or NULL */
    uint64_t body_room; /* how many more bytes the upload may have */
    int spools;         /* how many temporary files it has */
    uint64_t body_bytes;
    int64_t body_deadline_ns; /* the next bytes of the body must arrive before this time */
    pyexec_error body_error;  /* code != PYEXEC_OK: the body was refused, for this reason */
    int64_t started_ns;

    /* The answer. */
    bool ambiguous; /* headers that a proxy could read differently (request smuggling): the connection is closed */
    int status;     /* 0: no answer yet */
    struct MHD_Response *response;
    uint64_t answer_bytes;
    _Atomic long kept_bytes; /* bytes of the answer in memory that the client has not read */

    /* Shared by the threads of the listener and the thread that serves the request. */
    pthread_mutex_t lock;
    int references;
    int serving;                                       /* jobs in a schedule for this request */
    void (*moved_to)(struct px_http_request *request); /* px_http_request_move() */
    bool stays;                                        /* the run continues when the client goes away */
    bool suspended;                   /* libmicrohttpd ignores the connection (MHD_suspend_connection) */
    atomic_bool cancelled;            /* the server ends, or the client is gone; set with the lock held */
    _Atomic enum px_http_state state; /* changed with the lock held */
    struct px_fleet_call *forwarded;  /* the call of the fleet to cancel in the same case; or NULL */
    pyexec_request *running;          /* the run to cancel when the request is cancelled */
    struct px_sse *stream;            /* server-sent events, or NULL */
    struct px_watch *watch;
    bool streams;               /* the answer streams without `stream`: it has no deadline for its end */
    bool before_runs;           /* a worker must first find out whether this is a detached execution */
    struct px_control *control; /* its client controls the run; or NULL */
    struct px_mcp_request *mcp; /* for POST /mcp (mcp_http.c), or NULL */
    json_t *json;               /* for a dialect: the parsed body, or NULL */

    /* For the log and the audit. */
    const char *outcome; /* the status of a run or the code of an error: a static string */
    char code_hash[65];  /* SHA-256 of the code that ran, or "" */
};

struct px_route {
    const char *method;
    const char *path;    /* "/v1/sessions/{id}/files/{path}" */
    const char *name;    /* in metrics and the log: one name for all requests of the route */
    const char *summary; /* for OpenAPI */
    enum px_body body;
    bool open;         /* needs no principal */
    unsigned dialects; /* the dialects that have this route; 0: a route of pyexec itself */
    bool runs;         /* runs code, so it goes through the schedule of runs */
    bool probe;        /* for monitoring: also served at [serve] metrics */
    bool inline_;      /* answered at once by the thread that read it: `serve` must not wait */
    bool fleet;        /* for the operator of a fleet; not in the OpenAPI document */
    bool page;         /* for browsers: neither in the API nor in its OpenAPI document */
    bool late;         /* accepted while the server drains: a running script may need this request to end */
    bool no_session;   /* the path has the id of something else than a session: see `named` */
    void (*serve)(struct px_http_request *request);
    int (*open_body)(struct px_http_request *request, pyexec_error *error);
};

/* The body (body.c). */
/* Sets the deadline for its first bytes. */
void px_body_await(struct px_http_request *request);
/* True if the body goes into a descriptor as it arrives. */
bool px_body_is_streamed(const struct px_http_request *request);
/* Takes bytes that have arrived. */
void px_body_take(struct px_http_request *request, const char *bytes, size_t length);
/* True if the client sends it too slowly. */
bool px_body_is_late(const struct px_http_request *request);
/* Gives back the memory that was reserved for it. */
void px_body_release(struct px_http_request *request);

/* Reserves memory for the JSON of the body. A route calls it before it parses the body, if it keeps the parsed JSON
 * while the request waits for its turn. Returns -1 with PYEXEC_OVERLOADED when bodies take too much memory already. */
int px_http_request_weigh(struct px_http_request *request, pyexec_error *error);

/* Reserves memory and reads the body: a new object, which is empty if there is no body. NULL with `error`, which names the member
 * whose value can't be read, such as a number that is too large; otherwise its hint is `hint`. */
struct json_t *px_http_request_object(struct px_http_request *request, const char *hint, pyexec_error *error);

/* Counts bytes of an answer that stay in memory until the client has read them, for the request and for its principal.
 * A negative number: the client has read them. What is left is subtracted when the request is released. */
void px_http_request_keep(struct px_http_request *request, long bytes);

/* Answers. Each request gets one. */
void px_respond_text(struct px_http_request *request, int status, const char *type, const char *text, size_t length);
/* Takes ownership of `text`, and frees it. `text` is NULL when there was no memory for it. */
void px_respond_json(struct px_http_request *request, int status, char *text);
void px_respond_empty(struct px_http_request *request, int status);
/* RFC 9457 problem+json with code and hint. */
void px_respond_problem(struct px_http_request *request, int status, const char *code, const char *title,
                        const char *hint);
void px_respond_problem_with(struct px_http_request *request, int status, const char *code, const char *title,
                             const char *hint, const char *header, const char *value);
void px_respond_error(struct px_http_request *request, const pyexec_error *error);
/* Answers a CORS preflight: a browser asks whether a page of another origin may send the request. */
void px_respond_preflight(struct px_http_request *request);
/* Answers with a response that the caller has made. */
void px_respond(struct px_http_request *request, int status, struct MHD_Response *response);
/* Gives back the turn of the request. It is called before the client can read the end of the answer, so that the turn is
 * free when the client sends its next request. */
void px_http_request_end_turn(const struct px_http_request *request);
/* Resumes the connection. Call it when the answer is there or a stream has begun. */
void px_http_request_wake(struct px_http_request *request);
/* The same for a thread that then calls libmicrohttpd itself. True if the connection was suspended. */
bool px_http_request_resume(struct px_http_request *request);

/* Changes the state of the request by this event. Call it with the lock held. */
void px_http_request_change(struct px_http_request *request, enum px_http_event event);
/* True if the client went away before it had its answer. */
static inline bool px_http_request_is_lost(const struct px_http_request *request)
{
    return request->state == PX_HTTP_LOST;
}

/* Cancels the run of the request, because the server ends. */
void px_http_request_cancel(struct px_http_request *request);
/* The client went away. Cancels the run of the request, unless it `stays`. */
void px_http_request_gone(struct px_http_request *request);

/* `serve` says which run px_http_request_cancel() has to cancel; NULL: the run has ended. */
void px_http_request_run(struct px_http_request *request, pyexec_request *run);
/* A `serve` function calls this when it runs without a turn and finds that the request must run code. Adds the request
 * to the schedule of runs, among the calls of request->session; `run` is then called there. If this fails, the caller
 * must answer the request. */
int px_http_request_move(struct px_http_request *request, void (*run)(struct px_http_request *request),
                         pyexec_error *error);
/* The same, but the request does not wait until other calls of its session have ended. */
int px_http_request_move_apart(struct px_http_request *request, void (*run)(struct px_http_request *request),
                               pyexec_error *error);

void px_http_request_hold(struct px_http_request *request);
void px_http_request_release(struct px_http_request *request);

const char *px_http_request_header(const struct px_http_request *request, const char *name);

/* True if a proxy in front of this server could read the request differently (header_syntax.c). `version` is the HTTP
 * version as libmicrohttpd gave it: a pointer into its buffer. */
bool px_syntax_is_ambiguous(struct MHD_Connection *connection, const char *version);

/* Returns how many nanoseconds a connection may take for its next headers and for this many bytes of a body or an
 * answer. */
int64_t px_http_patience(const struct px_server *server, uint64_t bytes);

/* Starts to serve on the listener's socket. It is served until the daemon is stopped. */
int px_http_start(struct px_listener *listener, pyexec_error *error);

/* True if the server accepts this Host, and this Origin (NULL: the request has none); route.c. */
bool px_host_allowed(const struct px_listener *listener, const char *host);
bool px_origin_allowed(const struct px_listener *listener, const char *origin, const char *host);

/* Returns `prefix` with 16 random hexadecimal digits. The caller frees it. NULL: out of memory. */
char *px_random_name(const char *prefix);

/* Decodes %XX of a path or query in place. Returns -1 when it is malformed or has a NUL. */
int px_decode(char *text);

#endif
