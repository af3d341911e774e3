/* SPDX-License-Identifier: Apache-2.0 */
/* Forks of a session. A fork starts processes, so it takes a turn as a run does. It does not wait for other calls of its session:
 * a session with a call is busy and can't be forked. */
#include "serve/fork_route.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fork_ids.h"
#include "base/json.h"
#include "base/spelling.h"
#include "serve/server.h"

/* Reads the optional body: {"ids": […]} or {"count": N}. */
static json_t *read_body(struct px_http_request *request, pyexec_error *error)
{
    static const char hint[] = "Send {\"ids\": list} or {\"count\": number}. Without a body one session is made.";
    px_auto_json json_t *object = px_http_request_object(request, hint, error);
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
        if (!px_word_is_listed("ids count", key)) {
            px_error_set(error, PYEXEC_INVALID_REQUEST, "the body has a member '%.100s'", key);
            px_error_hint(error, "%s", hint);
            return NULL;
        }
    return json_incref(object);
}

static void answer(struct px_http_request *request, const json_t *forked, const pyexec_error *error)
{
    if (forked)
        px_respond_json(request, MHD_HTTP_CREATED, px_json_dumps(forked, JSON_COMPACT));
    else if (error->code == PYEXEC_INVALID_REQUEST && error->sys_errno == EEXIST)
        px_respond_problem(request, MHD_HTTP_CONFLICT, "conflict", error->message, error->hint);
    else
        px_respond_error(request, error);
}

static void fork_now(struct px_http_request *request)
{
    pyexec_error error;
    px_auto(px_fork_ids_done) struct px_fork_ids ids = {0};
    px_auto_json json_t *body = read_body(request, &error), *forked = NULL;
    if (body && px_fork_ids_read(body, &ids, &error) == 0)
        pyexec_session_fork_object(request->server->executor, request->job.turn, request->session_key, ids.ids,
                                   ids.count, &forked, &error);
    answer(request, forked, &error);
}

void px_fork_route_serve(struct px_http_request *request)
{
    pyexec_error error;
    if (px_http_request_move_apart(request, fork_now, &error) < 0)
        px_respond_error(request, &error);
}
