/* SPDX-License-Identifier: Apache-2.0 */
/* A session's folder below workspace_root: ROOT/ID, or ROOT/PRINCIPAL/ID. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/retry.h"
#include "executor/session_private.h"
#include "result/run_status.h"
#include "runner/branch.h"
#include "runner/folder.h"
#include "runner/workspace.h"

#define NO_FOLDER "It must be a folder and not a symbolic link, and pyexec's user must have access to it."

/* The name of the session's principal, or "". */
static const char *principal_of(const struct px_session *session, char name[128])
{
    size_t length = (size_t)(session->id - session->key);
    memcpy(name, session->key, length);
    name[length ? length - 1 : 0] = '\0';
    return name;
}

/* Opens the folder in which the session's folder is made. The caller holds folders_lock, so that no other thread
 * removes it before that. */
static int open_parent(struct px_sessions *sessions, struct px_session *session, pyexec_error *error)
{
    const char *path = sessions->executor->session_config.workspace_root;
    char name[128];
    px_auto_fd int root = px_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (root < 0)
        return px_error_of_request(error, errno, "Make the folder, or set [session] workspace_root to another folder.",
                                   "workspace_root: can't open '%s'", path);
    if (!*principal_of(session, name)) {
        session->host_root = TAKE_FD(root);
        return 0;
    }
    if (mkdirat(root, name, 0700) == 0 && json_object_set_new(sessions->folders, name, json_true()) < 0) {
        unlinkat(root, name, AT_REMOVEDIR);
        return px_error_oom(error);
    }
    session->host_root = px_openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (session->host_root >= 0)
        return 0;
    return px_error_of_request(error, errno, NO_FOLDER, "workspace_root: can't make '%s' in '%s'", name, path);
}

/* With `adopt` the folder may already be there. */
static int make_folder(struct px_sessions *sessions, struct px_session *session, const char *path, bool adopt,
                       pyexec_error *error)
{
    bool adoptable = sessions->executor->session_config.adopt_workspace && session->id == session->key;
    if (open_parent(sessions, session, error) < 0)
        return -1;
    session->own_folder = mkdirat(session->host_root, session->id, 0700) == 0;
    if (session->own_folder || (errno == EEXIST && adopt && adoptable))
        return 0;
    return px_error_of_request(error, errno,
                               adopt && session->id == session->key
                                   ? "Remove the folder, use another id, or set adopt_workspace."
                                   : "Remove the folder, or use another id.",
                               "workspace: can't make '%s'", path);
}

/* Makes the folder if it is not there, and opens it. */
static int open_folder(struct px_sessions *sessions, struct px_session *session, const char *path, bool adopt,
                       pyexec_error *error)
{
    pthread_mutex_lock(&sessions->folders_lock);
    int result = make_folder(sessions, session, path, adopt, error);
    pthread_mutex_unlock(&sessions->folders_lock);
    if (result < 0)
        return -1;
    int folder = px_openat(session->host_root, session->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    return folder >= 0 ? folder : px_error_of_request(error, errno, NO_FOLDER, "workspace: can't open '%s'", path);
}

static int mount_folder(struct px_sessions *sessions, const struct px_session *session, const char *path, int folder,
                        pyexec_error *error)
{
    return px_launcher_bind(sessions->executor->launcher, path, folder,
                            px_policy_files(&session->policy) != PX_FILES_FULL, error);
}

int px_session_open_folder(struct px_sessions *sessions, struct px_session *session, int *ret_folder, int *ret_mount,
                           pyexec_error *error)
{
    px_auto_fd int folder = open_folder(sessions, session, session->workspace_path, true, error);
    if (folder < 0)
        return -1;
    if (!ret_mount)
        return 0;
    *ret_mount = mount_folder(sessions, session, session->workspace_path, folder, error);
    if (*ret_mount < 0)
        return -1;
    *ret_folder = TAKE_FD(folder);
    return 0;
}

int px_session_open_branch_folder(struct px_sessions *sessions, const struct px_session *source,
                                  struct px_session *branch, struct px_branch *ret, pyexec_error *error)
{
    char path[PX_WORKSPACE_PATH_MAX];
    struct stat status, own;
    snprintf(path, sizeof path, "%s/%s", sessions->executor->session_config.workspace_root, branch->key);
    px_auto_fd int folder = open_folder(sessions, branch, path, false, error);
    if (folder < 0)
        return -1;
    if (source->files < 0) /* the folder stays empty */
        return 0;
    /* The mount translates the id of the folder's owner, so the owner comes first. */
    if (fstat(source->files, &status) < 0 || fstat(folder, &own) < 0 ||
        ((status.st_uid != own.st_uid || status.st_gid != own.st_gid) &&
         fchown(folder, status.st_uid, status.st_gid) < 0))
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "workspace: can't give '%s' to the owner of '%s'", path,
                              source->workspace_path);
    ret->mount = mount_folder(sessions, branch, path, folder, error);
    if (ret->mount < 0)
        return -1;
    ret->folder = TAKE_FD(folder);
    return 0;
}

static bool has_quota(const struct px_session *session)
{
    return session->host_root >= 0 && session->child.workspace >= 0 && session->policy.workspace_bytes;
}

/* Counts the bytes of the files and what is left of the quota. Files that can't be counted (too deep, or among too
 * many entries) may have any size, so nothing is left then. */
static int measure(const struct px_session *session, uint64_t *ret_used, uint64_t *ret_room, bool *ret_uncounted,
                   pyexec_error *error)
{
    struct px_snapshot files = {0};
    uint64_t quota = (uint64_t)session->policy.workspace_bytes;
    int result = px_snapshot_take(session->child.workspace, &files, error);
    uint64_t used = files.file_bytes;
    *ret_used = used;
    *ret_uncounted = files.uncounted;
    *ret_room = used < quota && !files.uncounted ? quota - used : 0;
    px_snapshot_done(&files);
    return result;
}

int px_session_prepare_quota(struct px_session *session, const pyexec_request *request, pyexec_error *error)
{
    uint64_t room, wanted = 0;
    bool uncounted;
    for (size_t i = 0; i < request->file_count; i++)
        wanted += request->files[i].length;
    if (!has_quota(session) || (!session->full && !wanted))
        return 0;
    if (measure(session, &session->used_bytes, &room, &uncounted, error) < 0)
        return -1;
    if (wanted > room)
        return px_workspace_full(request->files[0].path, ENOSPC, error);
    if (session->full && room)
        px_child_let_files_grow(&session->child, true);
    session->full = room == 0;
    return 0;
}

bool px_session_keep_quota(struct px_session *session, pyexec_result *result)
{
    pyexec_error ignored;
    uint64_t used, room;
    bool uncounted;
    if (!has_quota(session) || measure(session, &used, &room, &uncounted, &ignored) < 0)
        return true;
    bool was_full = session->full, grown = used > session->used_bytes;
    session->full = room == 0;
    session->used_bytes = used;
    if (was_full != session->full)
        px_child_let_files_grow(&session->child, !session->full);
    if (session->full)
        px_run_status_workspace_full(result);
    /* The session was told that its folder is full. If its files can't be counted, they may have grown since. */
    return !(was_full && session->full && (grown || uncounted));
}

/* Removes the principal's folder if pyexec made it and its last session is gone. */
static void remove_parent(struct px_sessions *sessions, const struct px_session *session)
{
    char name[128];
    principal_of(session, name);
    px_auto_fd int root =
        px_open(sessions->executor->session_config.workspace_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    pthread_mutex_lock(&sessions->folders_lock);
    if (json_object_get(sessions->folders, name) && unlinkat(root, name, AT_REMOVEDIR) == 0)
        json_object_del(sessions->folders, name);
    pthread_mutex_unlock(&sessions->folders_lock);
}

void px_session_remove_folder(struct px_sessions *sessions, struct px_session *session)
{
    if (session->host_root < 0)
        return;
    if (session->own_folder)
        px_folder_remove_tree(session->host_root, session->id);
    px_close_fd(&session->host_root);
    if (session->id != session->key)
        remove_parent(sessions, session);
}
