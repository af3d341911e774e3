/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"
#include "serve/log.h"
#include "serve/state_file.h"
#include "serve/state_table.h"

#define RESTARTED "host_restart"
#define SYNC_NS (1 * INT64_C(1000000000))  /* appended lines are synced to the disk after this time */
#define RETRY_NS (5 * INT64_C(1000000000)) /* time after a write that failed */
#define FLUSH_NS (2 * INT64_C(1000000000)) /* how long the end of the server waits for a slow disk */
#define PENDING_MAX (1u << 20)             /* bytes of waiting lines; with more, the whole file is written again */
#define APPENDED_MAX (1u << 20)

struct px_state {
    pyexec_executor *executor;
    struct px_log *log;
    char *folder;
    struct px_state_file file; /* only the thread uses it, once the thread runs */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct px_state_table table;
    struct px_buffer pending; /* lines to append */
    size_t appended;          /* lines appended since the whole file was written */
    bool rewrite;             /* the whole file must be written */
    bool unsynced, writing, failing, frozen, ending;
    int64_t retry_ns, sync_ns; /* the times to do so */
    struct px_state_counts counts;
};

/* ---- Events ---- */

/* A pyexec_session_fn. */
static void note(void *userdata, const char *key, const char *why)
{
    struct px_state *state = userdata;
    pthread_mutex_lock(&state->lock);
    if (!state->frozen) {
        /* Without memory this session is not remembered. */
        (void)!px_state_table_note(&state->table, key, why);
        if (!state->rewrite)
            px_state_table_add_line(&state->pending, key, why);
        if (!px_buffer_ok(&state->pending) || state->pending.length > PENDING_MAX) {
            px_buffer_done(&state->pending);
            state->rewrite = true;
        }
        pthread_cond_broadcast(&state->changed);
    }
    pthread_mutex_unlock(&state->lock);
}

bool px_state_was_restarted(struct px_state *state, const char *key)
{
    if (!state)
        return false;
    pthread_mutex_lock(&state->lock);
    const char *why = json_string_value(json_object_get(state->table.ended, key));
    bool restarted = why && strcmp(why, RESTARTED) == 0;
    pthread_mutex_unlock(&state->lock);
    return restarted;
}

void px_state_count(struct px_state *state, struct px_state_counts *ret)
{
    *ret = (struct px_state_counts){0};
    if (!state)
        return;
    pthread_mutex_lock(&state->lock);
    *ret = state->counts;
    ret->kept = !state->failing;
    pthread_mutex_unlock(&state->lock);
}

/* ---- The writing thread ---- */

static void say(const struct px_state *state, const char *event, const char *detail)
{
    char text[sizeof((pyexec_error *)0)->message + 256];
    snprintf(text, sizeof text, "%.200s: %s", state->folder, detail);
    px_log_event(state->log, event, text);
}

/* Returns the time of the next work; INT64_MAX: not before something changes. The caller holds the lock. */
static int64_t next_due(const struct px_state *state)
{
    if (state->rewrite)
        return state->retry_ns;
    if (state->pending.length)
        return 0;
    return state->unsynced ? state->sync_ns : INT64_MAX;
}

/* Takes ownership of `text`. The caller holds the lock; this function releases it while it writes. */
static int write_text(struct px_state *state, struct px_buffer *text, bool whole)
{
    pthread_mutex_unlock(&state->lock);
    const char *bytes = px_buffer_string(text);
    int status = -1;
    errno = ENOMEM;
    if (bytes && whole)
        status = px_state_file_replace(&state->file, bytes, text->length);
    else if (bytes && text->length)
        status = px_state_file_append(&state->file, bytes, text->length);
    else if (bytes)
        status = px_state_file_sync(&state->file);
    int saved = errno;
    pthread_mutex_lock(&state->lock);
    errno = saved;
    return status;
}

static void note_failure(struct px_state *state, int sys_errno)
{
    state->counts.failures++;
    /* The failed write may have left a part of a line, so the whole file is written again. */
    state->rewrite = true;
    state->retry_ns = px_now_ns() + RETRY_NS;
    px_buffer_done(&state->pending);
    if (!state->failing)
        say(state, "the state file can't be written: current sessions will not be known after a restart",
            strerror(sys_errno));
    state->failing = true;
}

static void note_success(struct px_state *state, size_t length, bool whole)
{
    state->appended = whole ? 0 : state->appended + length;
    if (state->appended > APPENDED_MAX) {
        state->rewrite = true;
        state->retry_ns = 0;
    }
    if (!whole && length && !state->unsynced)
        state->sync_ns = px_now_ns() + SYNC_NS;
    state->unsynced = !whole && length;
    if (state->failing)
        say(state, "the state file is written again", "it has all current sessions");
    state->failing = false;
}

/* Writes everything that waits, or syncs. The caller holds the lock. */
static void write_once(struct px_state *state)
{
    px_auto_buffer struct px_buffer text = {0};
    bool whole = state->rewrite, sync = state->unsynced && px_now_ns() >= state->sync_ns;
    if (whole) {
        px_state_table_write(&state->table, &text);
        px_buffer_done(&state->pending);
        state->rewrite = false;
    } else if (!sync) {
        text = state->pending;
        state->pending = (struct px_buffer){0};
    }
    state->writing = true;
    if (write_text(state, &text, whole) == 0)
        note_success(state, text.length, whole);
    else
        note_failure(state, errno);
    state->writing = false;
    pthread_cond_broadcast(&state->changed);
}

static void *write_on(void *argument)
{
    struct px_state *state = argument;
    pthread_mutex_lock(&state->lock);
    while (!state->ending) {
        int64_t due = next_due(state);
        if (due == INT64_MAX)
            pthread_cond_wait(&state->changed, &state->lock);
        else if (due > px_now_ns())
            px_cond_wait_until(&state->changed, &state->lock, due);
        else
            write_once(state);
    }
    pthread_mutex_unlock(&state->lock);
    return NULL;
}

/* ---- At the start ---- */

/* Returns true if the executor has taken the session. It refuses keys and reasons that no session can have. */
static bool hand_over(struct px_state *state, const char *key, const char *why, size_t *bad)
{
    pyexec_error error;
    if (pyexec_executor_remember_session(state->executor, key, why, &error) < 0) {
        *bad += error.code == PYEXEC_INVALID_REQUEST;
        return false;
    }
    return px_state_table_note(&state->table, key, why) == 0;
}

/* Sessions that were live come last, because the executor forgets the first ones first. */
static void hand_over_all(struct px_state *state, const struct px_state_table *former, size_t bad)
{
    const char *key;
    json_t *value;
    size_t ended = 0;
    char text[160];
    json_object_foreach(former->ended, key, value)
        ended += hand_over(state, key, json_string_value(value), &bad);
    json_object_foreach(former->live, key, value)
        state->counts.lost += hand_over(state, key, RESTARTED, &bad);
    snprintf(text, sizeof text, "%zu were ended by the restart, %zu had ended before", state->counts.lost, ended);
    say(state, "sessions from before the restart", text);
    snprintf(text, sizeof text, "%zu lines can't be read and are ignored", bad);
    if (bad)
        say(state, "the state file is damaged", text);
}

static void read_former(struct px_state *state)
{
    static const char event[] = "the state file can't be read: sessions from before the restart are not known";
    px_auto_buffer struct px_buffer text = {0};
    px_auto(px_state_table_done) struct px_state_table former = {0};
    pyexec_error error;
    size_t bad = 0;
    if (px_state_file_read(&state->file, &text, &error) < 0) {
        say(state, event, error.message);
        px_state_file_put_aside(&state->file);
    } else if (px_buffer_length(&text) &&
               (px_state_table_init(&former) < 0 ||
                px_state_table_read(&former, px_buffer_shown(&text), px_buffer_length(&text), &bad) < 0)) {
        say(state, event, "it is not of this version of pyexec; it is kept as " PX_STATE_FILE ".unreadable");
        px_state_file_put_aside(&state->file);
    } else if (text.length) {
        hand_over_all(state, &former, bad);
    }
}

static void state_free(struct px_state *state)
{
    px_state_file_close(&state->file);
    px_state_table_done(&state->table);
    px_buffer_done(&state->pending);
    pthread_cond_destroy(&state->changed);
    pthread_mutex_destroy(&state->lock);
    free(state->folder);
    free(state);
}

static int start(struct px_state *state, pyexec_error *error)
{
    read_former(state);
    if (pyexec_executor_watch_sessions(state->executor, note, state, error) < 0)
        return -1;
    int failed = px_thread_create(&state->thread, write_on, state);
    if (!failed)
        return 0;
    (void)!pyexec_executor_watch_sessions(state->executor, NULL, NULL, error);
    return px_error_exhausted(error, failed, "can't start a thread");
}

/* Returns NULL when there is no memory. */
static struct px_state *state_new(const char *folder, pyexec_executor *executor, struct px_log *log)
{
    struct px_state *state = calloc(1, sizeof *state);
    if (!state)
        return NULL;
    *state = (struct px_state){.executor = executor, .log = log, .file = {-1, -1}, .rewrite = true};
    pthread_mutex_init(&state->lock, NULL);
    px_cond_init(&state->changed);
    state->folder = strndup(folder, strcspn(folder, ":"));
    if (state->folder && px_state_table_init(&state->table) == 0)
        return state;
    state_free(state);
    return NULL;
}

int px_state_open(const char *folder, pyexec_executor *executor, struct px_log *log, struct px_state **ret,
                  pyexec_error *error)
{
    const char *given = folder ? folder : getenv("STATE_DIRECTORY");
    if (!given || *given != '/')
        return 0;
    struct px_state *state = state_new(given, executor, log);
    if (!state)
        return px_error_oom(error);
    if (px_state_file_open(&state->file, state->folder, error) < 0) {
        say(state, "clients will not learn that a restart ended their sessions", error->message);
        state_free(state);
        return 0;
    }
    if (start(state, error) < 0) {
        state_free(state);
        return -1;
    }
    *ret = state;
    return 0;
}

/* ---- At the end ---- */

/* Waits for a limited time only: a disk that does not answer must not keep the server from ending. */
void px_state_freeze(struct px_state *state)
{
    if (!state)
        return;
    int64_t end = px_now_ns() + FLUSH_NS;
    pthread_mutex_lock(&state->lock);
    state->frozen = true;
    state->sync_ns = 0;
    pthread_cond_broadcast(&state->changed);
    while ((state->writing || next_due(state) != INT64_MAX) && !state->failing &&
           px_cond_wait_until(&state->changed, &state->lock, end) == 0)
        ;
    pthread_mutex_unlock(&state->lock);
}

void px_state_close(struct px_state *state)
{
    pyexec_error ignored;
    if (!state)
        return;
    px_state_freeze(state);
    (void)!pyexec_executor_watch_sessions(state->executor, NULL, NULL, &ignored);
    pthread_mutex_lock(&state->lock);
    state->ending = true;
    pthread_cond_broadcast(&state->changed);
    pthread_mutex_unlock(&state->lock);
    pthread_join(state->thread, NULL);
    state_free(state);
}
