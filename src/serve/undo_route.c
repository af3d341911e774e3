/* SPDX-License-Identifier: Apache-2.0 */
/* The return of a session to a state that it has kept. It takes a turn as a run does, and does not wait for other calls of its
 * session: a session with a call is busy. */
#include "serve/undo_route.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "serve/server.h"

/* Reads the optional body: {"to": N}. Returns 0, or -1 with `error`. */
static int read_to(struct px_http_request *request, uint64_t *ret, pyexec_error *error)
{
    static const char hint[] = "Send {\"to\": the execution count of a call}, or no body.";
    px_auto_json json_t *object = px_http_request_object(request, hint, error);
    if (!object)
        return -1;
    const json_t *to = json_object_get(object, "to");
    *ret = (uint64_t)json_integer_value(to);
    if (json_object_size(object) == (to ? 1 : 0) && (!to || json_is_null(to) || json_integer_value(to) > 0))
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "the body must be {\"to\": the execution count of a call, from 1 on}");
    return px_error_hint(error, "Without a body the session returns to the last state that is kept.");
}

static void answer(struct px_http_request *request, int status, char **text, const pyexec_error *error)
{
    if (status == 0)
        px_respond_json(request, MHD_HTTP_OK, TAKE_PTR(*text));
    else
        px_respond_error(request, error);
}

static void undo_now(struct px_http_request *request)
{
    pyexec_error error;
    px_auto_free char *text = NULL;
    uint64_t to;
    int status = read_to(request, &to, &error);
    if (status == 0)
        status = pyexec_session_undo(request->server->executor, request->session_key, to, &text, &error);
    answer(request, status, &text, &error);
}

/* A reset always returns to the same state, so a body with members is a mistake, such as {"to": N}. */
static int read_nothing(struct px_http_request *request, pyexec_error *error)
{
    px_auto_json json_t *object = px_http_request_object(request, "Send no body.", error);
    if (!object)
        return -1;
    if (json_object_size(object) == 0)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "a reset takes no members");
    return px_error_hint(error, "Send no body. POST .../undo takes {\"to\": the execution count of a call}.");
}

static void reset_now(struct px_http_request *request)
{
    pyexec_error error;
    px_auto_free char *text = NULL;
    int status = read_nothing(request, &error);
    if (status == 0)
        status = pyexec_session_reset(request->server->executor, request->session_key, &text, &error);
    answer(request, status, &text, &error);
}

static void serve(struct px_http_request *request, void (*run)(struct px_http_request *request))
{
    pyexec_error error;
    if (px_http_request_move_apart(request, run, &error) < 0)
        px_respond_error(request, &error);
}

void px_undo_route_serve(struct px_http_request *request)
{
    serve(request, undo_now);
}

void px_undo_route_serve_reset(struct px_http_request *request)
{
    serve(request, reset_now);
}
