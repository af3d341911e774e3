/* SPDX-License-Identifier: Apache-2.0 */
/* Verify: a solution and its tests. It takes a turn as a run does, and is counted and logged as one. */
#include "serve/verify_route.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "serve/run_request.h"
#include "serve/server.h"

static json_t *read_body(struct px_http_request *request, pyexec_error *error)
{
    json_error_t problem;
    if (px_http_request_weigh(request, error) < 0)
        return NULL;
    json_t *object = px_json_read(px_buffer_string(&request->body), request->body.length,
                                  JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (object)
        return object;
    if (px_json_no_memory(&problem)) {
        px_error_oom(error);
        return NULL;
    }
    px_error_set(error, PYEXEC_INVALID_REQUEST, "the body is not JSON: %s", problem.text);
    px_error_hint(error, "Send {\"solution\": code, \"tests\": [...]}.");
    return NULL;
}

static void verify_now(struct px_http_request *request)
{
    pyexec_error error;
    px_auto_free char *text = NULL;
    px_auto_json json_t *body = read_body(request, &error);
    pyexec_request *run = body ? pyexec_request_new() : NULL;
    if (body && !run)
        px_error_exhausted(&error, errno, "can't make the request");
    const json_t *solution = json_object_get(body, "solution");
    if (json_is_string(solution))
        px_log_hash(&request->server->log, request, json_string_value(solution), json_string_length(solution));
    if (run && px_run_request_verify(request, run, body, &text, &error) == 0)
        px_respond_json(request, MHD_HTTP_OK, TAKE_PTR(text));
    else
        px_respond_error(request, &error);
    pyexec_request_free(run);
}

void px_verify_route_serve(struct px_http_request *request)
{
    pyexec_error error;
    if (px_http_request_move_apart(request, verify_now, &error) < 0)
        px_respond_error(request, &error);
}
