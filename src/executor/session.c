/* SPDX-License-Identifier: Apache-2.0 */
#include "executor/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "executor/session_private.h"
#include "result/result.h"
#include "result/run_status.h"
#include "runner/run.h"
#include "runner/workspace.h"

/* ---- The table; call with the lock held ---- */

struct px_session *px_session_find(struct px_sessions *sessions, const char *key, pyexec_error *error)
{
    struct px_session *session = px_session_look_up(sessions, key);
    int end = session ? PX_END_NONE : (int)json_integer_value(json_object_get(sessions->ended, key));
    if (!session && !end)
        px_error_set(error, PYEXEC_SESSION_NOT_FOUND, "there is no session '%.140s'", px_session_id(key));
    else if (!session)
        px_error_set(error, PYEXEC_SESSION_NOT_FOUND,
                     "there is no session '%.140s'; the last one of this id has ended: %s", px_session_id(key),
                     px_session_end_name((enum px_session_end)end));
    return session;
}

/* The part of the key that is the principal and the slash. */
static size_t principal_length(const struct px_session *session)
{
    return (size_t)(session->id - session->key);
}

json_t *px_session_principal(const struct px_session *session)
{
    size_t length = principal_length(session);
    return length ? json_stringn(session->key, length - 1) : json_null();
}

static void unlink_session(struct px_sessions *sessions, struct px_session *session)
{
    *(session->previous ? &session->previous->next : &sessions->oldest) = session->next;
    *(session->next ? &session->next->previous : &sessions->newest) = session->previous;
    session->next = session->previous = NULL;
}

static void link_newest(struct px_sessions *sessions, struct px_session *session)
{
    session->previous = sessions->newest;
    session->next = NULL;
    *(sessions->newest ? &sessions->newest->next : &sessions->oldest) = session;
    sessions->newest = session;
}

/* Frees a session that is not in the tables. */
static void discard(struct px_session *session)
{
    if (!session)
        return;
    px_policy_done(&session->policy);
    px_tools_free(session->tools);
    free(session->key);
    free(session->history_key);
    free(session);
}

/* Frees the session when nobody uses it any more. The lock need not be held. */
static void free_session(struct px_sessions *sessions, struct px_session *session)
{
    /* A thread that is in a system call finishes this call, perhaps in a folder that is being removed. */
    if (session->process && session->own_folder)
        px_child_kill(&session->child);
    if (session->process)
        px_child_done(&session->child);
    px_session_remove_folder(sessions, session);
    if (session->kind)
        px_runtime_release(sessions->executor, session->kind);
    pthread_cond_destroy(&session->changed);
    discard(session);
}

void px_session_end(struct px_sessions *sessions, struct px_session *session, enum px_session_end why, bool cancel)
{
    if (px_session_state_is_over(session->state))
        return;
    px_session_monitor_forget(sessions, session);
    px_session_state_change(&session->state, PX_SESSION_END);
    session->end = why;
    unlink_session(sessions, session);
    sessions->count--;
    px_session_remember(sessions, session, why);
    px_session_unlist(sessions, session);
    if (cancel && session->running)
        pyexec_request_cancel(session->running);
    pthread_cond_broadcast(&session->changed);
    if (!session->references)
        free_session(sessions, session);
}

/* ---- The manager ---- */

struct px_sessions *px_sessions_get(pyexec_executor *executor, pyexec_error *error)
{
    pthread_mutex_lock(&executor->lock);
    struct px_sessions *sessions = executor->sessions;
    if (!sessions && (sessions = calloc(1, sizeof *sessions))) {
        sessions->executor = executor;
        sessions->wake = sessions->epoll = sessions->signals = -1;
        pthread_mutex_init(&sessions->lock, NULL);
        pthread_mutex_init(&sessions->folders_lock, NULL);
        sessions->folders = json_object();
        sessions->most = json_object();
        sessions->ended = json_object();
        sessions->history = calloc(PX_HISTORY_MAX, sizeof *sessions->history);
        bool whole = sessions->most && sessions->ended && sessions->folders && sessions->history;
        if ((whole ? px_session_monitor_start(sessions, error) : px_error_oom(error)) < 0) {
            px_sessions_free(sessions);
            sessions = NULL;
        }
        executor->sessions = sessions;
    } else if (!sessions) {
        px_error_oom(error);
    }
    pthread_mutex_unlock(&executor->lock);
    return sessions;
}

void px_sessions_free(struct px_sessions *sessions)
{
    if (!sessions)
        return;
    px_session_monitor_stop(sessions);
    pthread_mutex_lock(&sessions->lock);
    while (sessions->oldest)
        px_session_end(sessions, sessions->oldest, PX_END_CLOSED, true);
    pthread_mutex_unlock(&sessions->lock);
    json_decref(sessions->most);
    json_decref(sessions->ended);
    json_decref(sessions->folders);
    for (size_t i = 0; sessions->history && i < PX_HISTORY_MAX; i++)
        free(sessions->history[i]);
    free(sessions->history);
    pthread_mutex_destroy(&sessions->lock);
    pthread_mutex_destroy(&sessions->folders_lock);
    free(sessions);
}

static int64_t most_of(const struct px_sessions *sessions, const struct px_session *session)
{
    px_auto_json json_t *principal = px_session_principal(session);
    const char *name = json_string_value(principal);
    json_t *own = name ? json_object_get(sessions->most, name) : NULL;
    return own ? json_integer_value(own) : sessions->executor->session_config.max_count;
}

int pyexec_executor_limit_sessions(pyexec_executor *executor, const char *principal, int64_t max_count,
                                   pyexec_error *error)
{
    struct px_sessions *sessions = px_sessions_get(executor, error);
    if (!sessions)
        return -1;
    int failed = 0;
    pthread_mutex_lock(&sessions->lock);
    if (max_count > 0)
        failed = json_object_set_new(sessions->most, principal, json_integer(max_count));
    else
        json_object_del(sessions->most, principal);
    pthread_mutex_unlock(&sessions->lock);
    return failed ? px_error_oom(error) : 0;
}

/* Each principal may have `max_count` sessions, and only its own sessions are ended to make room. */
static int make_room(struct px_sessions *sessions, const struct px_session *wanted, pyexec_error *error)
{
    int64_t most = most_of(sessions, wanted), count = 0;
    size_t prefix = principal_length(wanted);
    struct px_session *idle = NULL;
    for (struct px_session *one = sessions->oldest; most && one; one = one->next) {
        if (principal_length(one) != prefix || strncmp(one->key, wanted->key, prefix) != 0)
            continue;
        count++;
        if (!idle && one->state == PX_SESSION_IDLE && !one->references)
            idle = one;
    }
    if (count < most || most == 0)
        return 0;
    if (!idle) {
        px_error_set(error, PYEXEC_SESSION_LIMIT, "all %" PRId64 " sessions are busy", most);
        return px_error_hint(error, "Wait for a call to end, close a session, or raise max_count.");
    }
    px_session_end(sessions, idle, PX_END_EVICTED, false);
    return 0;
}

static int refuse_new(pyexec_error *error)
{
    px_error_set(error, PYEXEC_SHUTTING_DOWN, "no new session is made: this one is about to end");
    return px_error_hint(error,
                         "Sessions that are there can still be called. Make new ones at another server, or later.");
}

static struct px_session *create(struct px_sessions *sessions, const char *key, const struct px_policy *policy,
                                 pyexec_error *error)
{
    struct px_session *session = calloc(1, sizeof *session);
    if (!session || !(session->key = strdup(key)) || !(session->history_key = strdup(key))) {
        discard(session);
        px_error_oom(error);
        return NULL;
    }
    session->id = px_session_id(session->key);
    int status = sessions->refusing ? refuse_new(error) : make_room(sessions, session, error);
    if (status == 0)
        status = px_policy_copy(&session->policy, policy, error);
    if (status == 0 && px_session_list(sessions, session) < 0)
        status = px_error_oom(error);
    if (status < 0) {
        discard(session);
        return NULL;
    }
    session->host_root = session->files = -1;
    session->created_ns = session->used_ns = px_now_ns();
    pthread_cond_init(&session->changed, NULL);
    link_newest(sessions, session);
    sessions->count++;
    sessions->opened++;
    if (sessions->watch)
        sessions->watch(sessions->watch_data, session->key, NULL);
    return session;
}

/* ---- A call ---- */

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
        const struct px_policy *policy = px_request_policy(request, true, own, own, &merged, error);
        session = policy ? create(sessions, key, policy, error) : NULL;
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
        free_session(sessions, session);
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

static void leave(struct px_sessions *sessions, struct px_session *session, bool alive, enum px_session_end end)
{
    pthread_mutex_lock(&sessions->lock);
    px_session_state_change(&session->state, PX_SESSION_LEAVE);
    session->running = NULL;
    session->serving++;
    session->used_ns = px_now_ns();
    if (!px_session_state_is_over(session->state)) {
        unlink_session(sessions, session);
        link_newest(sessions, session);
        if (alive && px_child_alive(&session->child))
            px_session_monitor_idle(sessions, session);
        else
            px_session_end(sessions, session, end, false);
    }
    pthread_cond_broadcast(&session->changed);
    bool last = --session->references == 0 && px_session_state_is_over(session->state);
    pthread_mutex_unlock(&sessions->lock);
    if (last)
        free_session(sessions, session);
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
                struct px_turn *turn, pyexec_result **ret, bool *ret_alive, pyexec_error *error)
{
    pyexec_executor *executor = sessions->executor;
    px_auto(px_policy_done) struct px_policy merged = {0};
    const struct px_policy *policy =
        px_request_policy(request, false, &executor->policy, &session->policy, &merged, error);
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
    if (result == 0) {
        struct px_run_context context = {
            .launcher = executor->launcher,
            .zygotes = session->kind->zygotes,
            .policy = policy,
            .request = request,
            .processors = executor->processors,
            .watch = px_turn_watch,
            .watch_data = turn,
            .tools = tools.count ? &tools : NULL,
            .max_wait_ns = INT64_MAX,
            .wait_until_ns = px_session_hard_end(sessions, session),
        };
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
            result = describe(*ret, session, created, error);
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
        return px_session_check_key(executor, key, error);
    px_error_set(error, PYEXEC_INVALID_REQUEST, "session mode not enabled");
    return px_error_hint(error, "Set [session] enabled to true.");
}

int pyexec_execute(pyexec_executor *executor, const char *session_id, pyexec_request *request, pyexec_result **ret,
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
    pthread_mutex_lock(&sessions->lock);
    struct px_session *session = enter(sessions, session_id, request, &created, error);
    pthread_mutex_unlock(&sessions->lock);
    if (!session)
        return -1;
    int result = -1;
    struct px_turn own = {0}, *turn = px_runtime_admit(executor, request, &own, error);
    if (turn)
        result = call(sessions, session, request, created, turn, ret, &alive, error);
    else
        alive = session->process;
    px_runtime_leave(&own);
    enum px_session_end end = result == 0 ? end_of(*ret) : PX_END_CRASHED;
    /* No call has ended yet, so the reason why the session before it ended is still reported. */
    if (!session->calls)
        end = session->restarted;
    if (result == 0 && !alive && px_session_state_is_over(session->state) && (*ret)->status == PYEXEC_STATUS_KILLED)
        px_run_status_cancelled(*ret);
    leave(sessions, session, alive, end);
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
        result = px_child_await_locked(&session->child, error);
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
        px_error_set(error, PYEXEC_INVALID_REQUEST, "there is a session '%.140s' already", px_session_id(key));
        px_error_hint(error, "Use another id, or close it first.");
        error->sys_errno = EEXIST;
    } else {
        session = enter(sessions, key, request, &created, error);
    }
    if (session)
        session->tools = TAKE_PTR(*tools);
    pthread_mutex_unlock(&sessions->lock);
    if (!session)
        return -1;
    int result = start_ahead(sessions, session, request, error);
    leave(sessions, session, result == 0, session->restarted);
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
