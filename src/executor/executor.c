/* SPDX-License-Identifier: Apache-2.0 */
/* The public executor: its configuration, its life, and single runs. The runs themselves are in run.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/processors.h"
#include "executor/runtime.h"
#include "executor/session.h"
#include "executor/version.h"
#include "policy/request.h"
#include "result/result.h"
#include "result/run_status.h"
#include "runner/run.h"

const char *pyexec_version(void)
{
    return PX_VERSION;
}

static int find_environments(pyexec_executor *executor, const json_t *env, pyexec_error *error)
{
    if (px_env_config_init(&executor->env_config, error) < 0 ||
        (env && px_env_config_merge_json(&executor->env_config, env, error) < 0) ||
        (px_environments_new(executor->env_config.root, &executor->environments, error) < 0 &&
         (error->code != PYEXEC_INVALID_POLICY || *executor->policy.environment)))
        return -1;
    return px_policy_find_environment(&executor->policy, executor->environments, error);
}

/* The sections of `config`; each may be missing, and `config` may be NULL. */
static int configure(pyexec_executor *executor, const json_t *config, pyexec_error *error)
{
    const json_t *policy = json_object_get(config, "policy"), *session = json_object_get(config, "session");
    const json_t *host = json_object_get(config, "host"), *egress = json_object_get(config, "egress");
    int result = -1;
    if (px_policy_init(&executor->policy, error) == 0 && px_host_init(&executor->host, error) == 0 &&
        px_session_config_init(&executor->session_config, error) == 0 &&
        px_egress_config_init(&executor->egress_config, error) == 0)
        result = 0;
    if (result == 0 && session)
        result = px_session_config_merge_json(&executor->session_config, session, error);
    if (result == 0)
        result = px_session_config_check(&executor->session_config, error);
    if (result == 0 && policy)
        result = px_policy_merge_json(&executor->policy, policy, PX_ORIGIN_FLAG, error);
    if (result == 0 && host)
        result = px_host_merge_json(&executor->host, host, error);
    if (result == 0 && egress)
        result = px_egress_config_merge_json(&executor->egress_config, egress, error);
    if (result == 0)
        result = px_policy_check(&executor->policy, error);
    if (result == 0)
        result = find_environments(executor, json_object_get(config, "env"), error);
    if (result == 0 && executor->egress_config.secrets)
        result = px_secret_sources_read(executor->egress_config.secrets, &executor->secrets, error);
    if (result == 0)
        result = px_secret_sources_take_environment(&executor->secrets, error);
    if (result < 0)
        return -1;
    executor->allow_missing = px_runtime_allowed(&executor->host);
    executor->processors = px_processors();
    executor->host.max_concurrent = px_turns_for(executor->host.max_concurrent);
    px_turns_configure(&executor->turns, &executor->host, &executor->policy);
    px_kinds_init(&executor->kinds, &executor->host);
    executor->policy_json = px_json_take_text(px_policy_to_json(&executor->policy));
    return executor->policy_json ? 0 : px_error_oom(error);
}

void pyexec_executor_free(pyexec_executor *executor)
{
    if (!executor)
        return;
    pthread_mutex_lock(&executor->lock);
    executor->closing = true;
    pthread_cond_broadcast(&executor->changed);
    pthread_mutex_unlock(&executor->lock);
    px_turns_close(&executor->turns);
    /* When the supervisor ends, every run ends, and so does every call in progress. A call may have started a
     * new supervisor. */
    do {
        pthread_mutex_lock(&executor->lock);
        if (executor->launcher)
            px_launcher_stop(executor->launcher);
        pthread_mutex_unlock(&executor->lock);
    } while (!px_turns_await_end(&executor->turns));
    px_sessions_free(executor->sessions);
    px_runtime_end(executor);
    px_proxy_free(executor->proxy);
    px_session_config_done(&executor->session_config);
    px_egress_config_done(&executor->egress_config);
    px_secret_sources_done(&executor->secrets);
    px_policy_done(&executor->policy);
    px_environments_free(executor->environments);
    px_env_config_done(&executor->env_config);
    px_host_done(&executor->host);
    free(executor->policy_json);
    free(executor->missing_json);
    free(executor->info_json);
    pthread_mutex_destroy(&executor->lock);
    pthread_mutex_destroy(&executor->start_lock);
    pthread_cond_destroy(&executor->changed);
    px_turns_done(&executor->turns);
    free(executor);
}

static void describe(pyexec_executor *executor, const struct px_zygotes *zygotes)
{
    px_layers missing = px_zygotes_missing(zygotes), all = ((px_layers)1 << PX_LAYER_COUNT) - 1;
    executor->missing = missing;
    const char *unused;
    /* A host without this layer; it is not missing, because nobody asked for it. */
    px_layers cgroup = px_launcher_cgroup(executor->launcher, &unused) ? 0 : PX_LAYER_BIT(PX_LAYER_CGROUP);
    px_layers layers = all & ~missing & ~cgroup;
    snprintf(executor->python_text, sizeof executor->python_text, "%s", px_zygotes_ready(zygotes)->python_text);
    executor->missing_json = px_json_take_text(px_layers_to_json(missing));
    executor->info_json = px_json_take_text(
        json_pack("{s:s, s:s, s:o, s:o}", "version", PX_VERSION, "python", px_zygotes_ready(zygotes)->python_text,
                  "layers", px_layers_to_json(layers), "missing_layers", px_layers_to_json(missing)));
}

static int new_executor(const json_t *config, pyexec_executor **ret, pyexec_error *error)
{
    pyexec_executor *executor = calloc(1, sizeof *executor);
    if (!executor)
        return px_error_oom(error);
    pthread_mutex_init(&executor->lock, NULL);
    pthread_mutex_init(&executor->start_lock, NULL);
    pthread_cond_init(&executor->changed, NULL);
    px_turns_init(&executor->turns);
    struct px_zygote_group *kind = NULL;
    if (configure(executor, config, error) < 0 || px_runtime_acquire(executor, &executor->policy, &kind, error) < 0) {
        pyexec_executor_free(executor);
        return -1;
    }
    describe(executor, kind->zygotes);
    px_runtime_release(executor, kind);
    *ret = executor;
    return 0;
}

int pyexec_executor_new(const char *policy_json, const char *host_json, pyexec_executor **ret, pyexec_error *error)
{
    px_auto_json json_t *policy = NULL, *host = NULL, *config = NULL;
    if (px_runtime_load_json(policy_json, "policy", &policy, error) < 0 ||
        px_runtime_load_json(host_json, "host", &host, error) < 0)
        return -1;
    config = json_object();
    if (policy)
        px_json_set(config, "policy", json_incref(policy));
    if (host)
        px_json_set(config, "host", json_incref(host));
    return json_is_object(config) ? new_executor(config, ret, error) : px_error_oom(error);
}

int pyexec_executor_open(const char *config_json, pyexec_executor **ret, pyexec_error *error)
{
    px_auto_json json_t *config = NULL;
    if (px_runtime_load_json(config_json, "configuration", &config, error) < 0)
        return -1;
    return pyexec_executor_open_object(config, ret, error);
}

int pyexec_executor_open_object(json_t *config, pyexec_executor **ret, pyexec_error *error)
{
    static const char *const names[] = {"policy", "session", "host", "egress", "env"};
    json_t *value;
    const char *key;
    int result = 0;
    if (config && !json_is_object(config))
        return px_error_set(error, PYEXEC_INVALID_POLICY, "configuration: not a JSON object");
    json_object_foreach(config, key, value) {
        size_t i = 0;
        while (i < PX_COUNT(names) && strcmp(key, names[i]) != 0)
            i++;
        if (result == 0 && (i == PX_COUNT(names) || !json_is_object(value)))
            result =
                px_error_set(error, PYEXEC_INVALID_POLICY,
                             "configuration: '%s' is not an object named policy, session, host, egress or env", key);
    }
    if (result == 0)
        result = new_executor(config, ret, error);
    return result;
}

void pyexec_executor_use_principals(pyexec_executor *executor)
{
    executor->principals = true;
}

const char *pyexec_executor_policy_json(pyexec_executor *executor)
{
    return executor->policy_json;
}

const char *pyexec_executor_missing_layers_json(pyexec_executor *executor)
{
    return executor->missing_json ? executor->missing_json : "[]";
}

const char *pyexec_executor_info_json(pyexec_executor *executor)
{
    return executor->info_json ? executor->info_json : "{}";
}

const char *pyexec_executor_python(pyexec_executor *executor)
{
    return executor->python_text;
}

static int execute(pyexec_executor *executor, pyexec_request *request, const struct px_policy *policy,
                   struct px_turn *turn, pyexec_result **ret, pyexec_error *error)
{
    struct px_zygote_group *kind;
    struct px_tool_list tools;
    if (px_tools_inherit(request, NULL, error) < 0 || px_tool_list_fill(&tools, request, error) < 0)
        return -1;
    if (px_runtime_acquire(executor, policy, &kind, error) < 0)
        return -1;
    struct px_run_context context = px_runtime_context(executor, kind, policy, request, turn);
    context.proxy = policy->allowed_hosts.count ? executor->proxy : NULL;
    context.pool = kind->pool;
    context.tools = tools.count ? &tools : NULL;
    context.max_wait_ns = executor->host.max_wait_ms * PX_NS_PER_MS;
    int result = px_runtime_check_limits(policy, kind->zygotes, error);
    if (result == 0)
        result = px_run_once(&context, ret, error);
    px_runtime_release(executor, kind);
    if (px_runtime_closing(executor)) {
        if (result < 0)
            return px_error_set(error, PYEXEC_SHUTTING_DOWN, "the executor is being closed");
        if ((*ret)->status == PYEXEC_STATUS_KILLED)
            return px_run_status_cancelled(*ret) < 0 ? px_error_oom(error) : 0;
    }
    return result;
}

int px_execute_once(pyexec_executor *executor, pyexec_request *request, pyexec_result **ret, pyexec_error *error)
{
    px_auto(px_policy_done) struct px_policy merged = {0};
    if (px_request_check(request, error) < 0)
        return -1;
    if (request->session_policy) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "session_policy: a single run has no session");
        return px_error_hint(error, "Use policy.");
    }
    if (request->checkpoint == PX_CHECKPOINT_YES) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "checkpoint: a single run has no session");
        return px_error_hint(error, "Leave it out, or execute in a session.");
    }
    const struct px_policy *policy =
        px_request_policy(request, false, &executor->policy, &executor->policy, executor->environments, &merged, error);
    if (!policy || px_runtime_check(request, policy, error) < 0)
        return -1;
    struct px_turn own = {0}, *turn = px_runtime_admit(executor, request, &own, error);
    if (!turn)
        return -1;
    int result = execute(executor, request, policy, turn, ret, error);
    px_runtime_leave(&own);
    if (result == 0) {
        px_environments_explain(executor, request, policy, *ret);
        px_runtime_count(executor, *ret);
    }
    return result;
}
