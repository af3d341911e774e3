/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/workspace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/paths.h"
#include "base/retry.h"
#include "base/utf8.h"
#include "runner/folder.h"

#define ENTRIES_MAX 20000
#define PATHS_MAX_BYTES (4u << 20) /* length of all paths together; a list of them in JSON takes six times as much */
#define CHANGES_MAX 1000           /* docs/results.md, `files` */
#define CONTENTS_MAX (8u << 20)    /* docs/results.md, `files` */

void px_snapshot_done(struct px_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->count; i++)
        free(snapshot->entries[i].path);
    free(snapshot->entries);
    *snapshot = (struct px_snapshot){0};
}

/* The script caused this error: the file is gone, or the script has removed the permission to read it. */
static bool is_host_failure(int number)
{
    return number == ENOMEM || number == EMFILE || number == ENFILE || number == EIO || number == ENOBUFS;
}

static int add_entry(struct px_snapshot *snapshot, const char *path, const struct stat *status)
{
    if (snapshot->count == snapshot->capacity) {
        size_t capacity = snapshot->capacity ? snapshot->capacity * 2 : 64;
        struct px_snapshot_entry *entries = realloc(snapshot->entries, capacity * sizeof *entries);
        if (!entries)
            return -1;
        snapshot->entries = entries;
        snapshot->capacity = capacity;
    }
    struct px_snapshot_entry entry = {
        .path = strdup(path),
        .inode = status->st_ino,
        .size = (uint64_t)status->st_size,
        .modified_ns = px_timespec_ns(status->st_mtim),
        .changed_ns = px_timespec_ns(status->st_ctim),
    };
    if (!entry.path)
        return -1;
    snapshot->entries[snapshot->count++] = entry;
    return 0;
}

static int list(int folder_fd, const mode_t *restored, char *path, size_t length, int depth,
                struct px_snapshot *snapshot);

/* A folder that its owner may not read or search is listed too. It gets its old mode back afterwards. */
static int list_below(int parent, const char *name, char *path, size_t length, int depth, struct px_snapshot *snapshot)
{
    int changed;
    mode_t mode;
    int below = px_folder_open(parent, name, &changed, &mode);
    if (below >= 0)
        return list(below, changed > 0 ? &mode : NULL, path, length, depth, snapshot);
    snapshot->truncated = snapshot->uncounted = true;
    return is_host_failure(errno) ? -1 : 0;
}

/* One entry of a folder, whose path is in `path`. */
static int list_entry(int parent, const char *name, const struct stat *status, char *path, size_t length, int depth,
                      struct px_snapshot *snapshot)
{
    if (S_ISREG(status->st_mode)) {
        snapshot->file_bytes += (uint64_t)status->st_size;
        snapshot->path_bytes += length;
        if (snapshot->path_bytes <= PATHS_MAX_BYTES)
            return add_entry(snapshot, path, status);
        snapshot->truncated = true;
        return 0;
    }
    if (!S_ISDIR(status->st_mode))
        return 0;
    if (depth == PX_FOLDER_DEPTH_MAX) {
        snapshot->truncated = snapshot->uncounted = true;
        return 0;
    }
    path[length] = '/';
    return list_below(parent, name, path, length + 1, depth + 1, snapshot);
}

/* Returns the next entry of a folder, or NULL; errno is 0 at its end. */
static struct dirent *next_entry(DIR *folder)
{
    errno = 0;
    return readdir(folder);
}

/* `path` is the buffer for the whole path, and `length` says how much of it names this folder. Every entry counts,
 * not only files: a script may make millions of folders, or continue to run while its session's files are listed.
 * Takes ownership of `folder_fd`; its folder gets the mode `restored` at the end (NULL: it keeps its mode). */
static int list(int folder_fd, const mode_t *restored, char *path, size_t length, int depth,
                struct px_snapshot *snapshot)
{
    DIR *folder = fdopendir(folder_fd);
    if (!folder) {
        px_close_fd(&folder_fd);
        return -1;
    }
    int result = 0;
    struct dirent *item;
    while (result == 0 && (item = next_entry(folder))) {
        size_t name = strlen(item->d_name);
        struct stat status;
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        if (snapshot->met++ >= ENTRIES_MAX || length + name + 2 > PATH_MAX) {
            snapshot->truncated = snapshot->uncounted = true;
            if (snapshot->met > ENTRIES_MAX)
                break;
            continue;
        }
        if (fstatat(dirfd(folder), item->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0) {
            snapshot->truncated |= errno != ENOENT;
            result = is_host_failure(errno) ? -1 : 0;
            continue;
        }
        memcpy(path + length, item->d_name, name + 1);
        result = list_entry(dirfd(folder), item->d_name, &status, path, length + name, depth, snapshot);
    }
    if (!item && is_host_failure(errno))
        result = -1;
    int saved = errno;
    if (restored)
        px_folder_set_mode(dirfd(folder), *restored);
    closedir(folder);
    errno = saved;
    return result;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct px_snapshot_entry *)a)->path, ((const struct px_snapshot_entry *)b)->path);
}

static int cannot_list(int number, pyexec_error *error)
{
    if (px_errno_exhausted(number))
        return px_error_exhausted(error, number, "can't list the workspace");
    if (number != ENOSYS)
        return px_error_errno(error, PYEXEC_INTERNAL, number, "can't list the workspace");
    px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, number, "can't read the workspace: openat2 is blocked");
    return px_error_hint(error, "Allow it in the container's seccomp profile (--security-opt "
                                "seccomp=unconfined), under systemd unset RestrictSUIDSGID=.");
}

int px_snapshot_take(int folder, struct px_snapshot *ret, pyexec_error *error)
{
    px_folder_grant(folder);
    char *path = malloc(PATH_MAX);
    int fd = px_open_beneath(folder, ".", O_RDONLY | O_DIRECTORY, 0);
    if (!path)
        px_close_fd(&fd);
    if (!path || fd < 0 || list(fd, NULL, path, 0, 0, ret) < 0) {
        int saved = path ? errno : ENOMEM;
        free(path);
        return cannot_list(saved, error);
    }
    free(path);
    if (ret->count)
        qsort(ret->entries, ret->count, sizeof *ret->entries, by_path);
    return 0;
}

static bool same(const struct px_snapshot_entry *a, const struct px_snapshot_entry *b)
{
    return a->inode == b->inode && a->size == b->size && a->modified_ns == b->modified_ns &&
           a->changed_ns == b->changed_ns;
}

static bool matches(const struct px_strings *patterns, const char *path)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (fnmatch(patterns->items[i], path, 0) == 0)
            return true;
    return false;
}

/* Reads the content of a file. Returns 0, or -1 with errno; EFBIG when it is larger than `left`. */
static int read_contents(int folder, const struct px_snapshot_entry *entry, size_t left, struct px_buffer *ret)
{
    struct stat status;
    px_auto_fd int fd = px_open_beneath(folder, entry->path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0 || fstat(fd, &status) < 0)
        return -1;
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size > left) {
        errno = EFBIG;
        return -1;
    }
    return px_read_all(fd, ret, left);
}

struct changes {
    int folder;
    const struct px_strings *patterns;
    struct pyexec_file_list *list;
    size_t left;
    bool failed;
};

static void add_change(struct changes *changes, const struct px_snapshot_entry *entry, const char *change)
{
    bool deleted = strcmp(change, "deleted") == 0;
    if (changes->list->count >= CHANGES_MAX) {
        changes->list->truncated = true;
        return;
    }
    struct pyexec_file *file = px_file_list_add(changes->list, entry->path);
    if (!file) {
        changes->failed = true;
        return;
    }
    file->bytes = deleted ? 0 : entry->size;
    file->change = change;
    if (deleted || !matches(changes->patterns, entry->path))
        return;
    file->has_content = read_contents(changes->folder, entry, changes->left, &file->content) == 0;
    if (file->has_content)
        changes->left -= file->content.length;
    else if (is_host_failure(errno))
        changes->failed = true;
    else
        changes->list->truncated = true;
}

int px_snapshot_changes(int folder, const struct px_snapshot *before, const struct px_snapshot *after,
                        const struct px_strings *patterns, struct pyexec_file_list *ret)
{
    struct changes changes = {folder, patterns, ret, CONTENTS_MAX, false};
    size_t b = 0, a = 0;
    ret->truncated = before->truncated || after->truncated;
    while (!changes.failed && (b < before->count || a < after->count)) {
        int order = b >= before->count  ? 1
                    : a >= after->count ? -1
                                        : strcmp(before->entries[b].path, after->entries[a].path);
        if (order < 0) {
            add_change(&changes, &before->entries[b++], "deleted");
        } else if (order > 0) {
            add_change(&changes, &after->entries[a++], "created");
        } else {
            if (!same(&before->entries[b], &after->entries[a]))
                add_change(&changes, &after->entries[a], "modified");
            a++;
            b++;
        }
    }
    return changes.failed ? -1 : 0;
}

/* Gives what the host makes to the owner of the folder. When root started pyexec, this is the user of the run. */
static int give_away(int folder, int fd)
{
    struct stat owner, own;
    if (fstat(folder, &owner) < 0 || fstat(fd, &own) < 0)
        return -1;
    if (own.st_uid == owner.st_uid && own.st_gid == owner.st_gid)
        return 0;
    return fchown(fd, owner.st_uid, owner.st_gid);
}

static int host_failed(const char *path, int sys_errno, pyexec_error *error)
{
    char what[160];
    snprintf(what, sizeof what, "can't open or write '%.100s' in the workspace", path);
    if (sys_errno != EIO)
        return px_error_exhausted(error, sys_errno, what);
    px_error_errno(error, PYEXEC_INTERNAL, sys_errno, "%s", what);
    return px_error_hint(error, "The file system or the disk of the workspace has an error: read the kernel's log.");
}

static int path_failed(const char *path, const char *what, int sys_errno, pyexec_error *error)
{
    if (sys_errno == ELOOP || sys_errno == EXDEV) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: outside sandbox: '%s' goes through a symbolic link", what,
                     path);
        return px_error_hint(error, "Give a path inside the workspace without symbolic links.");
    }
    if (is_host_failure(sys_errno))
        return host_failed(path, sys_errno, error);
    px_error_errno(error, PYEXEC_INVALID_REQUEST, sys_errno, "%s: '%s'", what, path);
    return px_error_hint(error, sys_errno == ENOENT ? "list_files says which files there are."
                                                    : "Every part of the path except the last must be a directory, "
                                                      "and each part has at most 255 bytes.");
}

/* Makes the folders in the first `length` bytes of the path. Returns a descriptor of the last one, or -1. */
static int make_folders(int folder, const char *path, size_t length)
{
    char part[NAME_MAX + 1];
    px_auto_fd int at = px_open_beneath(folder, ".", O_PATH | O_DIRECTORY, 0);
    for (size_t i = 0; at >= 0 && i < length;) {
        size_t step = strcspn(path + i, "/");
        step = step > length - i ? length - i : step;
        if (step > NAME_MAX) {
            errno = ENAMETOOLONG;
            return -1;
        }
        if (step && !(step == 1 && path[i] == '.')) {
            memcpy(part, path + i, step);
            part[step] = '\0';
            bool made = mkdirat(at, part, 0700) == 0;
            if (!made && errno != EEXIST)
                return -1;
            px_auto_fd int below = px_open_beneath(at, part, O_RDONLY | O_DIRECTORY, 0);
            if (below < 0 || (made && give_away(folder, below) < 0))
                return -1;
            px_close_fd(&at);
            at = TAKE_FD(below);
        }
        i += step;
        i += strspn(path + i, "/");
    }
    return TAKE_FD(at);
}

int px_workspace_make_folder(int folder, const char *path, const char *what, pyexec_error *error)
{
    px_auto_fd int made = make_folders(folder, path, strlen(path));
    return made < 0 ? path_failed(path, what, errno, error) : 0;
}

static int not_regular(const char *path, const char *what, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: '%s' is not a regular file", what, path);
    return px_error_hint(error, "Give the path of a file, not of a folder, pipe, socket or device.");
}

int px_workspace_full(const char *path, int sys_errno, pyexec_error *error)
{
    if (is_host_failure(sys_errno))
        return host_failed(path, sys_errno, error);
    px_error_errno(error, PYEXEC_INVALID_REQUEST, sys_errno, "files: can't write '%s'", path);
    return px_error_hint(error, "Raise workspace_bytes, or send less.");
}

int px_workspace_open_write(int folder, const char *path, pyexec_error *error)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (!*name)
        return path_failed(path, "files", EISDIR, error);
    px_auto_fd int parent = make_folders(folder, path, slash ? (size_t)(slash - path) : 0);
    if (parent < 0)
        return path_failed(path, "files", errno, error);
    px_auto_fd int file = px_open_beneath(parent, name, O_WRONLY | O_CREAT | O_NONBLOCK, 0600);
    struct stat status;
    if (file < 0 || fstat(file, &status) < 0)
        return path_failed(path, "files", errno, error);
    if (!S_ISREG(status.st_mode))
        return not_regular(path, "files", error);
    if (px_ftruncate(file, 0) < 0 || give_away(folder, file) < 0)
        return px_workspace_full(path, errno, error);
    return TAKE_FD(file);
}

int px_workspace_write(int folder, const char *path, const void *bytes, size_t length, pyexec_error *error)
{
    px_auto_fd int file = px_workspace_open_write(folder, path, error);
    if (file < 0)
        return -1;
    return px_write_all(file, bytes, length) < 0 ? px_workspace_full(path, errno, error) : 0;
}

int px_workspace_rename(int folder, const char *from, const char *to, pyexec_error *error)
{
    const char *slash = strrchr(to, '/'), *name = slash ? slash + 1 : to;
    const char *from_slash = strrchr(from, '/');
    if (!*name)
        return path_failed(to, "files", EISDIR, error);
    px_auto_fd int source = make_folders(folder, from, from_slash ? (size_t)(from_slash - from) : 0);
    px_auto_fd int target = make_folders(folder, to, slash ? (size_t)(slash - to) : 0);
    if (source < 0 || target < 0 || renameat(source, from_slash ? from_slash + 1 : from, target, name) < 0)
        return path_failed(to, "files", errno, error);
    return 0;
}

int px_workspace_room(int folder, uint64_t quota, uint64_t *ret, pyexec_error *error)
{
    struct statvfs status;
    if (fstatvfs(folder, &status) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't look at the workspace");
    *ret = (uint64_t)status.f_bavail * status.f_frsize;
    if (quota == UINT64_MAX)
        return 0;
    struct px_snapshot files = {0};
    int result = px_snapshot_take(folder, &files, error);
    quota -= files.file_bytes < quota ? files.file_bytes : quota;
    px_snapshot_done(&files);
    if (quota < *ret)
        *ret = quota;
    return result;
}

int px_workspace_open_read(int folder, const char *path, uint64_t *ret_bytes, pyexec_error *error)
{
    struct stat status;
    px_auto_fd int file = px_open_beneath(folder, path, O_RDONLY | O_NONBLOCK, 0);
    if (file < 0 || fstat(file, &status) < 0)
        return path_failed(path, "read_file", errno, error);
    if (!S_ISREG(status.st_mode))
        return not_regular(path, "read_file", error);
    *ret_bytes = (uint64_t)status.st_size;
    return TAKE_FD(file);
}

int px_workspace_read(int folder, const char *path, size_t limit, struct px_buffer *ret, pyexec_error *error)
{
    uint64_t bytes;
    px_auto_fd int file = px_workspace_open_read(folder, path, &bytes, error);
    if (file < 0)
        return -1;
    if (bytes <= limit)
        return px_read_all(file, ret, limit) < 0 ? path_failed(path, "read_file", errno, error) : 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "read_file: '%s' has more than %zu bytes", path, limit);
    return px_error_hint(error, "Read it in chunks with open() inside a script.");
}

int px_workspace_delete(int folder, const char *path, pyexec_error *error)
{
    const char *slash = strrchr(path, '/');
    char parent[PATH_MAX];
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof parent)
        return path_failed(path, "delete_file", ENAMETOOLONG, error);
    memcpy(parent, path, length);
    parent[length] = '\0';
    px_auto_fd int at = px_open_beneath(folder, length ? parent : ".", O_PATH | O_DIRECTORY, 0);
    const char *name = slash ? slash + 1 : path;
    if (at < 0 || (unlinkat(at, name, 0) < 0 && (errno != EISDIR || unlinkat(at, name, AT_REMOVEDIR) < 0)))
        return path_failed(path, "delete_file", errno, error);
    return 0;
}

static int add_folder_entry(struct pyexec_file_list *list, const char *name, const struct stat *status)
{
    mode_t mode = status->st_mode;
    struct pyexec_file *file = px_file_list_add(list, name);
    if (!file)
        return -1;
    file->kind = S_ISREG(mode) ? "file" : S_ISDIR(mode) ? "folder" : S_ISLNK(mode) ? "link" : "other";
    file->bytes = (uint64_t)status->st_size;
    file->mode = (int)(mode & 07777);
    file->modified_ns = px_timespec_ns(status->st_mtim);
    return 0;
}

int px_workspace_list_folder(int folder, const char *path, struct pyexec_file_list *ret, pyexec_error *error)
{
    px_auto_fd int fd = px_open_beneath(folder, *path ? path : ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *opened = fd < 0 ? NULL : fdopendir(fd);
    if (!opened)
        return path_failed(path, "list_folder", errno, error);
    (void)TAKE_FD(fd);
    struct dirent *item;
    size_t count = 0;
    int failed = 0;
    while (!failed && (item = next_entry(opened)) && count++ < ENTRIES_MAX) {
        struct stat status;
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0 &&
            fstatat(dirfd(opened), item->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            add_folder_entry(ret, item->d_name, &status) < 0)
            failed = ENOMEM;
    }
    if (!failed && !item)
        failed = errno;
    ret->truncated = item;
    closedir(opened);
    return failed ? path_failed(path, "list_folder", failed, error) : 0;
}

int px_snapshot_list(const struct px_snapshot *snapshot, struct pyexec_file_list *ret)
{
    for (size_t i = 0; i < snapshot->count; i++) {
        struct pyexec_file *file = px_file_list_add(ret, snapshot->entries[i].path);
        if (!file)
            return -1;
        file->bytes = snapshot->entries[i].size;
    }
    return 0;
}
