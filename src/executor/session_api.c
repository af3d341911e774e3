/* SPDX-License-Identifier: Apache-2.0 */
/* Listing and stopping sessions, and their files. */
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
#include "result/result_rows.h"
#include "result/result_types.h"
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

/* Takes ownership of the text. */
static int hand_out(struct px_buffer *text, char **ret, pyexec_error *error)
{
    char *taken = px_buffer_take(text);
    if (!taken)
        return px_error_oom(error);
    *ret = taken;
    return 0;
}

static void info_done(struct pyexec_session_info *info)
{
    px_close_fd(&info->memory);
    free(info->id);
    free(info->principal);
    free(info->policy_json);
    free(info->tools_json);
    px_policy_done(&info->policy);
}

struct pyexec_session_list {
    struct pyexec_session_info *items;
    size_t count;
};

void pyexec_session_list_free(pyexec_session_list *list)
{
    for (size_t i = 0; list && i < list->count; i++)
        info_done(&list->items[i]);
    if (list)
        free(list->items);
    free(list);
}

static void drop_list(pyexec_session_list **list)
{
    pyexec_session_list_free(*list);
}

size_t pyexec_session_list_count(const pyexec_session_list *list)
{
    return list->count;
}

const pyexec_session_info *pyexec_session_list_get(const pyexec_session_list *list, size_t index)
{
    return index < list->count ? &list->items[index] : NULL;
}

static int describe_details(const struct px_session *session, struct pyexec_session_info *ret, pyexec_error *error)
{
    px_auto_buffer struct px_buffer text = {0};
    /* During a call the thread of the call may replace the process. */
    if (session->state == PX_SESSION_IDLE && session->process)
        ret->memory = px_child_open_memory(&session->child);
    px_tools_write(session->tools, &text);
    ret->tools_json = px_buffer_take(&text);
    return ret->tools_json ? px_policy_copy(&ret->policy, &session->policy, error) : px_error_oom(error);
}

/* The caller holds the lock. */
static int describe(const struct px_session *session, bool alone, struct pyexec_session_info *ret, pyexec_error *error)
{
    int64_t now = px_now_ns();
    px_auto_json json_t *principal = px_session_principal(session);
    const char *name = json_string_value(principal);
    *ret = (struct pyexec_session_info){
        .id = strdup(session->id),
        .principal = name ? strdup(name) : NULL,
        .busy = session->state == PX_SESSION_BUSY,
        .calls = session->calls,
        .age_ms = (now - session->created_ns) / 1000000,
        .idle_ms = session->state == PX_SESSION_BUSY ? 0 : (now - session->used_ns) / 1000000,
        .restarted = alone && session->restarted ? px_session_end_name(session->restarted) : NULL,
        .memory = -1,
    };
    if (!principal || !ret->id || (name && !ret->principal))
        return px_error_oom(error);
    return alone ? describe_details(session, ret, error) : 0;
}

/* Stops the given session, or all sessions if it is NULL. The caller holds the lock. */
static int describe_all(const struct px_sessions *sessions, const struct px_session *only, pyexec_session_list *ret,
                        pyexec_error *error)
{
    ret->items = calloc(only ? 1 : sessions->count + 1, sizeof *ret->items);
    if (!ret->items)
        return px_error_oom(error);
    if (only)
        return describe(only, true, &ret->items[ret->count++], error);
    for (const struct px_session *one = sessions->oldest; one && ret->count < sessions->count; one = one->next)
        if (describe(one, false, &ret->items[ret->count++], error) < 0)
            return -1;
    return 0;
}

int pyexec_sessions(pyexec_executor *executor, const char *session_id, pyexec_session_list **ret, pyexec_error *error)
{
    struct px_sessions *sessions = px_sessions_get(executor, error);
    pyexec_session_list *list __attribute__((cleanup(drop_list))) = sessions ? calloc(1, sizeof *list) : NULL;
    if (!list)
        return sessions ? px_error_oom(error) : -1;
    pthread_mutex_lock(&sessions->lock);
    const struct px_session *only = session_id ? px_session_find(sessions, session_id, error) : NULL;
    int status = session_id && !only ? -1 : describe_all(sessions, only, list, error);
    pthread_mutex_unlock(&sessions->lock);
    if (status == 0)
        *ret = TAKE_PTR(list);
    return status;
}

const char *pyexec_session_info_policy_json(const pyexec_session_info *info)
{
    struct pyexec_session_info *own = (struct pyexec_session_info *)(uintptr_t)info;
    if (!own->policy_json && own->policy.python_bin)
        own->policy_json = px_json_take_text(px_policy_to_json(&own->policy));
    return own->policy_json;
}

const char *pyexec_session_info_tools_json(const pyexec_session_info *info)
{
    return info->tools_json;
}

uint64_t pyexec_session_info_workspace_bytes(const pyexec_session_info *info)
{
    return (uint64_t)info->policy.workspace_bytes;
}

const char *pyexec_session_info_environment(const pyexec_session_info *info)
{
    return info->policy.environment ? info->policy.environment : "";
}

int pyexec_sessions_json(pyexec_executor *executor, char **ret, pyexec_error *error)
{
    pyexec_session_list *list __attribute__((cleanup(drop_list))) = NULL;
    px_auto_buffer struct px_buffer text = {0};
    if (pyexec_sessions(executor, NULL, &list, error) < 0)
        return -1;
    px_buffer_add_byte(&text, '[');
    for (size_t i = 0; i < list->count; i++) {
        px_buffer_add_string(&text, i ? "," : "");
        px_result_write(&text, PX_OWNER_Session, &list->items[i]);
    }
    px_buffer_add_byte(&text, ']');
    return hand_out(&text, ret, error);
}

int pyexec_session_json(pyexec_executor *executor, const char *session_id, char **ret, pyexec_error *error)
{
    pyexec_session_list *list __attribute__((cleanup(drop_list))) = NULL;
    px_auto_buffer struct px_buffer text = {0};
    if (pyexec_sessions(executor, session_id, &list, error) < 0)
        return -1;
    px_buffer_add_byte(&text, '{');
    px_result_write_members(&text, PX_OWNER_Session, &list->items[0]);
    px_buffer_add_byte(&text, ',');
    px_result_write_members(&text, PX_OWNER_SessionDetails, &list->items[0]);
    px_buffer_add_byte(&text, '}');
    return hand_out(&text, ret, error);
}

/* Returns a descriptor of the session's workspace, which the caller closes, and the part of the quota that the
 * kernel does not enforce, or UINT64_MAX. */
static int open_workspace(pyexec_executor *executor, const char *key, const char *path, uint64_t *ret_quota,
                          pyexec_error *error)
{
    struct px_sessions *sessions = px_sessions_get(executor, error);
    if (!sessions || (path && px_request_check_path(path, "path", error) < 0))
        return -1;
    int fd = -1;
    pthread_mutex_lock(&sessions->lock);
    struct px_session *session = px_session_find_settled(sessions, key, error);
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

static void drop_files(pyexec_file_list **list)
{
    pyexec_file_list_free(*list);
}

static int list_all(int folder, pyexec_file_list *ret, pyexec_error *error)
{
    struct px_snapshot files = {0};
    int status = px_snapshot_take(folder, &files, error);
    if (status == 0 && px_snapshot_list(&files, ret) < 0)
        status = px_error_oom(error);
    ret->truncated = files.truncated;
    px_snapshot_done(&files);
    return status;
}

int pyexec_session_files(pyexec_executor *executor, const char *session_id, const char *path, pyexec_file_list **ret,
                         pyexec_error *error)
{
    uint64_t quota;
    px_auto_fd int folder = open_workspace(executor, session_id, path, &quota, error);
    pyexec_file_list *list __attribute__((cleanup(drop_files))) = folder < 0 ? NULL : calloc(1, sizeof *list);
    if (!list)
        return folder < 0 ? -1 : px_error_oom(error);
    if ((path ? px_workspace_list_folder(folder, path, list, error) : list_all(folder, list, error)) < 0)
        return -1;
    *ret = TAKE_PTR(list);
    return 0;
}

static void write_files(struct px_buffer *text, enum px_result_owner owner, const pyexec_file_list *list)
{
    px_buffer_add_byte(text, '[');
    for (size_t i = 0; i < list->count; i++) {
        px_buffer_add_string(text, i ? "," : "");
        px_result_write(text, owner, &list->items[i]);
    }
    px_buffer_add_byte(text, ']');
}

int pyexec_session_list_files(pyexec_executor *executor, const char *session_id, char **ret, pyexec_error *error)
{
    pyexec_file_list *list __attribute__((cleanup(drop_files))) = NULL;
    px_auto_buffer struct px_buffer text = {0};
    if (pyexec_session_files(executor, session_id, NULL, &list, error) < 0)
        return -1;
    write_files(&text, PX_OWNER_File, list);
    return hand_out(&text, ret, error);
}

int pyexec_session_list_folder(pyexec_executor *executor, const char *session_id, const char *path, char **ret,
                               pyexec_error *error)
{
    pyexec_file_list *list __attribute__((cleanup(drop_files))) = NULL;
    px_auto_buffer struct px_buffer text = {0};
    if (pyexec_session_files(executor, session_id, path, &list, error) < 0)
        return -1;
    px_buffer_add_string(&text, "{\"entries\":");
    write_files(&text, PX_OWNER_FolderEntry, list);
    px_buffer_printf(&text, ",\"truncated\":%s}", list->truncated ? "true" : "false");
    return hand_out(&text, ret, error);
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
