/* SPDX-License-Identifier: Apache-2.0 */
/* States that a session keeps, and the return to one of them. A return uses up the checkpoint: its process becomes that of the
 * session, so no process is cloned for it, and a session can return any number of times. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "executor/session.h"
#include "executor/session_private.h"
#include "runner/branch.h"

struct px_session_checkpoint {
    struct px_session_checkpoint *older;
    uint64_t calls; /* how many calls the session had had: it was kept before call `calls` + 1 */
    enum px_session_process process;
    struct px_checkpoint kept;
};

static void drop(struct px_session_checkpoint *checkpoint)
{
    px_checkpoint_done(&checkpoint->kept);
    free(checkpoint);
}

/* Drops this one and all that are older. */
static void drop_from(struct px_session_checkpoint **first)
{
    while (*first) {
        struct px_session_checkpoint *one = *first;
        *first = one->older;
        drop(one);
    }
}

void px_session_drop_checkpoints(struct px_session *session)
{
    drop_from(&session->checkpoints);
}

/* True for the state before the first call, to which pyexec_session_reset() returns. It does not count. */
static bool is_first(const struct px_session_checkpoint *checkpoint)
{
    return checkpoint->process < PX_SESSION_CALLED;
}

static void keep_at_most(struct px_session *session, int64_t most)
{
    struct px_session_checkpoint **at = &session->checkpoints, *first = NULL;
    for (int64_t i = 0; i < most && *at; i++)
        at = &(*at)->older;
    while (*at) {
        struct px_session_checkpoint *one = *at;
        *at = one->older;
        if (!one->older && is_first(one))
            first = one;
        else
            drop(one);
    }
    if (first) {
        first->older = NULL;
        *at = first;
    }
}

/* The process of a session that was made by this call may still set itself up. */
static int await_locked(struct px_session *session, pyexec_error *error)
{
    if (session->process >= PX_SESSION_LOCKED)
        return 0;
    if (px_child_await_locked(&session->child, PX_SETUP_TIMEOUT_MS, error) < 0)
        return -1;
    session->process = PX_SESSION_LOCKED;
    return 0;
}

static int make(struct px_session *session, struct px_session_checkpoint *ret, pyexec_error *error)
{
    px_auto(px_request_done) pyexec_request *request = pyexec_request_new();
    if (!request)
        return px_error_oom(error);
    struct px_child_options options = {
        .policy = &session->policy, .request = request, .workspace_path = session->workspace_path, .session = true};
    struct px_clone_request shape;
    px_child_shape(&shape, &options);
    struct px_branch how = {.shape = &shape, .zygotes = session->kind->zygotes, .folder = -1, .mount = -1};
    ret->calls = session->calls;
    ret->process = session->process;
    if (px_checkpoint_make(&session->child, &how, &ret->kept, error) == 0)
        return 0;
    px_checkpoint_done(&ret->kept);
    return -1;
}

/* Nobody may use the files from outside while they are copied or put back. */
static void set_still(struct px_sessions *sessions, struct px_session *session, bool still)
{
    pthread_mutex_lock(&sessions->lock);
    session->forking = still;
    pthread_cond_broadcast(&session->changed);
    pthread_mutex_unlock(&sessions->lock);
}

/* A return to an earlier state would remove or replace whatever is in the folder then. In a folder of the host this may be what another
 * program has put there, or has open. */
static int check_workspace(const struct px_session *session, pyexec_error *error)
{
    if (session->host_root < 0)
        return 0;
    px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE,
                 "checkpoint: the workspace of the session '%.140s' is a folder of the host", session->id);
    return px_error_hint(
        error, "Other programs may use this folder, so nothing in it is put back. Fork the session before the call "
               "instead (forkable): a branch has its own copy of the folder. Or leave out workspace_root.");
}

static int keep(struct px_sessions *sessions, struct px_session *session, pyexec_error *error)
{
    if (check_workspace(session, error) < 0 || await_locked(session, error) < 0)
        return -1;
    struct px_session_checkpoint *made = calloc(1, sizeof *made);
    if (!made)
        return px_error_oom(error);
    set_still(sessions, session, true);
    int result = make(session, made, error);
    set_still(sessions, session, false);
    if (result < 0) {
        free(made);
        return -1;
    }
    made->older = session->checkpoints;
    session->checkpoints = made;
    keep_at_most(session, session->policy.max_checkpoints);
    return 0;
}

static int cannot_keep(const struct px_session *session, pyexec_error *error)
{
    px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE,
                 "checkpoint: the policy of the session '%.140s' has neither forkable nor auto_checkpoint",
                 session->id);
    return px_error_hint(error, "Begin a session whose policy has forkable: true or auto_checkpoint: true.");
}

int px_session_keep(struct px_sessions *sessions, struct px_session *session, const pyexec_request *request,
                    struct px_session_keeping *ret, pyexec_error *error)
{
    bool asked = request->checkpoint == PX_CHECKPOINT_YES;
    if (!asked && (request->checkpoint == PX_CHECKPOINT_NO || !session->policy.auto_checkpoint))
        return 0;
    if (!session->policy.forkable && !session->policy.auto_checkpoint)
        return cannot_keep(session, error);
    int result = keep(sessions, session, error);
    ret->kept = result == 0;
    if (result == 0 || asked || !px_child_alive(&session->child))
        return result;
    if (asprintf(&ret->failed, "%s. %s", error->message, error->hint) >= 0)
        return 0;
    ret->failed = NULL;
    return px_error_oom(error);
}

/* Returns to this state. Those that were kept after it are dropped. The caller has the turn of a call. Returns 0, or -1 with `error`:
 * then the process of the session has ended. */
static int go_back(struct px_sessions *sessions, struct px_session *session, struct px_session_checkpoint *wanted,
                   pyexec_error *error)
{
    pthread_mutex_lock(&sessions->lock);
    if (!px_session_state_is_over(session->state))
        px_session_monitor_forget(sessions, session);
    pthread_mutex_unlock(&sessions->lock);
    int result = px_checkpoint_resume(&session->child, &wanted->kept, error);
    if (result == 0) {
        session->calls = wanted->calls;
        session->process = wanted->process;
        session->threads_left = false;
        session->idle_cpu_ns = px_child_cpu_ns(&session->child);
        result = px_session_monitor_time(sessions, session, error);
    }
    for (bool last = false; !last;) {
        struct px_session_checkpoint *one = session->checkpoints;
        last = one == wanted;
        session->checkpoints = one->older;
        drop(one);
    }
    return result;
}

bool px_session_restore(struct px_sessions *sessions, struct px_session *session)
{
    pyexec_error ignored;
    pthread_mutex_lock(&sessions->lock);
    bool wanted = session->checkpoints && !px_session_state_is_over(session->state);
    session->forking = wanted;
    pthread_mutex_unlock(&sessions->lock);
    if (!wanted)
        return false;
    int result = px_child_alive(&session->checkpoints->kept.child)
                     ? go_back(sessions, session, session->checkpoints, &ignored)
                     : -1;
    set_still(sessions, session, false);
    return result == 0;
}

/* ---- pyexec_session_undo(), pyexec_session_reset() ---- */

static json_t *list_kept(const struct px_session *session)
{
    json_t *list = json_array();
    for (const struct px_session_checkpoint *one = session->checkpoints; one && list; one = one->older)
        if (json_array_insert_new(list, 0, json_integer((json_int_t)one->calls + 1)) < 0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

static struct px_session_checkpoint *find(const struct px_session *session, uint64_t to, pyexec_error *error)
{
    struct px_session_checkpoint *found = session->checkpoints;
    while (to && found && found->calls + 1 != to)
        found = found->older;
    if (found && !px_child_alive(&found->kept.child)) {
        px_error_set(error, PYEXEC_INTERNAL, "the process of this checkpoint was ended from outside");
        px_error_hint(error, "Return to another one, or make a new session.");
        return NULL;
    }
    if (found)
        return found;
    px_auto_json json_t *kept = list_kept(session);
    px_auto_free char *text = kept ? px_json_dumps(kept, JSON_COMPACT) : NULL;
    if (!session->checkpoints) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "the session '%.140s' has no checkpoint", session->id);
        px_error_hint(error, session->policy.forkable || session->policy.auto_checkpoint
                                 ? "A call keeps the state before it with checkpoint: true, or with the policy "
                                   "auto_checkpoint. An undo uses the checkpoint up."
                                 : "Make a session with the policy auto_checkpoint: true, which keeps the state before "
                                   "each call.");
    } else {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "to: the state before call %" PRIu64 " is not kept", to);
        px_error_hint(error, "States are kept before these calls: %s. max_checkpoints says how many are kept.",
                      text ? text : "");
    }
    return NULL;
}

static int describe(const struct px_session *session, uint64_t to, int64_t pause_ns, char **ret, pyexec_error *error)
{
    px_auto_json json_t *kept = list_kept(session);
    px_auto_json json_t *object =
        kept ? json_pack("{s:I,s:O,s:f}", "to", (json_int_t)to, "checkpoints", kept, "pause_ms", (double)pause_ns / 1e6)
             : NULL;
    *ret = object ? px_json_dumps(object, JSON_COMPACT) : NULL;
    return *ret ? 0 : px_error_oom(error);
}

static struct px_session_checkpoint *find_first(const struct px_session *session, pyexec_error *error)
{
    struct px_session_checkpoint *last = session->checkpoints;
    while (last && last->older)
        last = last->older;
    if (last && is_first(last))
        return last;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "the first state of the session '%.140s' is not kept", session->id);
    px_error_hint(error,
                  "Make the session with the policy auto_checkpoint, or its first call with checkpoint: true. Or "
                  "close it: the next call begins a new one.");
    return NULL;
}

static int return_to(pyexec_executor *executor, const char *session_id, bool reset, uint64_t to, char **ret,
                     pyexec_error *error)
{
    struct px_sessions *sessions = px_sessions_get(executor, error);
    if (!sessions)
        return -1;
    pthread_mutex_lock(&sessions->lock);
    struct px_session *session = px_session_enter_still(sessions, session_id, reset ? "Reset" : "Undo", error);
    pthread_mutex_unlock(&sessions->lock);
    if (!session)
        return -1;
    int64_t began = px_now_ns();
    bool fresh = reset && session->process < PX_SESSION_CALLED, alive = true;
    struct px_session_checkpoint *wanted = fresh ? NULL : reset ? find_first(session, error) : find(session, to, error);
    uint64_t before = wanted ? wanted->calls + 1 : 1;
    int result = fresh ? 0 : -1;
    if (wanted) {
        result = go_back(sessions, session, wanted, error);
        alive = result == 0;
    }
    if (result == 0)
        result = describe(session, before, px_now_ns() - began, ret, error);
    pthread_mutex_lock(&sessions->lock);
    session->forking = false;
    pthread_mutex_unlock(&sessions->lock);
    px_session_leave(sessions, session, alive, PX_END_KILLED);
    return result;
}

int pyexec_session_undo(pyexec_executor *executor, const char *session_id, uint64_t to, char **ret, pyexec_error *error)
{
    return return_to(executor, session_id, false, to, ret, error);
}

int pyexec_session_reset(pyexec_executor *executor, const char *session_id, char **ret, pyexec_error *error)
{
    return return_to(executor, session_id, true, 0, ret, error);
}
