/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of sessions, the table of live sessions, and what is remembered about ended ones. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/spelling.h"
#include "executor/session_private.h"

#define PRINCIPAL_MAX 64

const char *px_session_end_name(enum px_session_end end)
{
    static const char *const names[PX_END_COUNT] = {
        [PX_END_NONE] = "",
        [PX_END_KILLED] = "killed",
        [PX_END_CRASHED] = "crashed",
        [PX_END_TIMEOUT] = "timeout",
        [PX_END_CPU_LIMIT] = "cpu_limit",
        [PX_END_MEMORY_LIMIT] = "memory_limit",
        [PX_END_IDLE_TTL] = "idle_ttl",
        [PX_END_HARD_TTL] = "hard_ttl",
        [PX_END_EVICTED] = "evicted",
        [PX_END_CLOSED] = "closed",
        [PX_END_HOST_RESTART] = "host_restart",
    };
    return names[end];
}

enum px_session_end px_session_end_find(const char *name)
{
    int end = PX_END_KILLED;
    while (end < PX_END_COUNT && strcmp(name, px_session_end_name((enum px_session_end)end)) != 0)
        end++;
    return (enum px_session_end)end;
}

int px_session_check_key(const pyexec_executor *executor, const char *key, const char *member, pyexec_error *error)
{
    const char *slash = executor->principals ? strchr(key, '/') : NULL;
    const char *id = slash ? slash + 1 : key;
    if (executor->principals && !(slash && px_word_is_session_id(key, (size_t)(slash - key), PRINCIPAL_MAX))) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: '%.200s' has no principal", member, key);
        return px_error_hint(error, "Put 1 to %d of A-Z a-z 0-9 . _ : - and a '/' before the id.", PRINCIPAL_MAX);
    }
    if (px_word_is_session_id(id, strlen(id), PX_SESSION_ID_MAX))
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: '%.140s' can't be a session's id", member, id);
    return px_error_hint(error, "Use 1 to %u of A-Z a-z 0-9 . _ : - (and not \".\" or \"..\").", PX_SESSION_ID_MAX);
}

int px_session_refuse_taken(const char *key, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "there is already a session '%.140s'", px_session_id(key));
    px_error_hint(error, "Use another id, or close it first.");
    error->sys_errno = EEXIST;
    return -1;
}

/* ---- The table; call with the lock held ---- */

/* Each session has a process, so there are never so many that keys which all fall into one bucket would
 * cost much. */
size_t px_session_hash(const char *key, size_t length)
{
    return px_hash(key, length) % PX_SESSION_BUCKETS;
}

static size_t bucket_of(const char *key)
{
    return px_session_hash(key, strlen(key));
}

struct px_session *px_session_by_number(const struct px_sessions *sessions, uint64_t number)
{
    struct px_session *session = sessions->numbers[number % PX_SESSION_BUCKETS];
    while (session && session->number != number)
        session = session->next_by_number;
    return session;
}

struct px_session *px_session_look_up(const struct px_sessions *sessions, const char *key)
{
    struct px_session *session = sessions->buckets[bucket_of(key)];
    while (session && strcmp(session->key, key) != 0)
        session = session->next_in_bucket;
    return session;
}

void px_session_unlist(struct px_sessions *sessions, const struct px_session *session)
{
    struct px_session **slot = &sessions->buckets[bucket_of(session->key)];
    while (*slot != session)
        slot = &(*slot)->next_in_bucket;
    *slot = session->next_in_bucket;
    slot = &sessions->numbers[session->number % PX_SESSION_BUCKETS];
    while (*slot != session)
        slot = &(*slot)->next_by_number;
    *slot = session->next_by_number;
}

int px_session_list(struct px_sessions *sessions, struct px_session *session)
{
    const json_t *ended = json_object_get(sessions->ended, session->key);
    session->restarted = (enum px_session_end)json_integer_value(ended);
    if (!ended && json_object_set_new(sessions->ended, session->key, json_integer(PX_END_NONE)) < 0)
        return -1;
    struct px_session **bucket = &sessions->buckets[bucket_of(session->key)];
    session->next_in_bucket = *bucket;
    *bucket = session;
    session->number = ++sessions->numbered;
    bucket = &sessions->numbers[session->number % PX_SESSION_BUCKETS];
    session->next_by_number = *bucket;
    *bucket = session;
    return 0;
}

/* Removes the oldest entry of the history to make room for another. Takes ownership of the key. */
static void add_to_history(struct px_sessions *sessions, char *key)
{
    char **slot = &sessions->history[sessions->history_next];
    sessions->history_next = (sessions->history_next + 1) % PX_HISTORY_MAX;
    if (*slot && !px_session_look_up(sessions, *slot))
        json_object_del(sessions->ended, *slot);
    free(*slot);
    *slot = key;
}

int px_session_remember_other(struct px_sessions *sessions, const char *key, enum px_session_end why)
{
    if (px_session_look_up(sessions, key))
        return 0;
    px_auto_free char *copy = strdup(key);
    if (!copy)
        return -1;
    add_to_history(sessions, TAKE_PTR(copy));
    return json_object_set_new(sessions->ended, key, json_integer(why));
}

void px_session_remember(struct px_sessions *sessions, struct px_session *session, enum px_session_end why)
{
    add_to_history(sessions, TAKE_PTR(session->history_key));
    json_integer_set(json_object_get(sessions->ended, session->key), why);
    sessions->ends[why]++;
    if (sessions->watch)
        sessions->watch(sessions->watch_data, session->key, px_session_end_name(why));
}

/* ---- For a server that restarts with a new executor ---- */

int pyexec_executor_watch_sessions(pyexec_executor *executor, pyexec_session_fn fn, void *userdata, pyexec_error *error)
{
    struct px_sessions *sessions = px_sessions_get(executor, error);
    if (!sessions)
        return -1;
    pthread_mutex_lock(&sessions->lock);
    sessions->watch = fn;
    sessions->watch_data = userdata;
    pthread_mutex_unlock(&sessions->lock);
    return 0;
}

int pyexec_executor_remember_session(pyexec_executor *executor, const char *session_id, const char *why,
                                     pyexec_error *error)
{
    enum px_session_end end = px_session_end_find(why);
    if (end == PX_END_COUNT) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "'%.40s' is not a reason why a session can end", why);
        return px_error_hint(error, "Give one of the values of `restarted`, such as host_restart.");
    }
    struct px_sessions *sessions =
        px_session_check_key(executor, session_id, "session_id", error) < 0 ? NULL : px_sessions_get(executor, error);
    if (!sessions)
        return -1;
    pthread_mutex_lock(&sessions->lock);
    int failed = px_session_remember_other(sessions, session_id, end);
    pthread_mutex_unlock(&sessions->lock);
    return failed ? px_error_oom(error) : 0;
}

int pyexec_executor_refuse_sessions(pyexec_executor *executor, pyexec_error *error)
{
    struct px_sessions *sessions = px_sessions_get(executor, error);
    if (!sessions)
        return -1;
    pthread_mutex_lock(&sessions->lock);
    sessions->refusing = true;
    pthread_mutex_unlock(&sessions->lock);
    return 0;
}
