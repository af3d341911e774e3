/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of routes. Any thread may make one; the connection's thread sends it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "serve/route.h"
#include "serve/server.h"

/* Adds the headers for web pages of allowed_origins (Fetch standard, CORS protocol). */
static void add_origin(struct px_http_request *request, struct MHD_Response *response)
{
    const char *origin = px_http_request_header(request, "Origin");
    if (!origin || !px_origin_allowed(request->listener, origin, px_http_request_header(request, "Host")))
        return;
    MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
    MHD_add_response_header(response, "Access-Control-Expose-Headers",
                            "X-Request-Id, Retry-After, traceparent, Mcp-Session-Id");
    MHD_add_response_header(response, "Vary", "Origin");
}

void px_respond(struct px_http_request *request, int status, struct MHD_Response *response)
{
    if (response) {
        MHD_add_response_header(response, "X-Request-Id", request->id);
        if (*request->caller.trace_id) {
            struct px_trace_context own = request->caller;
            char trace[PX_TRACEPARENT_SIZE];
            memcpy(own.span_id, request->span, sizeof own.span_id);
            px_trace_context_format(&own, trace);
            MHD_add_response_header(response, "traceparent", trace);
        }
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
        add_origin(request, response);
    }
    if (!request->stream)
        px_http_request_end_turn(request);
    pthread_mutex_lock(&request->lock);
    request->response = response;
    px_http_request_change(request, request->stream ? PX_HTTP_BEGIN : PX_HTTP_ANSWER);
    request->status = response ? status : MHD_HTTP_INTERNAL_SERVER_ERROR;
    pthread_mutex_unlock(&request->lock);
    px_http_request_wake(request);
}

static void answer_bytes(struct px_http_request *request, int status, const char *type, char *text, size_t length,
                         const char *header, const char *value)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(text);
    } else {
        if (type)
            MHD_add_response_header(response, "Content-Type", type);
        if (header)
            MHD_add_response_header(response, header, value);
        MHD_add_response_header(response, "Cache-Control", "no-store");
    }
    if (strcmp(request->method, "HEAD") != 0)
        request->answer_bytes += length;
    px_http_request_keep(request, (long)length);
    px_respond(request, status, response);
}

void px_respond_text(struct px_http_request *request, int status, const char *type, const char *text, size_t length)
{
    char *copy = malloc(length + 1);
    if (copy)
        memcpy(copy, text, length);
    answer_bytes(request, status, type, copy, copy ? length : 0, NULL, NULL);
}

void px_respond_json(struct px_http_request *request, int status, char *text)
{
    pyexec_error error;
    if (text) {
        answer_bytes(request, status, "application/json", text, strlen(text), NULL, NULL);
        return;
    }
    px_error_oom(&error);
    px_respond_error(request, &error);
}

void px_respond_empty(struct px_http_request *request, int status)
{
    answer_bytes(request, status, NULL, NULL, 0, NULL, NULL);
}

char *px_problem_json(int status, const char *code, const char *title, const char *hint)
{
    return px_json_take_text(json_pack("{s:s, s:s, s:i, s:s, s:s}", "type", "about:blank", "title", title, "status",
                                       status, "code", code, "hint", hint));
}

void px_respond_problem(struct px_http_request *request, int status, const char *code, const char *title,
                        const char *hint)
{
    const char *header = status == MHD_HTTP_UNAUTHORIZED ? "WWW-Authenticate" : NULL;
    px_respond_problem_with(request, status, code, title, hint, header, "Bearer");
}

void px_respond_problem_with(struct px_http_request *request, int status, const char *code, const char *title,
                             const char *hint, const char *header, const char *value)
{
    char *text = px_problem_json(status, code, title, hint);
    if (!request->outcome)
        request->outcome = code;
    answer_bytes(request, status, "application/problem+json", text, text ? strlen(text) : 0, header, value);
}

int px_status_of(const pyexec_error *error)
{
    if (error->code == PYEXEC_OVERLOADED && error->sys_errno == EAGAIN)
        return MHD_HTTP_TOO_MANY_REQUESTS;
    if (error->code == PYEXEC_INVALID_REQUEST && error->sys_errno == EMSGSIZE)
        return MHD_HTTP_CONTENT_TOO_LARGE;
    return px_error_http_status(error->code);
}

void px_respond_error(struct px_http_request *request, const pyexec_error *error)
{
    int status = px_status_of(error);
    char seconds[16];
    int wait = (error->retry_after_ms + 999) / 1000;
    snprintf(seconds, sizeof seconds, "%d", wait > 0 ? wait : 1);
    bool again = status == MHD_HTTP_TOO_MANY_REQUESTS || status == MHD_HTTP_SERVICE_UNAVAILABLE;
    char *text = px_problem_json(status, pyexec_code_name(error->code), error->message, error->hint);
    request->server->metrics.errors[error->code]++;
    request->outcome = pyexec_code_name(error->code);
    answer_bytes(request, status, "application/problem+json", text, text ? strlen(text) : 0,
                 again ? "Retry-After" : NULL, seconds);
}

void px_respond_preflight(struct px_http_request *request)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (response) {
        MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, POST, PUT, DELETE");
        MHD_add_response_header(response, "Access-Control-Allow-Headers",
                                "Authorization, Content-Type, Accept, Last-Event-ID, Range, X-Request-Id, traceparent, "
                                "MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id");
        MHD_add_response_header(response, "Access-Control-Max-Age", "600");
    }
    px_respond(request, MHD_HTTP_NO_CONTENT, response);
}
