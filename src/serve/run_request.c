/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/run_request.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "policy/policy.h"
#include "serve/server.h"

int px_run_request_check(struct px_http_request *request, pyexec_error *error)
{
    if (request->principal->kept_bytes - request->kept_bytes < (long)PX_UNREAD_MAX)
        return 0;
    px_error_set(error, PYEXEC_OVERLOADED, "too many unread responses for this caller (limit %u MiB)",
                 PX_UNREAD_MAX >> 20);
    error->retry_after_ms = 1000;
    return px_error_hint(error, "Read the answers of earlier calls, or close their connections.");
}

int px_run_request(struct px_http_request *request, pyexec_request *run, pyexec_result **ret, pyexec_error *error)
{
    struct px_server *server = request->server;
    pyexec_result *result = NULL;
    px_histogram_add(&server->metrics.waits, px_now_ns() - request->job.submitted_ns);
    if (px_run_request_check(request, error) < 0)
        return -1;
    px_principals_limit(&server->principals, request->principal, run);
    px_http_request_run(request, run);
    pyexec_request_set_turn(run, request->job.turn);
    int64_t began = px_now_ns();
    int status = request->session_key ? pyexec_execute(server->executor, request->session_key, run, &result, error)
                                      : pyexec_execute_once(server->executor, run, &result, error);
    px_histogram_add(&server->metrics.executions, px_now_ns() - began);
    px_http_request_run(request, NULL);
    if (pyexec_request_was_sent(run))
        px_log_run(&server->log, request, result, error);
    const char *text = status == 0 ? pyexec_result_json(result) : NULL;
    if (status == 0 && !text) {
        pyexec_result_free(result);
        return px_error_oom(error);
    }
    if (status < 0)
        return -1;
    request->outcome = pyexec_status_name(pyexec_result_status(result));
    *ret = result;
    return 0;
}

int px_run_request_policy(struct px_http_request *request, struct px_policy *ret, pyexec_error *error)
{
    px_auto(px_policy_done) struct px_policy most = {0};
    px_auto_json json_t *limits = px_principals_ceiling(&request->server->principals, request->principal);
    if (px_policy_copy(ret, request->server->options->policy, error) < 0)
        return -1;
    if (!json_object_size(limits))
        return 0;
    memset(ret->origin, PX_ORIGIN_FILE,
           sizeof ret->origin); /* the caller asked for none of these values, so a ceiling may lower each */
    if (px_policy_copy(&most, ret, error) < 0 || px_policy_merge_json(&most, limits, PX_ORIGIN_FILE, error) < 0)
        return -1;
    return px_policy_limit(ret, &most, false, error);
}
