/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that all measurements of `pyexec bench` use: making an executor, a request and a call. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "bench/bench.h"
#include "cli/handles.h"

int bench_new_executor(const struct cli_settings *settings, int64_t zygotes, bool pool, const json_t *policy_changes,
                       pyexec_executor **ret, pyexec_error *error)
{
    px_auto_free char *policy = NULL, *host = NULL;
    struct cli_settings changed = *settings; /* a copy that borrows the strings; only numbers change */
    changed.host.zygotes = zygotes;
    if (!pool)
        changed.host.pool_size = 0;
    if (cli_settings_json(&changed, &policy, &host, error) < 0)
        return -1;
    json_t *config = json_pack("{s:o, s:{s:i}, s:o}", "policy", px_json_loads(policy, 0, NULL), "session", "max_count",
                               0, "host", px_json_loads(host, 0, NULL));
    if (config && policy_changes)
        px_json_merge(json_object_get(config, "policy"), json_incref((json_t *)(uintptr_t)policy_changes));
    px_auto_free char *text = px_json_take_text(config);
    return text ? pyexec_executor_open(text, ret, error) : px_error_oom(error);
}

pyexec_request *bench_request(pyexec_error *error)
{
    cli_auto_request pyexec_request *request = pyexec_request_new();
    if (request && pyexec_request_set_code(request, "1+1", 3) == 0)
        return TAKE_PTR(request);
    px_error_exhausted(error, errno, "can't make the request");
    return NULL;
}

int bench_call(pyexec_executor *executor, const char *session, pyexec_request *request, double *ret_us,
               pyexec_error *error)
{
    cli_auto_result pyexec_result *result = NULL;
    int64_t start = px_now_ns();
    if ((session ? pyexec_execute(executor, session, request, &result, error)
                 : pyexec_execute_once(executor, request, &result, error)) < 0)
        return -1;
    *ret_us = (double)(px_now_ns() - start) / 1000;
    if (pyexec_result_status(result) == PYEXEC_STATUS_OK)
        return 0;
    const char *repr = pyexec_result_error_repr(result);
    return px_error_set(error, PYEXEC_INTERNAL, "bench: a run ended with status %s: %s",
                        pyexec_status_name(pyexec_result_status(result)), repr ? repr : "");
}
