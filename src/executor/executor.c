/* SPDX-License-Identifier: Apache-2.0 */
/* The public executor: policy, turns, zygotes by kind. The runs themselves are in run.c. */
#include "executor/executor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "executor/version.h"
#include "policy/request.h"
#include "result/result.h"
#include "result/run_status.h"
#include "runner/interpreter.h"
#include "runner/run.h"
#include "runner/run_ids.h"

#define UIDS_MAX 1000000u

const char *pyexec_version(void)
{
    return PX_VERSION;
}

px_layers px_executor_allowed(const struct px_host *host)
{
    px_layers allowed = 0;
    for (size_t i = 0; i < host->allow_missing.count; i++)
        allowed |= px_layers_find(host->allow_missing.items[i]);
    return allowed;
}

int px_executor_ids(const struct px_host *host, const char *python, px_layers allow_missing,
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

int px_executor_load_json(const char *text, const char *what, json_t **ret, pyexec_error *error)
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

/* Takes ownership of the three objects; each may be NULL. */
static int configure(pyexec_executor *executor, const json_t *policy, const json_t *session, const json_t *host,
                     pyexec_error *error)
{
    int result = -1;
    if (px_policy_init(&executor->policy, error) == 0 && px_host_init(&executor->host, error) == 0 &&
        px_session_config_init(&executor->session_config, error) == 0)
        result = 0;
    if (result == 0 && session)
        result = px_session_config_merge_json(&executor->session_config, session, error);
    if (result == 0)
        result = px_session_config_check(&executor->session_config, error);
    if (result == 0 && policy)
        result = px_policy_merge_json(&executor->policy, policy, PX_ORIGIN_FLAG, error);
    if (result == 0 && host)
        result = px_host_merge_json(&executor->host, host, error);
    if (result == 0)
        result = px_policy_check(&executor->policy, error);
    if (result < 0)
        return -1;
    executor->allow_missing = px_executor_allowed(&executor->host);
    executor->processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (executor->processors < 1)
        executor->processors = 1;
    if (executor->host.max_concurrent <= 0)
        executor->host.max_concurrent = 2 * executor->processors;
    px_turns_configure(&executor->turns, &executor->host, &executor->policy);
    executor->policy_json = px_json_take_text(px_policy_to_json(&executor->policy));
    return executor->policy_json ? 0 : px_error_oom(error);
}

static void free_kind(struct px_zygote_group *kind)
{
    px_pool_free(kind->pool);
    px_zygotes_free(kind->zygotes);
    *kind = (struct px_zygote_group){0};
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
    for (size_t i = 0; i < PX_ZYGOTE_GROUPS_MAX; i++)
        free_kind(&executor->kinds[i]);
    px_launcher_free(executor->launcher);
    px_session_config_done(&executor->session_config);
    px_policy_done(&executor->policy);
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

/* Frees a launcher whose supervisor is gone, with its zygotes. Call it with both locks held, when no kind is in
 * use. */
static void drop_dead_launcher(pyexec_executor *executor)
{
    for (size_t i = 0; i < PX_ZYGOTE_GROUPS_MAX; i++)
        free_kind(&executor->kinds[i]);
    px_launcher_free(TAKE_PTR(executor->launcher));
}

static bool in_use(const pyexec_executor *executor)
{
    for (size_t i = 0; i < PX_ZYGOTE_GROUPS_MAX; i++)
        if (executor->kinds[i].users)
            return true;
    return false;
}

/* Done once a second: warm zygotes must not be used after the interpreter was replaced or packages were
 * installed. */
static bool is_fresh(struct px_zygote_group *kind)
{
    int64_t now = px_now_ns();
    if (!kind->stale && now - kind->checked_ns > INT64_C(1000000000)) {
        struct px_python_stamp stamp;
        px_python_stamp_take(px_zygotes_python(kind->zygotes), &stamp);
        kind->stale = memcmp(&stamp, &kind->stamp, sizeof stamp) != 0;
        kind->checked_ns = now;
    }
    return !kind->stale;
}

static struct px_zygote_group *find_kind(pyexec_executor *executor, const struct px_policy *policy)
{
    for (size_t i = 0; i < PX_ZYGOTE_GROUPS_MAX; i++) {
        struct px_zygote_group *kind = &executor->kinds[i];
        if (!kind->zygotes || !px_zygotes_match(kind->zygotes, policy))
            continue;
        if (is_fresh(kind))
            return kind;
        if (!kind->users)
            free_kind(kind);
    }
    return NULL;
}

/* A free place, or the place of the kind that has not been used for the longest time and that nobody uses. */
static struct px_zygote_group *make_room(pyexec_executor *executor)
{
    struct px_zygote_group *oldest = NULL;
    for (size_t i = 0; i < PX_ZYGOTE_GROUPS_MAX; i++) {
        struct px_zygote_group *kind = &executor->kinds[i];
        if (!kind->zygotes)
            return kind;
        if (!kind->users && (!oldest || kind->used < oldest->used))
            oldest = kind;
    }
    if (oldest)
        free_kind(oldest);
    return oldest;
}

static int start_launcher(pyexec_executor *executor, const char *python, pyexec_error *error)
{
    if (px_executor_ids(&executor->host, python, executor->allow_missing, &executor->ids, error) < 0)
        return -1;
    return px_launcher_new(&executor->ids, &executor->launcher, error);
}

/* Call it with start_lock held and lock not held. */
static int start_kind(pyexec_executor *executor, const struct px_policy *policy, struct px_zygote_group **ret,
                      pyexec_error *error)
{
    char python[PX_PATH_MAX];
    if (px_python_resolve(policy->python_bin, python, sizeof python, error) < 0)
        return -1;
    pthread_mutex_lock(&executor->lock);
    while (executor->launcher && px_launcher_dead(executor->launcher) && in_use(executor))
        pthread_cond_wait(&executor->changed, &executor->lock);
    if (executor->launcher && px_launcher_dead(executor->launcher))
        drop_dead_launcher(executor);
    pthread_mutex_unlock(&executor->lock);
    if (!executor->launcher && start_launcher(executor, python, error) < 0)
        return -1;
    struct px_zygotes *zygotes;
    if (px_zygotes_new(executor->launcher, policy, python, (size_t)executor->host.zygotes, executor->allow_missing,
                       &executor->ids, &executor->counters, &zygotes, error) < 0)
        return -1;
    struct px_pool *pool = NULL;
    if (executor->host.pool_size > 0 && px_pool_new(executor->launcher, zygotes, (size_t)executor->host.pool_size,
                                                    executor->host.pool_idle_ms, &pool, error) < 0) {
        px_zygotes_free(zygotes);
        return -1;
    }
    pthread_mutex_lock(&executor->lock);
    struct px_zygote_group *kind = make_room(executor);
    if (kind) {
        kind->zygotes = zygotes;
        kind->pool = pool;
        px_python_stamp_take(python, &kind->stamp);
        kind->checked_ns = px_now_ns();
        kind->users = 1;
        kind->used = ++executor->uses;
    }
    pthread_mutex_unlock(&executor->lock);
    if (!kind) {
        px_pool_free(pool);
        px_zygotes_free(zygotes);
        return px_error_set(error, PYEXEC_OVERLOADED,
                            "runs of %d different interpreters or preload sets are in progress", PX_ZYGOTE_GROUPS_MAX);
    }
    *ret = kind;
    return 0;
}

static struct px_zygote_group *take_kind(pyexec_executor *executor, const struct px_policy *policy)
{
    pthread_mutex_lock(&executor->lock);
    struct px_zygote_group *kind = NULL;
    if (executor->launcher && !px_launcher_dead(executor->launcher))
        kind = find_kind(executor, policy);
    if (kind) {
        kind->users++;
        kind->used = ++executor->uses;
    }
    pthread_mutex_unlock(&executor->lock);
    return kind;
}

int px_executor_acquire(pyexec_executor *executor, const struct px_policy *policy, struct px_zygote_group **ret,
                        pyexec_error *error)
{
    *ret = take_kind(executor, policy);
    if (*ret) {
        px_zygotes_grow((*ret)->zygotes);
        return 0;
    }
    pthread_mutex_lock(&executor->start_lock);
    *ret = take_kind(executor, policy);
    int result = *ret ? 0 : start_kind(executor, policy, ret, error);
    pthread_mutex_unlock(&executor->start_lock);
    return result;
}

void px_executor_release(pyexec_executor *executor, struct px_zygote_group *kind)
{
    pthread_mutex_lock(&executor->lock);
    if (--kind->users == 0 && kind->stale)
        free_kind(kind);
    pthread_cond_broadcast(&executor->changed);
    pthread_mutex_unlock(&executor->lock);
}

static void describe(pyexec_executor *executor, const struct px_zygotes *zygotes)
{
    px_layers missing = px_zygotes_missing(zygotes), all = ((px_layers)1 << PX_LAYER_COUNT) - 1;
    executor->missing = missing;
    const char *unused;
    /* The host does not offer it, and nobody asked for it. */
    px_layers cgroup = px_launcher_cgroup(executor->launcher, &unused) ? 0 : PX_LAYER_BIT(PX_LAYER_CGROUP);
    px_layers layers = all & ~missing & ~cgroup;
    snprintf(executor->python_text, sizeof executor->python_text, "%s", px_zygotes_ready(zygotes)->python_text);
    executor->missing_json = px_json_take_text(px_layers_to_json(missing));
    executor->info_json = px_json_take_text(
        json_pack("{s:s, s:s, s:o, s:o}", "version", PX_VERSION, "python", px_zygotes_ready(zygotes)->python_text,
                  "layers", px_layers_to_json(layers), "missing_layers", px_layers_to_json(missing)));
}

static int new_executor(const json_t *policy, const json_t *session, const json_t *host, pyexec_executor **ret,
                        pyexec_error *error)
{
    pyexec_executor *executor = calloc(1, sizeof *executor);
    if (!executor)
        return px_error_oom(error);
    pthread_mutex_init(&executor->lock, NULL);
    pthread_mutex_init(&executor->start_lock, NULL);
    pthread_cond_init(&executor->changed, NULL);
    px_turns_init(&executor->turns);
    struct px_zygote_group *kind = NULL;
    if (configure(executor, policy, session, host, error) < 0 ||
        px_executor_acquire(executor, &executor->policy, &kind, error) < 0) {
        pyexec_executor_free(executor);
        return -1;
    }
    describe(executor, kind->zygotes);
    px_executor_release(executor, kind);
    *ret = executor;
    return 0;
}

int pyexec_executor_new(const char *policy_json, const char *host_json, pyexec_executor **ret, pyexec_error *error)
{
    json_t *policy = NULL, *host = NULL;
    int result = px_executor_load_json(policy_json, "policy", &policy, error);
    if (result == 0)
        result = px_executor_load_json(host_json, "host", &host, error);
    if (result == 0)
        result = new_executor(policy, NULL, host, ret, error);
    json_decref(policy);
    json_decref(host);
    return result;
}

int pyexec_executor_open(const char *config_json, pyexec_executor **ret, pyexec_error *error)
{
    static const char *const sections[] = {"policy", "session", "host"};
    json_t *config = NULL, *value;
    const char *key;
    if (px_executor_load_json(config_json, "configuration", &config, error) < 0)
        return -1;
    int result = 0;
    json_object_foreach(config, key, value) {
        size_t i = 0;
        while (i < PX_COUNT(sections) && strcmp(key, sections[i]) != 0)
            i++;
        if (result == 0 && (i == PX_COUNT(sections) || !json_is_object(value)))
            result = px_error_set(error, PYEXEC_INVALID_POLICY,
                                  "configuration: '%s' is not an object named policy, session or host", key);
    }
    if (result == 0)
        result = new_executor(json_object_get(config, "policy"), json_object_get(config, "session"),
                              json_object_get(config, "host"), ret, error);
    json_decref(config);
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

struct px_turn *px_executor_admit(pyexec_executor *executor, const pyexec_request *request, struct px_turn *own,
                                  pyexec_error *error)
{
    struct px_turn *brought = request->turn ? &request->turn->job.turn : NULL;
    if (brought && px_turn_is_held(brought))
        return brought;
    struct px_turn *turn = brought ? brought : own;
    return px_turns_take(&executor->turns, turn, brought, error) == 0 ? turn : NULL;
}

void px_executor_leave(struct px_turn *own)
{
    px_turn_give_back(own);
}

int px_executor_check(const pyexec_request *request, const struct px_policy *policy, pyexec_error *error)
{
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
                 "cpu_time_seconds: pyexec was started with a limit of CPU time (RLIMIT_CPU) of "
                 "%llu s, and no run can have more",
                 (unsigned long long)limit.rlim_max);
    return px_error_hint(error,
                         "Set cpu_time_seconds to less than %llu, or start pyexec without "
                         "that limit: `ulimit -t unlimited`, or LimitCPU= of the service.",
                         (unsigned long long)limit.rlim_max);
}

int px_executor_check_limits(const struct px_policy *policy, const struct px_zygotes *zygotes, pyexec_error *error)
{
    if (check_cpu_time(policy, error) < 0)
        return -1;
    uint64_t mapped = px_zygotes_ready(zygotes)->mapped_bytes;
    /* What a script needs in addition to what is mapped: some heap and its stack. */
    uint64_t needed = mapped + (16u << 20);
    if (policy->address_space_bytes == PX_NONE || (uint64_t)policy->address_space_bytes >= needed)
        return 0;
    /* Add 1 MiB: hash randomization makes the mapped size vary between starts. */
    uint64_t enough = needed + (1u << 20);
    px_error_set(error, PYEXEC_INVALID_POLICY,
                 "address_space_bytes: %" PRId64 " is less than the interpreter and its preloads "
                 "already map: they need at least %" PRIu64,
                 policy->address_space_bytes, enough);
    return px_error_hint(error, "Set address_space_bytes to %" PRIu64 " or more, or preload less.", enough);
}

bool px_executor_closing(pyexec_executor *executor)
{
    pthread_mutex_lock(&executor->lock);
    bool closing = executor->closing;
    pthread_mutex_unlock(&executor->lock);
    return closing;
}

static int execute(pyexec_executor *executor, pyexec_request *request, const struct px_policy *policy,
                   struct px_turn *turn, pyexec_result **ret, pyexec_error *error)
{
    struct px_zygote_group *kind;
    struct px_tool_list tools;
    if (request->tools && px_tool_list_fill(&tools, request->tools, NULL, error) < 0)
        return -1;
    if (px_executor_acquire(executor, policy, &kind, error) < 0)
        return -1;
    struct px_run_context context = {
        .launcher = executor->launcher,
        .zygotes = kind->zygotes,
        .pool = kind->pool,
        .policy = policy,
        .request = request,
        .processors = executor->processors,
        .watch = px_turn_watch,
        .watch_data = turn,
        .tools = request->tools ? &tools : NULL,
        .max_wait_ns = executor->host.max_wait_ms * PX_NS_PER_MS,
        .wait_until_ns = INT64_MAX,
    };
    int result = px_executor_check_limits(policy, kind->zygotes, error);
    if (result == 0)
        result = px_run_once(&context, ret, error);
    px_executor_release(executor, kind);
    if (px_executor_closing(executor)) {
        if (result < 0)
            return px_error_set(error, PYEXEC_SHUTTING_DOWN, "the executor is being closed");
        if ((*ret)->status == PYEXEC_STATUS_KILLED)
            return px_run_status_cancelled(*ret) < 0 ? px_error_oom(error) : 0;
    }
    return result;
}

int pyexec_execute_once(pyexec_executor *executor, pyexec_request *request, pyexec_result **ret, pyexec_error *error)
{
    px_auto(px_policy_done) struct px_policy merged = {0};
    if (px_request_check(request, error) < 0)
        return -1;
    if (request->session_policy) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "session_policy: a single run has no session");
        return px_error_hint(error, "Use policy.");
    }
    const struct px_policy *policy =
        px_request_policy(request, false, &executor->policy, &executor->policy, &merged, error);
    if (!policy || px_executor_check(request, policy, error) < 0)
        return -1;
    struct px_turn own = {0}, *turn = px_executor_admit(executor, request, &own, error);
    if (!turn)
        return -1;
    int result = execute(executor, request, policy, turn, ret, error);
    px_executor_leave(&own);
    if (result == 0)
        px_count_result(&executor->counters, *ret);
    return result;
}
