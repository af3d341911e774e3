/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of a session, one after another in the order of their tickets, and the start of its process. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "executor/session.h"
#include "executor/session_private.h"
#include "result/result.h"
#include "result/run_status.h"
#include "runner/run.h"

/* The keys that later calls of a session may change (docs/rpc.md, Sessions). */
static int check_changes(const pyexec_request *request, const char *key, pyexec_error *error)
{
    const char *field;
    json_t *value;
    json_object_foreach(request->policy, field, value) {
        enum px_policy_field known = px_policy_find(field);
        if (known < PX_FIELD_COUNT && px_policy_changes_later(known))
            continue;
        px_error_set(error, PYEXEC_INVALID_REQUEST, "policy: '%s' was fixed when the session '%s' was made", field,
                     px_session_id(key));
        return px_error_hint(error, "Leave it out, or use a new session id.");
    }
    return 0;
}

/* Notes that the process has reached this stage, or a later one. */
static void reach(struct px_session *session, enum px_session_process process)
{
    if (session->process < process)
        session->process = process;
}

static bool must_wait(const struct px_session *session, uint64_t ticket)
{
    return session->state == PX_SESSION_BUSY || (session->state == PX_SESSION_IDLE && session->serving != ticket);
}

/* Finds or makes the session and waits for the call's turn. NULL with an error. */
static struct px_session *enter(struct px_sessions *sessions, const char *key, pyexec_request *request,
                                bool *ret_created, pyexec_error *error)
{
    struct px_session *session = px_session_look_up(sessions, key);
    *ret_created = !session;
    if (session) {
        if (check_changes(request, key, error) < 0)
            return NULL;
    } else {
        px_auto(px_policy_done) struct px_policy merged = {0};
        const struct px_policy *own = &sessions->executor->policy;
        const struct px_policy *policy =
            px_request_policy(request, true, own, own, sessions->executor->environments, &merged, error);
        session = policy ? px_session_new(sessions, key, policy, error) : NULL;
        if (!session)
            return NULL;
    }
    uint64_t ticket = session->next_ticket++;
    if (request->arrived)
        request->arrived(request->arrived_data);
    session->references++;
    /* The call that this one waits for may itself need the turn. */
    if (request->turn && must_wait(session, ticket))
        px_turn_give_back(&request->turn->job.turn);
    while (must_wait(session, ticket))
        pthread_cond_wait(&session->changed, &sessions->lock);
    /* The process may have died just now, before the session monitor noticed. */
    if (!px_session_state_is_over(session->state) && session->process && !px_child_alive(&session->child))
        px_session_end(sessions, session, PX_END_KILLED, false);
    if (!px_session_state_is_over(session->state) && session->process &&
        px_now_ns() >= px_session_hard_end(sessions, session))
        px_session_end(sessions, session, PX_END_HARD_TTL, false);
    if (px_session_state_change(&session->state, PX_SESSION_ENTER)) {
        px_session_monitor_busy(sessions, session);
        session->running = request;
        return session;
    }
    enum px_session_end end = session->end;
    if (!--session->references)
        px_session_free(sessions, session);
    if (end != PX_END_CLOSED) /* the process died in another call: start a new one, in this turn */
        return enter(sessions, key, request, ret_created, error);
    px_error_set(error, PYEXEC_SESSION_NOT_FOUND, "the session '%.140s' was closed", px_session_id(key));
    return NULL;
}

static enum px_session_end end_of(const pyexec_result *result)
{
    switch (result->status) {
    case PYEXEC_STATUS_TIMEOUT:
        return PX_END_TIMEOUT;
    case PYEXEC_STATUS_CPU_LIMIT:
        return PX_END_CPU_LIMIT;
    case PYEXEC_STATUS_MEMORY_LIMIT:
        return PX_END_MEMORY_LIMIT;
    case PYEXEC_STATUS_CRASHED:
        return PX_END_CRASHED;
    case PYEXEC_STATUS_CANCELLED:
        return PX_END_CLOSED;
    default:
        return PX_END_KILLED;
    }
}

void px_session_enter_alone(struct px_sessions *sessions, struct px_session *session)
{
    session->next_ticket++;
    session->references++;
    px_session_state_change(&session->state, PX_SESSION_ENTER);
    px_session_monitor_busy(sessions, session);
}

void px_session_leave(struct px_sessions *sessions, struct px_session *session, bool alive, enum px_session_end end)
{
    pthread_mutex_lock(&sessions->lock);
    px_session_state_change(&session->state, PX_SESSION_LEAVE);
    session->running = NULL;
    session->serving++;
    px_session_touch(sessions, session);
    if (!px_session_state_is_over(session->state)) {
        if (alive && px_child_alive(&session->child))
            px_session_monitor_idle(sessions, session);
        else
            px_session_end(sessions, session, end, false);
    }
    pthread_cond_broadcast(&session->changed);
    bool last = --session->references == 0 && px_session_state_is_over(session->state);
    pthread_mutex_unlock(&sessions->lock);
    if (last)
        px_session_free(sessions, session);
}

static int start(struct px_sessions *sessions, struct px_session *session, pyexec_request *request, pyexec_error *error)
{
    pyexec_executor *executor = sessions->executor;
    const char *root = executor->session_config.workspace_root;
    bool files = px_policy_files(&session->policy) != PX_FILES_NONE;
    if (px_runtime_acquire(executor, &session->policy, &session->kind, error) < 0 ||
        px_runtime_check_limits(&session->policy, session->kind->zygotes, error) < 0)
        return -1;
    if (session->tools || request->shared_tools || (request->tools && request->tools->count))
        px_zygotes_expect_displays(session->kind->zygotes);
    bool mounts = !(px_zygotes_missing(session->kind->zygotes) & PX_LAYER_BIT(PX_LAYER_MOUNT_NAMESPACE));
    if (files && !root && request->workspace_path)
        snprintf(session->workspace_path, sizeof session->workspace_path, "%s", request->workspace_path);
    else if (files || root)
        snprintf(session->workspace_path, sizeof session->workspace_path, "%s/%s", root ? root : "/tmp", session->key);
    else
        snprintf(session->workspace_path, sizeof session->workspace_path, "/workspace");
    struct px_child_options options = {
        .policy = &session->policy, .request = request, .workspace_path = session->workspace_path, .session = true};
    struct px_clone_request shape;
    px_child_shape(&shape, &options);
    px_auto_fd int mount = -1;
    int folder = -1;
    if (root) {
        /* Without file access, an empty tmpfs is mounted at the folder's path. */
        shape.workspace = files ? PX_WORKSPACE_GIVEN : mounts ? PX_WORKSPACE_NEW : PX_WORKSPACE_NONE;
        if (px_session_open_folder(sessions, session, &folder, files ? &mount : NULL, error) < 0)
            return -1;
    }
    reach(session, PX_SESSION_STARTED);
    if (px_child_start(&session->child, executor->launcher, session->kind->zygotes, &shape, mount, folder, error) < 0 ||
        px_session_monitor_time(sessions, session, error) < 0)
        return -1;
    pthread_mutex_lock(&sessions->lock);
    session->files = root && !files ? -1 : session->child.workspace;
    pthread_mutex_unlock(&sessions->lock);
    return 0;
}

static int describe(pyexec_result *result, const struct px_session *session, bool created, pyexec_error *error)
{
    result->session.id = strdup(session->id);
    result->session.created = created;
    result->session.restarted = created && session->restarted ? px_session_end_name(session->restarted) : NULL;
    result->session.calls = session->calls;
    if (session->host_root >= 0 && px_policy_files(&session->policy) != PX_FILES_NONE)
        result->missing |= PX_LAYER_BIT(PX_LAYER_WORKSPACE_QUOTA);
    return result->session.id ? 0 : px_error_oom(error);
}

/* The call itself, while no other call has the session. */
static int call(struct px_sessions *sessions, struct px_session *session, pyexec_request *request, bool created,
                struct px_turn *turn, pyexec_result **ret, bool *ret_alive, struct px_session_keeping *keeping,
                pyexec_error *error)
{
    pyexec_executor *executor = sessions->executor;
    px_auto(px_policy_done) struct px_policy merged = {0};
    const struct px_policy *policy =
        px_request_policy(request, false, &executor->policy, &session->policy, executor->environments, &merged, error);
    int result = policy ? px_runtime_check(request, policy, error) : -1;
    bool was_started = session->process;
    struct px_tool_list tools;
    if (result == 0)
        result = px_tools_inherit(request, session->tools, error);
    if (result == 0)
        result = px_tool_list_fill(&tools, request, error);
    if (result == 0 && !was_started)
        result = start(sessions, session, request, error);
    if (result == 0)
        result = px_session_prepare_quota(session, request, error);
    if (result == 0)
        result = px_session_keep(sessions, session, request, keeping, error);
    if (result == 0) {
        struct px_run_context context = px_runtime_context(executor, session->kind, policy, request, turn);
        context.proxy = session->policy.allowed_hosts.count ? executor->proxy : NULL;
        context.tools = tools.count ? &tools : NULL;
        context.wait_until_ns = px_session_hard_end(sessions, session);
        uint64_t number = request->silent ? 0 : ++session->calls;
        struct px_call one = {
            .child = &session->child,
            .locked = session->process >= PX_SESSION_LOCKED,
            .later = session->process >= PX_SESSION_CALLED,
            .number = number,
            .workspace_path = session->workspace_path,
        };
        result = px_run_call(&context, &one, ret, ret_alive, error);
        reach(session, PX_SESSION_CALLED);
        session->threads_left = one.threads_left;
        session->idle_cpu_ns = one.cpu_ns;
        if (result == 0)
            px_environments_explain(executor, request, policy, *ret);
        if (result == 0)
            result = describe(*ret, session, created, error);
        if (result == 0)
            (*ret)->session.no_checkpoint = TAKE_PTR(keeping->failed);
        if (result == 0)
            *ret_alive &= px_session_keep_quota(session, *ret);
        if (result < 0) {
            pyexec_result_free(*ret);
            *ret = NULL;
        }
    } else {
        /* A refused request leaves the session as it was. */
        *ret_alive = was_started;
    }
    return result;
}

static int check_session(const pyexec_executor *executor, const char *key, pyexec_error *error)
{
    if (executor->session_config.enabled)
        return px_session_check_key(executor, key, "session_id", error);
    px_error_set(error, PYEXEC_INVALID_REQUEST, "session mode not enabled");
    return px_error_hint(error, "Set [session] enabled to true.");
}

int px_session_execute(pyexec_executor *executor, const char *session_id, pyexec_request *request, pyexec_result **ret,
                       pyexec_error *error)
{
    if (check_session(executor, session_id, error) < 0 || px_request_check(request, error) < 0)
        return -1;
    if (request->workspace) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "workspace: not allowed in a session");
        return px_error_hint(error, "Leave it out, or use a single run (execute_once).");
    }
    struct px_sessions *sessions = px_sessions_get(executor, error);
    if (!sessions)
        return -1;
    bool created, alive = false;
    struct px_session_keeping keeping = {0};
    pthread_mutex_lock(&sessions->lock);
    struct px_session *session = enter(sessions, session_id, request, &created, error);
    pthread_mutex_unlock(&sessions->lock);
    if (!session)
        return -1;
    int result = -1;
    struct px_turn own = {0}, *turn = px_runtime_admit(executor, request, &own, error);
    if (turn)
        result = call(sessions, session, request, created, turn, ret, &alive, &keeping, error);
    else
        alive = session->process;
    free(keeping.failed);
    if (!alive && keeping.kept && px_session_restore(sessions, session)) {
        alive = true;
        if (result == 0)
            (*ret)->session.restored_to = session->calls + 1;
    }
    px_runtime_leave(&own);
    enum px_session_end end = result == 0 ? end_of(*ret) : PX_END_CRASHED;
    /* No call has ended yet, so the reason why the session before it ended is still reported. */
    if (!session->calls)
        end = session->restarted;
    if (result == 0 && !alive && px_session_state_is_over(session->state) && (*ret)->status == PYEXEC_STATUS_KILLED)
        px_run_status_cancelled(*ret);
    px_session_leave(sessions, session, alive, end);
    if (result == 0)
        px_runtime_count(executor, *ret);
    return result;
}

/* Starts the process of a session that has had no call, until its sandbox is locked. */
static int start_ahead(struct px_sessions *sessions, struct px_session *session, pyexec_request *request,
                       pyexec_error *error)
{
    struct px_turn own = {0};
    if (!px_runtime_admit(sessions->executor, request, &own, error))
        return -1;
    int result = start(sessions, session, request, error);
    if (result == 0)
        result = px_child_await_locked(&session->child, PX_SETUP_TIMEOUT_MS, error);
    px_runtime_leave(&own);
    if (result == 0)
        reach(session, PX_SESSION_LOCKED);
    session->idle_cpu_ns = session->process ? px_child_cpu_ns(&session->child) : 0;
    return result;
}

/* Takes ownership of the tools when it succeeds. */
static int create_ahead(struct px_sessions *sessions, const char *key, pyexec_request *request, struct px_tools **tools,
                        pyexec_error *error)
{
    struct px_session *session = NULL;
    bool created;
    pthread_mutex_lock(&sessions->lock);
    if (px_session_look_up(sessions, key)) {
        px_session_refuse_taken(key, error);
    } else {
        session = enter(sessions, key, request, &created, error);
    }
    if (session)
        session->tools = TAKE_PTR(*tools);
    pthread_mutex_unlock(&sessions->lock);
    if (!session)
        return -1;
    int result = start_ahead(sessions, session, request, error);
    px_session_leave(sessions, session, result == 0, session->restarted);
    return result;
}

int pyexec_session_create_tools_object(pyexec_executor *executor, const char *session_id, json_t *policy,
                                       json_t *ceiling, json_t *tools, pyexec_tool_fn callback, void *userdata,
                                       pyexec_error *error)
{
    struct px_sessions *sessions = NULL;
    if (check_session(executor, session_id, error) == 0)
        sessions = px_sessions_get(executor, error);
    if (!sessions)
        return -1;
    px_auto(px_drop_tools) struct px_tools *own = NULL;
    if (tools && !(own = px_tools_new()))
        return px_error_oom(error);
    if (own)
        own->shared =
            true; /* tools that need approval are allowed here: each execution checks that it has an approver */
    if (tools && px_tools_add_list(own, tools, callback, userdata, error) < 0)
        return -1;
    if (own && !own->count)
        px_drop_tools(&own);
    px_auto(px_request_done) pyexec_request *request = pyexec_request_new();
    if (!request)
        return px_error_exhausted(error, errno, "can't make the request");
    request->policy = json_incref(policy);
    request->ceiling = json_incref(ceiling);
    return create_ahead(sessions, session_id, request, &own, error);
}

int pyexec_session_create_object(pyexec_executor *executor, const char *session_id, json_t *policy, json_t *ceiling,
                                 pyexec_error *error)
{
    return pyexec_session_create_tools_object(executor, session_id, policy, ceiling, NULL, NULL, NULL, error);
}

int pyexec_session_create_tools(pyexec_executor *executor, const char *session_id, const char *policy_json,
                                const char *ceiling_json, const char *tools_json, pyexec_tool_fn callback,
                                void *userdata, pyexec_error *error)
{
    px_auto_json json_t *policy = NULL, *ceiling = NULL, *tools = NULL;
    if (px_runtime_load_json(policy_json, "policy", &policy, error) < 0 ||
        px_runtime_load_json(ceiling_json, "ceiling", &ceiling, error) < 0 ||
        (tools_json && px_tools_read_list(tools_json, &tools, error) < 0))
        return -1;
    return pyexec_session_create_tools_object(executor, session_id, policy, ceiling, tools, callback, userdata, error);
}

int pyexec_session_create(pyexec_executor *executor, const char *session_id, const char *policy_json,
                          const char *ceiling_json, pyexec_error *error)
{
    return pyexec_session_create_tools(executor, session_id, policy_json, ceiling_json, NULL, NULL, NULL, error);
}
