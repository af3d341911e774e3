/* SPDX-License-Identifier: Apache-2.0 */
#include "executor/session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "executor/session_order.h"
#include "executor/session_private.h"

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

void px_session_touch(struct px_sessions *sessions, struct px_session *session)
{
    session->used_ns = px_now_ns();
    if (px_session_state_is_over(session->state))
        return;
    unlink_session(sessions, session);
    link_newest(sessions, session);
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

void px_session_free(struct px_sessions *sessions, struct px_session *session)
{
    /* A thread that is in a system call finishes this call, perhaps in a folder that is being removed. */
    px_session_drop_checkpoints(session);
    if (session->cpu_timed) /* it was closed while its process was made */
        timer_delete(session->cpu_timer);
    if (session->process && session->own_folder)
        px_child_kill(&session->child, false);
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
    px_session_owner_leave(sessions, session);
    if (cancel && session->running)
        pyexec_request_cancel(session->running);
    pthread_cond_broadcast(&session->changed);
    if (!session->references)
        px_session_free(sessions, session);
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
    px_session_timers_done(&sessions->timers);
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
    int64_t most = most_of(sessions, wanted);
    if (most == 0 || (int64_t)px_session_owner_count(sessions, wanted) < most)
        return 0;
    struct px_session *idle = px_session_owner_oldest_idle(sessions, wanted);
    if (!idle) {
        px_error_set(error, PYEXEC_SESSION_LIMIT,
                     "there are already max_count=%" PRId64 " sessions, and each is busy or takes part in a fork",
                     most);
        return px_error_hint(error,
                             "Wait for a call to end, close a session, make fewer branches, or raise max_count.");
    }
    px_session_end(sessions, idle, PX_END_EVICTED, false);
    return 0;
}

static int refuse_new(pyexec_error *error)
{
    px_error_set(error, PYEXEC_SHUTTING_DOWN, "no new sessions are made: this server is about to end");
    return px_error_hint(error,
                         "Existing sessions can still be called. Make new sessions on another server, or later.");
}

struct px_session *px_session_new(struct px_sessions *sessions, const char *key, const struct px_policy *policy,
                                  pyexec_error *error)
{
    struct px_session *session = calloc(1, sizeof *session);
    if (!session || !(session->key = strdup(key)) || !(session->history_key = strdup(key))) {
        discard(session);
        px_error_oom(error);
        return NULL;
    }
    session->id = px_session_id(session->key);
    session->host_root = session->files = -1;
    int status = sessions->refusing ? refuse_new(error) : make_room(sessions, session, error);
    if (status == 0)
        status = px_policy_copy(&session->policy, policy, error);
    if (status == 0 && (px_session_timers_reserve(&sessions->timers, sessions->count + 1) < 0 ||
                        px_session_owner_join(sessions, session) < 0 || px_session_list(sessions, session) < 0))
        status = px_error_oom(error);
    if (status < 0) {
        px_session_owner_leave(sessions, session);
        discard(session);
        return NULL;
    }
    session->created_ns = session->used_ns = px_now_ns();
    pthread_cond_init(&session->changed, NULL);
    link_newest(sessions, session);
    sessions->count++;
    sessions->opened++;
    if (sessions->watch)
        sessions->watch(sessions->watch_data, session->key, NULL);
    return session;
}
