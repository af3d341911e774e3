/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at sessions, stopping them, and their files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/json.h"
#include "executor/session_private.h"
#include "policy/request.h"
#include "runner/folder.h"
#include "runner/workspace.h"

#define SESSION_READ_MAX (64u << 20)

int pyexec_session_interrupt(pyexec_executor *executor, const char *session_id, pyexec_error *error)
{
    struct px_sessions *sessions = px_sessions_get(executor, error);
    if (!sessions)
        return -1;
    pthread_mutex_lock(&sessions->lock);
    struct px_session *session = px_session_find(sessions, session_id, error);
    if (session && session->running)
        pyexec_request_interrupt(session->running);
    pthread_mutex_unlock(&sessions->lock);
    return session ? 0 : -1;
}

int pyexec_session_close(pyexec_executor *executor, const char *session_id, pyexec_error *error)
{
    struct px_sessions *sessions = px_sessions_get(executor, error);
    if (!sessions)
        return -1;
    pthread_mutex_lock(&sessions->lock);
    struct px_session *session = px_session_find(sessions, session_id, error);
    if (session)
        px_session_end(sessions, session, PX_END_CLOSED, true);
    pthread_mutex_unlock(&sessions->lock);
    return session ? 0 : -1;
}

void pyexec_session_close_all(pyexec_executor *executor)
{
    pyexec_error ignored;
    struct px_sessions *sessions = px_sessions_get(executor, &ignored);
    if (!sessions)
        return;
    pthread_mutex_lock(&sessions->lock);
    while (sessions->oldest)
        px_session_end(sessions, sessions->oldest, PX_END_CLOSED, true);
    pthread_mutex_unlock(&sessions->lock);
}

static int hand_out(json_t *json, char **ret, pyexec_error *error)
{
    char *text = px_json_take_text(json);
    if (!text)
        return px_error_oom(error);
    *ret = text;
    return 0;
}

static json_t *look(const struct px_session *session)
{
    int64_t now = px_now_ns();
    return json_pack("{s:s, s:o, s:b, s:I, s:I, s:I}", "id", session->id, "principal", px_session_principal(session),
                     "busy", session->state == PX_SESSION_BUSY, "execution_count", (json_int_t)session->calls, "age_ms",
                     (json_int_t)((now - session->created_ns) / 1000000), "idle_ms",
                     (json_int_t)(session->state == PX_SESSION_BUSY ? 0 : (now - session->used_ns) / 1000000));
}

int pyexec_sessions_json(pyexec_executor *executor, char **ret, pyexec_error *error)
{
    struct px_sessions *sessions = px_sessions_get(executor, error);
    if (!sessions)
        return -1;
    json_t *list = json_array();
    pthread_mutex_lock(&sessions->lock);
    for (struct px_session *session = sessions->oldest; session; session = session->next)
        px_json_append(list, look(session));
    pthread_mutex_unlock(&sessions->lock);
    return hand_out(list, ret, error);
}

int pyexec_session_json(pyexec_executor *executor, const char *session_id, char **ret, pyexec_error *error)
{
    struct px_sessions *sessions = px_sessions_get(executor, error);
    if (!sessions)
        return -1;
    json_t *object = NULL;
    pthread_mutex_lock(&sessions->lock);
    struct px_session *session = px_session_find(sessions, session_id, error);
    if (session) {
        object = look(session);
        px_json_set(object, "restarted",
                    session->restarted ? json_string(px_session_end_name(session->restarted)) : json_null());
        px_json_set(object, "policy", px_policy_to_json(&session->policy));
    }
    pthread_mutex_unlock(&sessions->lock);
    return session ? hand_out(object, ret, error) : -1;
}

/* A descriptor of the session's workspace for the caller to close, and the quota that the kernel
 * does not keep in it, or UINT64_MAX. */
static int open_workspace(pyexec_executor *executor, const char *key, const char *path, uint64_t *ret_quota,
                          pyexec_error *error)
{
    struct px_sessions *sessions = px_sessions_get(executor, error);
    if (!sessions || (path && px_request_check_path(path, "path", error) < 0))
        return -1;
    int fd = -1;
    pthread_mutex_lock(&sessions->lock);
    struct px_session *session = px_session_find(sessions, key, error);
    if (session && session->files >= 0) {
        fd = fcntl(session->files, F_DUPFD_CLOEXEC, 3);
        if (fd >= 0)
            px_folder_grant(fd);
        else
            px_error_errno(error, PYEXEC_OVERLOADED, errno, "can't duplicate a descriptor");
        *ret_quota = session->host_root < 0 ? UINT64_MAX : (uint64_t)session->policy.workspace_bytes;
    } else if (session) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "the session '%.140s' has no workspace", px_session_id(key));
        px_error_hint(error, "Make it with disable_open false, by pyexec_session_create() or a call.");
    }
    pthread_mutex_unlock(&sessions->lock);
    return fd;
}

int pyexec_session_list_files(pyexec_executor *executor, const char *session_id, char **ret, pyexec_error *error)
{
    uint64_t quota;
    px_auto_fd int folder = open_workspace(executor, session_id, NULL, &quota, error);
    struct px_snapshot files = {0};
    if (folder < 0 || px_snapshot_take(folder, &files, error) < 0)
        return -1;
    json_t *list = px_snapshot_list(&files);
    px_snapshot_done(&files);
    return hand_out(list, ret, error);
}

int pyexec_session_list_folder(pyexec_executor *executor, const char *session_id, const char *path, char **ret,
                               pyexec_error *error)
{
    uint64_t quota;
    bool truncated;
    px_auto_fd int folder = open_workspace(executor, session_id, path, &quota, error);
    json_t *entries = folder < 0 ? NULL : px_workspace_list_folder(folder, path, &truncated, error);
    return entries ? hand_out(json_pack("{s:o, s:b}", "entries", entries, "truncated", truncated), ret, error) : -1;
}

int pyexec_session_make_folder(pyexec_executor *executor, const char *session_id, const char *path, pyexec_error *error)
{
    uint64_t quota;
    px_auto_fd int folder = open_workspace(executor, session_id, path, &quota, error);
    return folder < 0 ? -1 : px_workspace_make_folder(folder, path, "make_folder", error);
}

int pyexec_session_read_file(pyexec_executor *executor, const char *session_id, const char *path, void **ret,
                             size_t *ret_length, pyexec_error *error)
{
    uint64_t quota;
    px_auto_fd int folder = open_workspace(executor, session_id, path, &quota, error);
    struct px_buffer px_auto_buffer bytes = {0};
    if (folder < 0 || px_workspace_read(folder, path, SESSION_READ_MAX, &bytes, error) < 0)
        return -1;
    *ret_length = bytes.length;
    *ret = px_buffer_take(&bytes);
    return *ret ? 0 : px_error_oom(error);
}

int pyexec_session_open_file(pyexec_executor *executor, const char *session_id, const char *path, bool write,
                             int *ret_fd, uint64_t *ret_bytes, pyexec_error *error)
{
    uint64_t quota, bytes;
    px_auto_fd int folder = open_workspace(executor, session_id, path, &quota, error);
    if (folder < 0)
        return -1;
    px_auto_fd int file =
        write ? px_workspace_open_write(folder, path, error) : px_workspace_open_read(folder, path, &bytes, error);
    if (file < 0 || (write && px_workspace_room(folder, quota, &bytes, error) < 0))
        return -1;
    *ret_fd = TAKE_FD(file);
    *ret_bytes = bytes;
    return 0;
}

int pyexec_session_write_file(pyexec_executor *executor, const char *session_id, const char *path, const void *bytes,
                              size_t length, pyexec_error *error)
{
    px_auto_fd int file = -1;
    uint64_t room;
    if (pyexec_session_open_file(executor, session_id, path, true, &file, &room, error) < 0)
        return -1;
    if (length > room)
        return px_workspace_full(path, ENOSPC, error);
    return px_write_all(file, bytes, length) < 0 ? px_workspace_full(path, errno, error) : 0;
}

int pyexec_session_delete_file(pyexec_executor *executor, const char *session_id, const char *path, pyexec_error *error)
{
    uint64_t quota;
    px_auto_fd int folder = open_workspace(executor, session_id, path, &quota, error);
    return folder < 0 ? -1 : px_workspace_delete(folder, path, error);
}

int pyexec_session_rename_file(pyexec_executor *executor, const char *session_id, const char *from, const char *to,
                               pyexec_error *error)
{
    uint64_t quota;
    px_auto_fd int folder =
        px_request_check_path(from, "path", error) < 0 ? -1 : open_workspace(executor, session_id, to, &quota, error);
    return folder < 0 ? -1 : px_workspace_rename(folder, from, to, error);
}
