/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that all measurements of `pyexec bench` use: making an executor, a request and a call. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "bench/bench.h"
#include "cli/handles.h"

int bench_new_executor(const struct cli_settings *settings, int64_t zygotes, bool pool, const json_t *policy_changes,
                       pyexec_executor **ret, pyexec_error *error)
{
    struct cli_settings changed = *settings; /* a copy that borrows the strings; only numbers change */
    changed.host.zygotes = zygotes;
    if (!pool)
        changed.host.pool_size = 0;
    px_auto_json json_t *config = cli_settings_config(&changed, NULL, error);
    if (!config)
        return -1;
    px_json_set(config, "session", json_pack("{s:i}", "max_count", 0));
    if (policy_changes)
        px_json_merge(json_object_get(config, "policy"), json_incref((json_t *)(uintptr_t)policy_changes));
    return json_is_object(config) ? pyexec_executor_open_object(config, ret, error) : px_error_oom(error);
}

int bench_find_python(char **ret, const struct cli_settings *settings, pyexec_error *error)
{
    json_t *doctor;
    if (cli_settings_examine(settings, false, &doctor, error) < 0)
        return -1;
    const char *path = json_string_value(json_object_get(json_object_get(doctor, "python"), "path"));
    *ret = strdup(path && *path ? path : settings->policy.python_bin);
    json_decref(doctor);
    return *ret ? 0 : px_error_oom(error);
}

pyexec_request *bench_request_code(const char *code, pyexec_error *error)
{
    cli_auto_request pyexec_request *request = pyexec_request_new();
    if (request && pyexec_request_set_code(request, code, strlen(code)) == 0)
        return TAKE_PTR(request);
    px_error_exhausted(error, errno, "can't make the request");
    return NULL;
}

pyexec_request *bench_request(pyexec_error *error)
{
    return bench_request_code("1+1", error);
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
