/* SPDX-License-Identifier: Apache-2.0 */
/* Forks of a session: new sessions that go on from its state. The fork takes the place of a call in the order of the
 * session, but only if no call runs or waits. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fork_ids.h"
#include "base/json.h"
#include "base/retry.h"
#include "executor/session.h"
#include "executor/session_private.h"
#include "runner/branch.h"

struct forking {
    struct px_sessions *sessions;
    struct px_session *source;
    struct px_session *
        *branches; /* those that were made, each with its turn taken, so that none is ended to make room */
    size_t count;
    pyexec_turn *turn; /* the caller's, or NULL */
    int64_t pause_ns;
};

struct px_session *px_session_find_settled(struct px_sessions *sessions, const char *key, pyexec_error *error)
{
    struct px_session *session = px_session_find(sessions, key, error);
    while (session && session->forking) {
        session->references++;
        while (session->forking)
            pthread_cond_wait(&session->changed, &sessions->lock);
        if (!--session->references && px_session_state_is_over(session->state))
            px_session_free(sessions, session);
        session = px_session_find(sessions, key, error);
    }
    return session;
}

static int not_forkable(const struct px_session *session, pyexec_error *error)
{
    px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the session '%.140s' was made without forkable", session->id);
    return px_error_hint(error, "Make a session with the policy forkable: true.");
}

struct px_session *px_session_enter_still(struct px_sessions *sessions, const char *key, const char *what,
                                          pyexec_error *error)
{
    struct px_session *session = px_session_find(sessions, key, error);
    if (!session)
        return NULL;
    if (session->state != PX_SESSION_IDLE || session->serving != session->next_ticket) {
        px_error_set(error, PYEXEC_SESSION_BUSY, "a call of the session '%.140s' runs or waits", session->id);
        px_error_hint(error, "%s it between two calls.", what);
        return NULL;
    }
    px_session_enter_alone(sessions, session);
    session->forking = true;
    return session;
}

/* The caller holds the lock. Takes the turn of a call, or fails if another has it or waits for it. */
static struct px_session *enter_source(struct px_sessions *sessions, const char *key, pyexec_error *error)
{
    struct px_session *session = px_session_find(sessions, key, error);
    if (!session)
        return NULL;
    if (!session->policy.forkable) {
        not_forkable(session, error);
        return NULL;
    }
    /* The call that has a session changes its child without the lock. */
    bool idle = session->state == PX_SESSION_IDLE;
    if (idle && strrchr(session->workspace_path, '/') == session->workspace_path && session->child.workspace >= 0) {
        px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE,
                     "the workspace of the session '%.140s' can't be copied: its path '%s' has only one part",
                     session->id, session->workspace_path);
        px_error_hint(error, "Give it a path with two parts, such as /home/user.");
        return NULL;
    }
    if (idle && (!session->process || !px_child_alive(&session->child))) {
        px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the process of the session '%.140s' has ended", session->id);
        px_error_hint(error, "The next call with this id begins a new session.");
        return NULL;
    }
    return px_session_enter_still(sessions, key, "Fork", error);
}

/* Makes the key of a branch: the source's principal, and the id or, if it is NULL, one that no session has. */
static char *key_of(const struct px_session *source, const char *id)
{
    char name[160], *key;
    uint64_t random = 0;
    if (!id && px_random_bytes(&random, sizeof random) < 0)
        return NULL;
    if (!id)
        snprintf(name, sizeof name, "%.100s.%016" PRIx64, source->id, random);
    int principal = (int)(source->id - source->key);
    return asprintf(&key, "%.*s%s", principal, source->key, id ? id : name) < 0 ? NULL : key;
}

/* True if this fork has made the session with this key. */
static bool is_new(const struct forking *forking, const char *key)
{
    for (size_t i = 0; i < forking->count; i++)
        if (strcmp(forking->branches[i]->key, key) == 0)
            return true;
    return false;
}

static void refuse_repeated(const char *key, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "ids: '%.140s' is given twice", px_session_id(key));
    px_error_hint(error, "Give each new session an id of its own.");
    error->sys_errno = EEXIST; /* HTTP: a conflict, as for any id that a session has */
}

/* Makes the branch's session, with its turn taken. */
static struct px_session *enter_branch(const struct forking *forking, const char *id, pyexec_error *error)
{
    struct px_sessions *sessions = forking->sessions;
    const struct px_session *source = forking->source;
    px_auto_free char *key = key_of(source, id);
    struct px_session *branch = NULL;
    if (!key) {
        px_error_oom(error);
        return NULL;
    }
    if (px_session_check_key(sessions->executor, key, "ids", error) < 0)
        return NULL;
    pthread_mutex_lock(&sessions->lock);
    if (px_session_look_up(sessions, key)) {
        if (is_new(forking, key))
            refuse_repeated(key, error);
        else
            px_session_refuse_taken(key, error);
    } else {
        branch = px_session_new(sessions, key, &source->policy, error);
    }
    if (branch)
        px_session_enter_alone(sessions, branch);
    pthread_mutex_unlock(&sessions->lock);
    return branch;
}

static int start_branch(const struct forking *forking, struct px_session *branch, struct px_branch *how,
                        pyexec_error *error)
{
    struct px_session *source = forking->source;
    pyexec_executor *executor = forking->sessions->executor;
    struct px_tools *tools = source->tools ? px_tools_copy(source->tools, error) : NULL;
    if (source->tools && !tools)
        return -1;
    pthread_mutex_lock(&forking->sessions->lock);
    branch->tools = tools;
    pthread_mutex_unlock(&forking->sessions->lock);
    px_runtime_share(executor, source->kind);
    branch->kind = source->kind;
    if (source->host_root >= 0 && px_session_open_branch_folder(forking->sessions, source, branch, how, error) < 0)
        return -1;
    memcpy(branch->workspace_path, source->workspace_path, sizeof branch->workspace_path);
    branch->process = PX_SESSION_STARTED;
    if (px_branch_start(&source->child, how, &branch->child, error) < 0 ||
        px_session_monitor_time(forking->sessions, branch, error) < 0)
        return -1;
    branch->process = source->process;
    pthread_mutex_lock(&forking->sessions->lock);
    branch->files = source->files < 0 ? -1 : branch->child.workspace;
    pthread_mutex_unlock(&forking->sessions->lock);
    branch->full = source->full; /* what the kernel refuses to the source, it refuses to the branch */
    branch->used_bytes = source->used_bytes;
    branch->calls = source->calls;
    branch->idle_cpu_ns = px_child_cpu_ns(&branch->child);
    return 0;
}

static void close_folder(struct px_branch *how)
{
    px_close_fd(&how->folder);
    px_close_fd(&how->mount);
}

static int fork_one(struct forking *forking, const char *id, pyexec_error *error)
{
    struct px_clone_request shape;
    px_auto(px_request_done) pyexec_request *request = pyexec_request_new();
    struct px_turn own = {0};
    if (!request)
        return px_error_oom(error);
    pyexec_request_set_turn(request, forking->turn);
    struct px_child_options options = {.policy = &forking->source->policy,
                                       .request = request,
                                       .workspace_path = forking->source->workspace_path,
                                       .session = true};
    px_child_shape(&shape, &options);
    px_auto(close_folder) struct px_branch how = {
        .shape = &shape, .zygotes = forking->source->kind->zygotes, .folder = -1, .mount = -1};
    struct px_session *branch = enter_branch(forking, id, error);
    if (!branch)
        return -1;
    forking->branches[forking->count++] = branch;
    int result = px_runtime_admit(forking->sessions->executor, request, &own, error) ? 0 : -1;
    if (result == 0)
        result = start_branch(forking, branch, &how, error);
    px_runtime_leave(&own);
    forking->pause_ns += how.pause_ns;
    return result;
}

static int describe(const struct forking *forking, json_t **ret, pyexec_error *error)
{
    px_auto_json json_t *ids = json_array();
    int failed = ids ? 0 : -1;
    for (size_t i = 0; i < forking->count && !failed; i++)
        failed = json_array_append_new(ids, json_string(forking->branches[i]->id));
    *ret = failed ? NULL : json_pack("{s:O,s:f}", "sessions", ids, "pause_ms", (double)forking->pause_ns / 1e6);
    return *ret ? 0 : px_error_oom(error);
}

/* After a failure all branches end. */
static void leave_branches(const struct forking *forking, bool failed)
{
    for (size_t i = 0; i < forking->count; i++) {
        struct px_session *branch = forking->branches[i];
        px_session_leave(forking->sessions, branch, !failed, failed ? PX_END_CLOSED : branch->restarted);
    }
}

int pyexec_session_fork(pyexec_executor *executor, const char *session_id, const char *const *ids, size_t count,
                        char **ret, pyexec_error *error)
{
    px_auto_json json_t *object = NULL;
    if (pyexec_session_fork_object(executor, NULL, session_id, ids, count, &object, error) < 0)
        return -1;
    *ret = px_json_dumps(object, JSON_COMPACT);
    return *ret ? 0 : px_error_oom(error);
}

int pyexec_session_fork_object(pyexec_executor *executor, pyexec_turn *turn, const char *session_id,
                               const char *const *ids, size_t count, json_t **ret, pyexec_error *error)
{
    if (count < 1 || count > PX_FORK_IDS_MAX) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "count: %zu", count);
        return px_error_hint(error, "Make 1 to %d sessions at once.", PX_FORK_IDS_MAX);
    }
    px_auto_free struct px_session **branches = calloc(count, sizeof(struct px_session *));
    if (!branches)
        return px_error_oom(error);
    struct forking forking = {.branches = branches, .turn = turn, .sessions = px_sessions_get(executor, error)};
    if (!forking.sessions)
        return -1;
    pthread_mutex_lock(&forking.sessions->lock);
    forking.source = enter_source(forking.sessions, session_id, error);
    pthread_mutex_unlock(&forking.sessions->lock);
    if (!forking.source)
        return -1;
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++)
        result = fork_one(&forking, ids ? ids[i] : NULL, error);
    if (result == 0)
        result = describe(&forking, ret, error);
    leave_branches(&forking, result < 0);
    pthread_mutex_lock(&forking.sessions->lock);
    forking.source->forking = false;
    pthread_mutex_unlock(&forking.sessions->lock);
    px_session_leave(forking.sessions, forking.source, px_child_alive(&forking.source->child), PX_END_KILLED);
    return result;
}
