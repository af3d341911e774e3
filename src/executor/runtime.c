/* SPDX-License-Identifier: Apache-2.0 */
#include "executor/runtime.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "protocol/egress.h"
#include "result/result.h"
#include "runner/interpreter.h"
#include "runner/run_ids.h"
#include "runner/trace.h"

#define UIDS_MAX 1000000u
#define LAUNCHER_TRIES 3 /* launchers that may die before a kind is added */

px_layers px_runtime_allowed(const struct px_host *host)
{
    px_layers allowed = 0;
    for (size_t i = 0; i < host->allow_missing.count; i++)
        allowed |= px_layers_find(host->allow_missing.items[i]);
    return allowed;
}

int px_runtime_ids(const struct px_host *host, const char *python, px_layers allow_missing,
                   struct px_launcher_options *ret, pyexec_error *error)
{
    uid_t owner_uid;
    gid_t owner_gid;
    px_python_owner(python, &owner_uid, &owner_gid);
    *ret = (struct px_launcher_options){
        .allow_missing = allow_missing,
        .owner_uid = owner_uid,
        .owner_gid = owner_gid,
        .run_uid_count = 1,
        .cgroup = host->cgroup,
    };
    if (host->uid_range) {
        uint32_t first, count;
        if (!px_host_uid_range(host->uid_range, &first, &count) || count > UIDS_MAX)
            return px_error_set(error, PYEXEC_INVALID_POLICY,
                                "uid_range: '%s' is not START:COUNT with START above 0 and COUNT "
                                "up to %u",
                                host->uid_range, UIDS_MAX);
        ret->run_uid = first;
        ret->run_uid_count = count;
        ret->run_gid = first;
    } else {
        ret->run_uid = ret->run_gid = px_run_ids_default();
    }
    /* The overflow id stands for an owner that is not mapped in this namespace. One id can't be mapped twice. */
    if (ret->owner_uid >= ret->run_uid && ret->owner_uid < ret->run_uid + ret->run_uid_count)
        ret->owner_uid = geteuid();
    if (ret->owner_gid == ret->run_gid)
        ret->owner_gid = getegid();
    return 0;
}

int px_runtime_load_json(const char *text, const char *what, json_t **ret, pyexec_error *error)
{
    json_error_t problem;
    *ret = text ? px_json_loads(text, JSON_REJECT_DUPLICATES, &problem) : NULL;
    if (text && !*ret && px_json_no_memory(&problem))
        return px_error_oom(error);
    if (text && !json_is_object(*ret)) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "%s: not a JSON object: %s", what,
                     *ret ? "another type" : problem.text);
        json_decref(*ret);
        *ret = NULL;
        return -1;
    }
    return 0;
}

/* ---- Zygotes by kind ---- */

/* Ends kinds that were removed from the list. The caller does not hold the lock. */
static void end_removed(pyexec_executor *executor, struct px_zygote_group *removed)
{
    if (!removed)
        return;
    size_t count = px_kinds_end_removed(removed);
    pthread_mutex_lock(&executor->lock);
    px_kinds_ended(&executor->kinds, count);
    pthread_cond_broadcast(&executor->changed);
    pthread_mutex_unlock(&executor->lock);
}

static bool has_launcher(const pyexec_executor *executor)
{
    return executor->launcher && !px_launcher_dead(executor->launcher);
}

/* Starts a launcher if there is none, or if it has died. Only this is done for one caller after the other. */
static int ensure_launcher(pyexec_executor *executor, const char *python, pyexec_error *error)
{
    struct px_launcher *launcher = NULL;
    int result = 0;
    pthread_mutex_lock(&executor->start_lock);
    pthread_mutex_lock(&executor->lock);
    while (executor->launcher && px_launcher_dead(executor->launcher) && px_kinds_busy(&executor->kinds))
        pthread_cond_wait(&executor->changed, &executor->lock);
    if (executor->launcher && px_launcher_dead(executor->launcher))
        px_runtime_end(executor);
    bool missing = !executor->launcher;
    pthread_mutex_unlock(&executor->lock);
    if (missing) {
        result = px_runtime_ids(&executor->host, python, executor->allow_missing, &executor->ids, error);
        if (result == 0)
            result = px_launcher_new(&executor->ids, &launcher, error);
        pthread_mutex_lock(&executor->lock);
        executor->launcher = launcher;
        pthread_mutex_unlock(&executor->lock);
    }
    pthread_mutex_unlock(&executor->start_lock);
    return result;
}

/* Finds a kind and takes it. If it is being started, waits. Returns 1 when there is none, 0, or -1 with the error of its start. The caller
 * holds the lock. */
static int take_kind(pyexec_executor *executor, const struct px_policy *policy, struct px_zygote_group **ret,
                     struct px_zygote_group **removed, pyexec_error *error)
{
    struct px_zygote_group *kind = has_launcher(executor) ? px_kinds_find(&executor->kinds, policy, removed) : NULL;
    if (!kind)
        return 1;
    px_kinds_use(&executor->kinds, kind);
    while (kind->state == PX_KIND_STARTING)
        pthread_cond_wait(&executor->changed, &executor->lock);
    if (kind->state == PX_KIND_READY) {
        *ret = kind;
        return 0;
    }
    *error = kind->error;
    px_kinds_release(&executor->kinds, kind, removed);
    return -1;
}

/* Takes a kind that another caller has added in the meantime, or adds it. Returns 1 when the caller must start it, and 2 when the
 * launcher has died. */
static int add_kind(pyexec_executor *executor, const struct px_policy *policy, const char *python,
                    const int *certificates, struct px_zygote_group **ret, pyexec_error *error)
{
    struct px_zygote_group *removed = NULL;
    struct px_zygotes *zygotes = NULL;
    pthread_mutex_lock(&executor->lock);
    int result = take_kind(executor, policy, ret, &removed, error);
    if (result == 1 && !has_launcher(executor))
        result = 2;
    if (result == 1 &&
        px_zygotes_new(executor->launcher, policy, python, (size_t)executor->host.zygotes, executor->allow_missing,
                       &executor->ids, certificates, &executor->counters, &zygotes, error) < 0)
        result = -1;
    if (result == 1 && !(*ret = px_kinds_add(&executor->kinds, zygotes, &removed, error)))
        result = -1;
    if (result < 0)
        px_zygotes_free(zygotes);
    pthread_mutex_unlock(&executor->lock);
    end_removed(executor, removed);
    return result;
}

/* Starts the kind that this caller has added. Others wait for it only if they need this kind. */
static int start_kind(pyexec_executor *executor, const char *python, struct px_zygote_group *kind, pyexec_error *error)
{
    struct px_zygote_group *removed = NULL;
    struct px_pool *pool = NULL;
    struct px_python_stamp stamp;
    px_python_stamp_take(python, &stamp);
    int result = px_zygotes_start(kind->zygotes, error);
    if (result == 0 && executor->host.pool_size > 0)
        result = px_pool_new(executor->launcher, kind->zygotes, (size_t)executor->host.pool_size,
                             executor->host.pool_idle_ms, &pool, error);
    pthread_mutex_lock(&executor->lock);
    if (result == 0) {
        px_kinds_ready(&executor->kinds, kind, pool, &stamp, &removed);
    } else {
        px_kinds_failed(&executor->kinds, kind, error);
        px_kinds_release(&executor->kinds, kind, &removed);
    }
    pthread_cond_broadcast(&executor->changed);
    pthread_mutex_unlock(&executor->lock);
    end_removed(executor, removed);
    return result;
}

/* Starts the proxy, which the first run of the kind would need at once, and gives the authorities that its runs trust. */
static int start_proxy(pyexec_executor *executor, int ret_certificates[2], pyexec_error *error)
{
    const struct px_proxy_options options = {.config = &executor->egress_config,
                                             .secrets = &executor->secrets,
                                             .run_uid = executor->ids.run_uid,
                                             .uid_count = executor->ids.run_uid_count};
    pthread_mutex_lock(&executor->start_lock);
    if (!executor->proxy)
        executor->proxy = px_proxy_new(&options);
    int result = executor->proxy ? 0 : px_error_oom(error);
    if (result == 0 && (ret_certificates[0] = px_proxy_certificates(executor->proxy, error)) < 0)
        result = -1;
    if (result == 0)
        result = px_proxy_start(executor->proxy, error);
    if (result == 0 && executor->secrets.count &&
        (ret_certificates[1] = px_proxy_secret_certificates(executor->proxy, error)) < 0)
        result = -1;
    pthread_mutex_unlock(&executor->start_lock);
    return result;
}

int px_runtime_acquire(pyexec_executor *executor, const struct px_policy *policy, struct px_zygote_group **ret,
                       pyexec_error *error)
{
    char python[PX_PATH_MAX];
    struct px_zygote_group *removed = NULL;
    pthread_mutex_lock(&executor->lock);
    int result = take_kind(executor, policy, ret, &removed, error);
    pthread_mutex_unlock(&executor->lock);
    end_removed(executor, removed);
    if (result == 0)
        px_zygotes_grow((*ret)->zygotes);
    if (result <= 0)
        return result;
    if (px_python_resolve(px_policy_python(policy), python, sizeof python, error) < 0)
        return policy->env ? px_error_wrap(error, "environment '%s'", policy->environment) : -1;
    for (int tries = 0; tries < LAUNCHER_TRIES; tries++) {
        int certificates[2] = {-1, -1};
        if (ensure_launcher(executor, python, error) < 0 ||
            (policy->allowed_hosts.count && start_proxy(executor, certificates, error) < 0))
            return -1;
        result = add_kind(executor, policy, python, certificates, ret, error);
        if (result != 2)
            return result == 1 ? start_kind(executor, python, *ret, error) : result;
    }
    return px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "the supervisor ended %d times in a row", LAUNCHER_TRIES);
}

void px_runtime_share(pyexec_executor *executor, struct px_zygote_group *kind)
{
    pthread_mutex_lock(&executor->lock);
    px_kinds_use(&executor->kinds, kind);
    pthread_mutex_unlock(&executor->lock);
}

struct px_run_context px_runtime_context(pyexec_executor *executor, const struct px_zygote_group *kind,
                                         const struct px_policy *policy, pyexec_request *request, struct px_turn *turn)
{
    return (struct px_run_context){
        .launcher = executor->launcher,
        .zygotes = kind->zygotes,
        .policy = policy,
        .request = request,
        .secrets = px_runtime_secrets(executor, request),
        .processors = executor->processors,
        .watch = px_turn_watch,
        .watch_data = turn,
        .max_wait_ns = INT64_MAX,
        .wait_until_ns = INT64_MAX,
    };
}

void px_runtime_release(pyexec_executor *executor, struct px_zygote_group *kind)
{
    struct px_zygote_group *removed = NULL;
    pthread_mutex_lock(&executor->lock);
    px_kinds_release(&executor->kinds, kind, &removed);
    pthread_cond_broadcast(&executor->changed);
    pthread_mutex_unlock(&executor->lock);
    end_removed(executor, removed);
}

struct px_turn *px_runtime_admit(pyexec_executor *executor, const pyexec_request *request, struct px_turn *own,
                                 pyexec_error *error)
{
    struct px_turn *brought = request->turn ? &request->turn->job.turn : NULL;
    struct px_turn *turn = brought ? brought : own;
    bool held = brought && px_turn_is_held(brought);
    if (!held && px_turns_take(&executor->turns, turn, brought, error) < 0)
        return NULL;
    px_trace_admitted(request->trace);
    return turn;
}

void px_runtime_leave(struct px_turn *own)
{
    px_turn_give_back(own);
}

/* Another proxy, or none, would only break the script's requests; other authorities would be the script's own affair. */
static int check_env(const pyexec_request *request, const struct px_policy *policy, pyexec_error *error)
{
    static const char *const names[] = {PX_PROXY_VARIABLES};
    for (size_t i = 0; policy->allowed_hosts.count && i < request->env.count; i++)
        for (size_t n = 0; n < PX_COUNT(names); n++) {
            size_t length = strlen(names[n]);
            if (strncmp(request->env.items[i], names[n], length) != 0 || request->env.items[i][length] != '=')
                continue;
            px_error_set(error, PYEXEC_INVALID_REQUEST, "env: '%s' is set by pyexec in a run with allowed_hosts",
                         names[n]);
            return px_error_hint(error, "Leave it out, or leave allowed_hosts out.");
        }
    return 0;
}

/* Without principals each caller is the operator, and has all secrets. */
const char *px_runtime_secrets(const pyexec_executor *executor, const pyexec_request *request)
{
    return request->secrets ? request->secrets : executor->principals ? "" : NULL;
}

int px_runtime_check(const pyexec_request *request, const struct px_policy *policy, pyexec_error *error)
{
    if (check_env(request, policy, error) < 0)
        return -1;
    if (request->file_count && px_policy_files(policy) == PX_FILES_NONE) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "files: the policy gives the script no file access");
        return px_error_hint(error, "Set disable_open to false (--files read or --files full), or "
                                    "pass the data in the code or in stdin.");
    }
    if (request->workspace && px_policy_files(policy) == PX_FILES_NONE) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "workspace: the policy gives the script no file access");
        return px_error_hint(error, "Set disable_open to false (--files read or --files full).");
    }
    return 0;
}

/* If pyexec was started with a hard limit of CPU time, a run can't have more. */
static int check_cpu_time(const struct px_policy *policy, pyexec_error *error)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_CPU, &limit) < 0 || limit.rlim_max == RLIM_INFINITY ||
        (policy->cpu_time_seconds != PX_NONE && (rlim_t)policy->cpu_time_seconds < limit.rlim_max))
        return 0;
    px_error_set(error, PYEXEC_INVALID_POLICY,
                 "cpu_time_seconds: pyexec was started with a limit of CPU time (RLIMIT_CPU) of %llu s, so no run "
                 "can have more",
                 (unsigned long long)limit.rlim_max);
    return px_error_hint(error,
                         "Set cpu_time_seconds to less than %llu, or start pyexec without "
                         "that limit: `ulimit -t unlimited`, or LimitCPU= of the service.",
                         (unsigned long long)limit.rlim_max);
}

int px_runtime_check_limits(const struct px_policy *policy, const struct px_zygotes *zygotes, pyexec_error *error)
{
    if (check_cpu_time(policy, error) < 0)
        return -1;
    uint64_t mapped = px_zygotes_ready(zygotes)->mapped_bytes;
    /* The memory that a script needs in addition to the mapped memory: some heap and its stack. */
    uint64_t needed = mapped + (16u << 20);
    if (policy->address_space_bytes == PX_NONE || (uint64_t)policy->address_space_bytes >= needed)
        return 0;
    /* Add 1 MiB: hash randomization makes the mapped size vary between starts. */
    uint64_t enough = needed + (1u << 20);
    px_error_set(error, PYEXEC_INVALID_POLICY,
                 "address_space_bytes: %" PRId64 " is less than the interpreter and its preloads "
                 "already map: they need at least %" PRIu64,
                 policy->address_space_bytes, enough);
    int64_t need = px_environment_need(policy->env, PX_FIELD_address_space_bytes);
    if (need > (int64_t)enough)
        return px_error_hint(error,
                             "The packages of the environment '%s' need %" PRId64 ": leave address_space_bytes out.",
                             policy->environment, need);
    return px_error_hint(error, "Set address_space_bytes to %" PRIu64 " or more, or preload less.", enough);
}

bool px_runtime_closing(pyexec_executor *executor)
{
    pthread_mutex_lock(&executor->lock);
    bool closing = executor->closing;
    pthread_mutex_unlock(&executor->lock);
    return closing;
}

void px_runtime_end(pyexec_executor *executor)
{
    px_kinds_end_all(&executor->kinds);
    px_launcher_free(TAKE_PTR(executor->launcher));
}

void px_runtime_count(pyexec_executor *executor, const pyexec_result *result)
{
    struct px_counters *counters = &executor->counters;
    px_count(&counters->executions[result->status], 1);
    for (size_t which = 0; which < 2; which++)
        px_count(&counters->output_bytes[which], result->streams[which].bytes);
    for (size_t i = 0; i < result->claims.denial_count; i++)
        px_count(&counters->denials[result->claims.denials[i].layer], 1);
}
