/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/json.h"
#include "base/retry.h"
#include "serve/drive.h"
#include "serve/execution.h"
#include "serve/file_routes.h"
#include "serve/fleet.h"
#include "serve/fleet_metrics.h"
#include "serve/forward.h"
#include "serve/mcp_http.h"
#include "serve/route.h"
#include "serve/server.h"
#include "serve/sse.h"

#define HEADERS_BYTES 16384u             /* memory of a connection: request line, headers, headers of the answer */
#define REFUSED_BODY_BYTES 65536u        /* a refused body up to this size is read and dropped */
#define ANSWER_BYTES_DROPPED (64u << 20) /* after this many bytes of a refused body, the connection is closed */

int64_t px_http_patience(const struct px_server *server, uint64_t bytes)
{
    return server->options->config->idle_timeout_ms * INT64_C(1000000) +
           (int64_t)(bytes / PX_SLOWEST_BYTES_PER_SECOND) * INT64_C(1000000000);
}

/* ---- A request's life ---- */

void px_http_request_hold(struct px_http_request *request)
{
    pthread_mutex_lock(&request->lock);
    request->references++;
    pthread_mutex_unlock(&request->lock);
}

/* Counts and logs the request. Called when both its answer and its run have ended: a run can outlast the answer. */
static void account(struct px_http_request *request)
{
    struct px_server *server = request->server;
    /* libmicrohttpd itself refused the request, or its headers never came whole. */
    if (!*request->method) {
        request->status = MHD_HTTP_BAD_REQUEST;
    }
    size_t route = request->route ? (size_t)(request->route - px_routes) : px_route_count;
    int class = px_http_request_is_lost(request) || !request->status ? 0 : request->status / 100;
    server->metrics.responses[route][class]++;
    server->metrics.received_bytes += request->body_bytes;
    server->metrics.sent_bytes += request->answer_bytes;
    if (request->route)
        px_histogram_add(&server->metrics.requests[route], px_now_ns() - request->started_ns);
    px_log_request(&server->log, request);
}

void px_http_request_keep(struct px_http_request *request, long bytes)
{
    if (!request->principal)
        return;
    request->kept_bytes += bytes;
    request->principal->kept_bytes += bytes;
}

void px_http_request_release(struct px_http_request *request)
{
    pthread_mutex_lock(&request->lock);
    bool last = --request->references == 0;
    pthread_mutex_unlock(&request->lock);
    if (!last)
        return;
    if (request->state != PX_HTTP_READING)
        account(request);
    px_sse_free(request->stream);
    px_body_release(request);
    request->server->spools -= request->spools;
    if (request->principal)
        request->principal->spools -= request->spools;
    px_http_request_keep(request, -request->kept_bytes);
    px_buffer_done(&request->body);
    px_close_fd(&request->body_fd);
    free(request->target);
    free(request->path);
    free(request->session);
    free(request->session_key);
    free(request->environment);
    free(request->packages);
    free(request->named);
    free(request->upload);
    px_mcp_http_free(request->mcp);
    json_decref(request->json);
    pthread_mutex_destroy(&request->lock);
    free(request);
}

void px_http_request_change(struct px_http_request *request, enum px_http_event event)
{
    enum px_http_state state = request->state;
    px_http_state_change(&state, event);
    request->state = state;
}

/* With the lock held. */
static void cancel(struct px_http_request *request)
{
    request->cancelled = true;
    if (request->running)
        pyexec_request_cancel(request->running);
    if (request->forwarded)
        px_fleet_cancel(request->server->options->fleet, request->forwarded);
}

/* The client is gone; the event says how. */
static void leave_alone(struct px_http_request *request, enum px_http_event event)
{
    pthread_mutex_lock(&request->lock);
    px_http_request_change(request, event);
    if (!request->stays)
        cancel(request);
    pthread_mutex_unlock(&request->lock);
}

void px_http_request_run(struct px_http_request *request, pyexec_request *run)
{
    pthread_mutex_lock(&request->lock);
    request->running = run;
    if (run && request->cancelled)
        pyexec_request_cancel(run);
    pthread_mutex_unlock(&request->lock);
}

void px_http_request_cancel(struct px_http_request *request)
{
    pthread_mutex_lock(&request->lock);
    cancel(request);
    pthread_mutex_unlock(&request->lock);
}

void px_http_request_gone(struct px_http_request *request)
{
    leave_alone(request, PX_HTTP_GO);
}

void px_http_request_end_turn(const struct px_http_request *request)
{
    if (request->job.turn)
        pyexec_turn_give_back(request->job.turn);
}

bool px_http_request_resume(struct px_http_request *request)
{
    pthread_mutex_lock(&request->lock);
    bool suspended = request->suspended;
    if (suspended)
        MHD_resume_connection(request->connection);
    request->suspended = false;
    pthread_mutex_unlock(&request->lock);
    return suspended;
}

void px_http_request_wake(struct px_http_request *request)
{
    const struct px_listener *listener = request->listener; /* the request may be freed when its connection goes on */
    if (!px_drive_resumes(request) && px_http_request_resume(request))
        px_drive_wake(listener);
}

const char *px_http_request_header(const struct px_http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

static void make_hex(char *to, size_t bytes)
{
    unsigned char random[16];
    if (px_random_bytes(random, bytes) < 0)
        memset(random, 0x5a, bytes);
    for (size_t i = 0; i < bytes; i++)
        snprintf(to + 2 * i, 3, "%02x", random[i]);
}

char *px_random_name(const char *prefix)
{
    char digits[17], *name;
    make_hex(digits, 8);
    return asprintf(&name, "%s%s", prefix, digits) < 0 ? NULL : name;
}

/* For MHD_OPTION_URI_LOG_CALLBACK: called with the request's target as the client sent it. The other callbacks get the
 * returned pointer as their `*context`. */
static void *new_request(void *closure, const char *uri, struct MHD_Connection *connection)
{
    struct px_listener *listener = closure;
    struct px_http_request *request = calloc(1, sizeof *request);
    if (!request)
        return NULL;
    request->server = listener->server;
    request->listener = listener;
    request->connection = connection;
    request->references = 1;
    request->body_fd = -1;
    request->started_ns = px_now_ns();
    pthread_mutex_init(&request->lock, NULL);
    request->path = strndup(uri, strcspn(uri, "?"));
    if (listener->server->options->fleet)
        request->target = strdup(uri);
    listener->server->in_progress++;
    if (request->path && (request->target || !listener->server->options->fleet))
        return request;
    listener->server->in_progress--;
    px_http_request_release(request);
    return NULL;
}

/* Free a response that was never sent. A stream's response holds a reference to the request. */
static void drop_answer(struct px_http_request *request)
{
    pthread_mutex_lock(&request->lock);
    struct MHD_Response *response = TAKE_PTR(request->response);
    pthread_mutex_unlock(&request->lock);
    if (response)
        MHD_destroy_response(response);
}

/* The connection is done with the request. `sent`: the whole answer was sent. */
static void end(struct px_http_request *request, bool sent)
{
    bool late = !sent && px_body_is_late(request); /* watch.c has answered */
    if (late) {
        request->status = MHD_HTTP_REQUEST_TIMEOUT;
        request->outcome = "request_timeout";
    }
    if (sent) {
        pthread_mutex_lock(&request->lock);
        px_http_request_change(request, PX_HTTP_SENT);
        pthread_mutex_unlock(&request->lock);
    } else {
        leave_alone(request, late || !*request->method ? PX_HTTP_SENT : PX_HTTP_BREAK);
    }
}

/* MHD_OPTION_NOTIFY_COMPLETED: the answer is sent, or the connection has ended. */
static void completed(void *closure, struct MHD_Connection *connection, void **context,
                      enum MHD_RequestTerminationCode how)
{
    struct px_listener *listener = closure;
    struct px_server *server = listener->server;
    struct px_http_request *request = *context;
    *context = NULL;
    px_watch_deadline(server->watcher, connection, px_http_patience(server, 0));
    if (!request)
        return;
    end(request, how == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    px_file_routes_abandon(request);
    drop_answer(request);
    px_http_request_release(request);
    server->in_progress--;
}

/* ---- Headers ---- */

/* Takes the client's id if it is harmless in a log line, or makes one. */
static void take_id(struct px_http_request *request)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/+=@-";
    const char *given = px_http_request_header(request, "X-Request-Id");
    size_t length = given ? strlen(given) : 0;
    if (length && length < sizeof request->id && strspn(given, allowed) == length)
        memcpy(request->id, given, length + 1);
    else
        make_hex(request->id, 8);
}

/* The caller's span. One that is not valid counts as none. */
static void take_trace(struct px_http_request *request)
{
    const char *message = px_http_request_header(request, PX_MESSAGE_HEADER);
    if (message && request->listener->names_principals && strlen(message) < sizeof request->message)
        strcpy(request->message, message);
    const char *state = px_http_request_header(request, "tracestate");
    if (!px_trace_context_parse(px_http_request_header(request, "traceparent"), &request->caller))
        return;
    make_hex(request->span, 8);
    if (state && px_trace_state_is_valid(state))
        snprintf(request->tracestate, sizeof request->tracestate, "%s", state);
}

/* Returns the length of the body that the headers announce. UINT64_MAX: unknown, because the body is chunked. */
static uint64_t announced(const struct px_http_request *request)
{
    const char *length = px_http_request_header(request, "Content-Length");
    if (px_http_request_header(request, "Transfer-Encoding"))
        return UINT64_MAX;
    return length ? strtoull(length, NULL, 10) : 0;
}

static void refuse_path(struct px_http_request *request, const char *allowed)
{
    char hint[96];
    snprintf(hint, sizeof hint, "It takes %s.", allowed);
    if (*allowed)
        px_respond_problem(request, MHD_HTTP_METHOD_NOT_ALLOWED, "method_not_allowed",
                           "this path does not take the request's method", hint);
    else
        px_respond_problem(request, MHD_HTTP_NOT_FOUND, "not_found", "there is no such path",
                           request->listener->metrics_only
                               ? "This address has /metrics, /healthz and /readyz only ([serve] metrics)."
                               : "GET /openapi.json lists the routes.");
}

static bool authenticate(struct px_http_request *request)
{
    const char *header = px_http_request_header(request, "Authorization");
    const char *name = px_http_request_header(request, "Pyexec-Principal");
    struct px_server *server = request->server;
    if (request->listener->metrics_only)
        request->principal = &server->principals.local;
    else if (request->listener->names_principals && name)
        request->principal = px_principals_find_name(&server->principals, name);
    else if (request->route->dialects)
        request->principal = px_dialect_principal(request);
    else if (!header && !request->listener->tcp)
        request->principal = &server->principals.local;
    else
        request->principal = px_principals_find(&server->principals, header);
    return request->principal != NULL;
}

/* True if the body of a refused request is read before the answer is sent. A client whose connection is closed while it
 * sends may not see the answer, so a small body is read and dropped. The SDKs of the dialects send a whole file before
 * they read an answer, so for a known client of a dialect the limit is higher. It is not higher for all clients: one that
 * waits for the answer before it sends a large body would wait until the server gives up. */
static bool is_read_first(const struct px_http_request *request)
{
    bool is_file = request->route && request->route->dialects && request->principal;
    uint64_t length = announced(request), most = is_file ? ANSWER_BYTES_DROPPED : REFUSED_BODY_BYTES;
    return length && length <= most && !request->ambiguous && !px_http_request_header(request, "Expect");
}

/* Checks the headers, and refuses a request that can be refused without its body. */
static void begin(struct px_http_request *request, const char *version)
{
    const char *host = px_http_request_header(request, "Host");
    const char *origin = px_http_request_header(request, "Origin");
    char allowed[64] = "";
    uint64_t length = announced(request);
    take_id(request);
    take_trace(request);
    px_body_await(request);
    request->ambiguous = px_syntax_is_ambiguous(request->connection, version);
    if (request->ambiguous)
        px_respond_problem(request, MHD_HTTP_BAD_REQUEST, "invalid_request", "the request can be read in two ways",
                           "Send one Host, one of Content-Length and Transfer-Encoding: chunked, and each header "
                           "on a line of its own that ends in CR LF, without a blank before the colon.");
    else if (!px_host_allowed(request->listener, host))
        px_respond_problem(request, MHD_HTTP_MISDIRECTED_REQUEST, "forbidden", "the Host header names another server",
                           "If this server has that name, add it to [serve] allowed_hosts.");
    else if (!px_origin_allowed(request->listener, origin, host))
        px_respond_problem(request, MHD_HTTP_FORBIDDEN, "forbidden", "requests from this Origin are refused",
                           "To accept it, add it to [serve] allowed_origins.");
    else if (origin && strcmp(request->method, "OPTIONS") == 0)
        px_respond_preflight(request);
    else if (px_route_find(request, allowed, sizeof allowed) < 0)
        refuse_path(request, allowed);
    else if (request->listener->metrics_only && !request->route->probe)
        refuse_path(request, "");
    else if (px_route_decode(request) < 0)
        px_respond_problem(request, MHD_HTTP_BAD_REQUEST, "invalid_request", "the path is malformed",
                           "Encode it as UTF-8 with %XX, without NUL.");
    else if (!request->route->open && !authenticate(request))
        px_respond_problem(request, MHD_HTTP_UNAUTHORIZED, "unauthorized", "missing or unknown token",
                           "Send Authorization: Bearer TOKEN; the server's token_file has its SHA-256.");
    else if (!px_body_is_streamed(request) && length != UINT64_MAX && length > PX_BODY_MAX)
        px_respond_problem(request, MHD_HTTP_CONTENT_TOO_LARGE, "invalid_request", "the body is larger than 32 MiB",
                           "Upload data as files.");
    else if (px_route_session(request) < 0)
        px_respond_problem(request, MHD_HTTP_NOT_FOUND, "session_not_found", "not a valid session id",
                           "Use 1 to 128 of A-Z a-z 0-9 . _ : - (and not \".\" or \"..\").");
}

/* ---- The route ---- */

/* One handler is done with the request. After the last one the connection is no longer watched. */
static void finish(struct px_http_request *request)
{
    pthread_mutex_lock(&request->lock);
    bool last = --request->serving == 0;
    pthread_mutex_unlock(&request->lock);
    if (last)
        px_unwatch_request(request->server->watcher, request);
    px_http_request_release(request);
}

static void serve(struct px_http_request *request, void (*answer)(struct px_http_request *request))
{
    pyexec_error error;
    if (!request->cancelled) {
        answer(request);
    } else if (px_http_request_is_lost(request)) { /* the client went away while the request waited */
        px_respond_empty(request, MHD_HTTP_NO_CONTENT);
    } else {
        px_error_set(&error, PYEXEC_SHUTTING_DOWN, "the server is shutting down");
        px_respond_error(request, &error);
    }
    finish(request);
}

static void serve_job(struct px_job *job)
{
    struct px_http_request *request = (struct px_http_request *)job;
    serve(request, request->route->serve);
}

static void serve_moved(struct px_job *job)
{
    struct px_http_request *request = (struct px_http_request *)job;
    serve(request, request->moved_to);
}

/* While the server waits for its sessions to end, only calls of sessions begin to run. */
static int check_draining(const struct px_http_request *request, const struct px_schedule *schedule,
                          const char *session, pyexec_error *error)
{
    if (!request->server->draining || schedule != request->server->runs || session)
        return 0;
    return px_error_set(error, PYEXEC_SHUTTING_DOWN, "the server is shutting down");
}

/* Adds the request to a schedule. On failure nothing has changed, and the caller answers the request. */
static int submit(struct px_http_request *request, struct px_schedule *schedule, const char *session,
                  void (*run)(struct px_job *job), pyexec_error *error)
{
    pthread_mutex_lock(&request->lock);
    request->references++;
    request->serving++;
    pthread_mutex_unlock(&request->lock);
    request->job = (struct px_job){.principal = request->principal, .run = run, .session = session};
    if (check_draining(request, schedule, session, error) == 0 && px_drive_submit(schedule, &request->job, error) == 0)
        return 0;
    finish(request);
    return -1;
}

int px_http_request_move(struct px_http_request *request, void (*run)(struct px_http_request *request),
                         pyexec_error *error)
{
    request->moved_to = run;
    return submit(request, request->server->runs, request->session, serve_moved, error);
}

int px_http_request_move_apart(struct px_http_request *request, void (*run)(struct px_http_request *request),
                               pyexec_error *error)
{
    request->moved_to = run;
    return submit(request, request->server->runs, NULL, serve_moved, error);
}

static void serve_forwarded(struct px_job *job)
{
    serve((struct px_http_request *)job, px_forward_serve);
}

/* Where the request waits for its turn, and what runs it then. */
static int submit_first(struct px_http_request *request, pyexec_error *error)
{
    struct px_server *server = request->server;
    struct px_schedule *others = request->route->late ? server->late : server->chores;
    if (px_metrics_asks_nodes(request))
        return submit(request, server->chores, NULL, serve_job, error);
    if (server->options->fleet) /* a stream or a long poll must not take a thread that a tool's answer needs */
        return submit(request,
                      request->route->late && strcmp(request->route->method, "GET") != 0 ? others : server->runs, NULL,
                      serve_forwarded, error);
    request->before_runs = request->route->runs && !request->route->dialects && px_execution_may_detach(request);
    bool runs = request->route->runs && !request->before_runs;
    return submit(request, runs ? server->runs : others, runs ? request->session : NULL, serve_job, error);
}

static void dispatch(struct px_http_request *request)
{
    struct px_server *server = request->server;
    pyexec_error error;
    pthread_mutex_lock(&request->lock);
    px_http_request_change(request, PX_HTTP_DISPATCH);
    pthread_mutex_unlock(&request->lock);
    px_watch_deadline(server->watcher, request->connection, 0);
    if (request->body_error.code != PYEXEC_OK && px_body_is_streamed(request)) {
        px_file_routes_answer_error(request, &request->body_error);
        return;
    }
    if (request->body_error.code != PYEXEC_OK) {
        px_respond_error(request, &request->body_error);
        return;
    }
    if (request->route->inline_ && !px_metrics_asks_nodes(request)) {
        request->route->serve(request);
        return;
    }
    pthread_mutex_lock(&request->lock);
    MHD_suspend_connection(request->connection);
    request->suspended = true;
    pthread_mutex_unlock(&request->lock);
    px_watch_request(server->watcher, request);
    if (submit_first(request, &error) < 0)
        px_respond_error(request, &error);
}

static enum MHD_Result send_answer(struct px_http_request *request)
{
    pthread_mutex_lock(&request->lock);
    struct MHD_Response *response = TAKE_PTR(request->response);
    pthread_mutex_unlock(&request->lock);
    if (!response)
        return MHD_NO;
    if (request->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, "Allow", px_route_allow(request));
    if (!request->stream && !request->streams)
        px_watch_deadline(request->server->watcher, request->connection,
                          px_http_patience(request->server, request->answer_bytes));
    /* The unread rest of a body stands before the next request on this connection, so no next request is possible. */
    if ((request->state == PX_HTTP_REFUSED && announced(request) && !is_read_first(request)) || request->ambiguous ||
        request->server->draining)
        MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result result = MHD_queue_response(request->connection, (unsigned)request->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result handle(void *closure, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_size, void **context)
{
    struct px_http_request *request = *context;
    (void)closure;
    (void)connection;
    (void)url;
    if (!request)
        return MHD_NO;
    if (!*request->method) {
        snprintf(request->method, sizeof request->method, "%s", method);
        begin(request, version);
        return request->status && !is_read_first(request) ? send_answer(request) : MHD_YES;
    }
    if (*upload_size) {
        px_body_take(request, upload, *upload_size);
        *upload_size = 0;
        bool hopeless = request->body_error.code != PYEXEC_OK && request->body_bytes > ANSWER_BYTES_DROPPED;
        return hopeless ? MHD_NO : MHD_YES;
    }
    if (request->state == PX_HTTP_READING)
        dispatch(request);
    pthread_mutex_lock(&request->lock);
    bool ready = request->status != 0 && !request->suspended;
    pthread_mutex_unlock(&request->lock);
    return ready ? send_answer(request) : MHD_YES;
}

/* Keeps libmicrohttpd from decoding the path and the query: px_decode() does it, and refuses malformed ones. */
static size_t leave_encoded(void *closure, struct MHD_Connection *connection, char *text)
{
    (void)closure;
    (void)connection;
    return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void log_problem(void *closure, const char *format, va_list arguments)
{
    struct px_server *server = closure;
    char text[512];
    vsnprintf(text, sizeof text, format, arguments);
    text[strcspn(text, "\n")] = '\0';
    px_log_event(&server->log, "http", text);
}

int px_http_start(struct px_listener *listener, pyexec_error *error)
{
    struct px_server *server = listener->server;
    unsigned most = (unsigned)server->options->config->max_connections;
    /* One second later than the watcher, which tells the client the reason before it closes the connection. */
    unsigned idle = (unsigned)((server->options->config->idle_timeout_ms + 999) / 1000) + 1;
    listener->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, handle, listener,
        MHD_OPTION_EXTERNAL_LOGGER, log_problem, server, MHD_OPTION_LISTEN_SOCKET, listener->fd,
        MHD_OPTION_URI_LOG_CALLBACK, new_request, listener, MHD_OPTION_NOTIFY_COMPLETED, completed, listener,
        MHD_OPTION_NOTIFY_CONNECTION, px_watch_connection, server->watcher, MHD_OPTION_UNESCAPE_CALLBACK, leave_encoded,
        NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS_BYTES, MHD_OPTION_CONNECTION_LIMIT, most,
        MHD_OPTION_CONNECTION_TIMEOUT, idle, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (!listener->daemon)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't serve on %s", listener->name);
    return px_drive_start(listener, error);
}
