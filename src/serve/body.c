/* SPDX-License-Identifier: Apache-2.0 */
/* Receiving the body of a request: how much memory it may take, and how fast it must arrive. */
#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/json.h"
#include "jsonrpc/json_diagnose.h"
#include "serve/server.h"

static int too_large(pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "the body is larger than 32 MiB");
    px_error_hint(error, "Upload data as files.");
    error->sys_errno = EMSGSIZE;
    return -1;
}

/* The bodies of one principal may take at most twice the memory that they leave free. A principal that is alone
 * can use two thirds of the memory, and some always remains for others. */
static int refuse_share(pyexec_error *error)
{
    px_error_set(error, PYEXEC_OVERLOADED, "this caller's requests take more than their share of %u MiB",
                 PX_BODIES_MAX >> 20);
    error->retry_after_ms = 1000;
    error->sys_errno = EAGAIN; /* EAGAIN makes it 429: the caller itself is the reason */
    return px_error_hint(error, "Send it again when earlier requests have been answered.");
}

static int reserve(struct px_http_request *request, uint64_t bytes, pyexec_error *error)
{
    struct px_principal *principal = request->principal;
    uint64_t all = (uint64_t)request->server->bodies_bytes + bytes;
    uint64_t own = (uint64_t)(principal ? principal->bodies_bytes : 0) + bytes;
    if (all <= PX_BODIES_MAX && own > 2 * (PX_BODIES_MAX - all))
        return refuse_share(error);
    if (all > PX_BODIES_MAX) {
        px_error_set(error, PYEXEC_OVERLOADED, "request bodies use all of the %u MiB that the server has for them",
                     PX_BODIES_MAX >> 20);
        error->retry_after_ms = 1000;
        return px_error_hint(error, "Send it again later.");
    }
    request->reserved += bytes;
    request->server->bodies_bytes += (long)bytes;
    if (principal)
        principal->bodies_bytes += (long)bytes;
    return 0;
}

void px_body_release(struct px_http_request *request)
{
    request->server->bodies_bytes -= (long)request->reserved;
    if (request->principal)
        request->principal->bodies_bytes -= (long)request->reserved;
    request->reserved = 0;
}

int px_http_request_weigh(struct px_http_request *request, pyexec_error *error)
{
    uint64_t bytes = px_json_memory_estimate(px_buffer_string(&request->body), request->body.length).bytes;
    return bytes > PX_JSON_READ_MAX ? 0 : reserve(request, bytes, error);
}

json_t *px_http_request_object(struct px_http_request *request, const char *hint, pyexec_error *error)
{
    json_error_t problem = {.text = "it is not an object"};
    const char *text = px_buffer_string(&request->body);
    if (px_http_request_weigh(request, error) < 0)
        return NULL;
    if (!request->body.length)
        return json_object();
    px_auto_json json_t *object =
        px_json_read(text, request->body.length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (json_is_object(object))
        return json_incref(object);
    if (!object && px_json_no_memory(&problem)) {
        px_error_oom(error);
        return NULL;
    }
    if (!object && px_json_diagnose(text, request->body.length, &problem, error))
        return NULL;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "the body is not a JSON object: %s", problem.text);
    px_error_hint(error, "%s", hint);
    return NULL;
}

static int keep_body(struct px_http_request *request, const char *bytes, size_t length, pyexec_error *error)
{
    if (request->body_bytes > PX_BODY_MAX)
        return too_large(error);
    if (request->route->body == PX_BODY_NONE)
        return 0;
    if (reserve(request, length, error) < 0)
        return -1;
    px_buffer_add(&request->body, bytes, length);
    return px_buffer_ok(&request->body) ? 0 : px_error_oom(error);
}

static int stream_body(struct px_http_request *request, const char *bytes, size_t length, pyexec_error *error)
{
    if (request->body_fd < 0 && request->route->open_body(request, error) < 0)
        return -1;
    int failed = length > request->body_room ? ENOSPC : px_write_all(request->body_fd, bytes, length) < 0 ? errno : 0;
    if (failed) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, failed, "can't write the uploaded file");
        return px_error_hint(error, "Delete files, or ask the operator of the server to raise workspace_bytes of "
                                    "the policy.");
    }
    request->body_room -= length;
    return 0;
}

/* ---- How fast it must arrive ---- */

static void set_deadline(struct px_http_request *request, int64_t deadline_ns)
{
    request->body_deadline_ns = deadline_ns;
    px_watch_body(request->server->watcher, request->connection, deadline_ns);
}

void px_body_await(struct px_http_request *request)
{
    set_deadline(request, px_now_ns() + px_http_patience(request->server, 0));
}

/* Each byte extends the deadline, but never beyond the time that a new request has. So a client that sends much at
 * once and then stops is cut off like any other. */
static void move_deadline(struct px_http_request *request, size_t length)
{
    int64_t most = px_now_ns() + px_http_patience(request->server, 0);
    int64_t bought = (int64_t)length * (INT64_C(1000000000) / PX_SLOWEST_BYTES_PER_SECOND);
    int64_t deadline = request->body_deadline_ns + bought;
    set_deadline(request, deadline < most ? deadline : most);
}

bool px_body_is_late(const struct px_http_request *request)
{
    return request->state == PX_HTTP_READING && request->body_deadline_ns && px_now_ns() >= request->body_deadline_ns;
}

bool px_body_is_streamed(const struct px_http_request *request)
{
    return request->route->body == PX_BODY_FILE && !request->server->options->fleet;
}

void px_body_take(struct px_http_request *request, const char *bytes, size_t length)
{
    pyexec_error *error = &request->body_error;
    request->body_bytes += length;
    move_deadline(request, length);
    if (error->code != PYEXEC_OK || request->status)
        return;
    if (px_body_is_streamed(request))
        stream_body(request, bytes, length, error);
    else
        keep_body(request, bytes, length, error);
}
