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

static void verify_now(struct px_http_request *request)
{
    pyexec_error error;
    px_auto_free char *text = NULL;
    px_auto_json json_t *body = px_http_request_object(request, "Send {\"solution\": code, \"tests\": [...]}.", &error);
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
