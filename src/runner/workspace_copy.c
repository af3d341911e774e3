/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/workspace_copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "runner/folder.h"

#define COPIED_ENTRIES_MAX 20000
#define BLOCK 65536

/* A file with several names: where the first copy is. */
struct linked {
    ino_t inode;
    char *path; /* relative to the copy */
};

struct copying {
    int to; /* the whole copy */
    size_t met;
    struct linked *linked;
    size_t linked_count;
    char *block;
    const char *why; /* what can't be copied */
};

static void copying_done(struct copying *copying)
{
    for (size_t i = 0; i < copying->linked_count; i++)
        free(copying->linked[i].path);
    free(copying->linked);
    free(copying->block);
}

static int copy_bytes(struct copying *copying, int from, int to, off_t at, off_t end)
{
    if (lseek(to, at, SEEK_SET) < 0)
        return -1;
    while (at < end) {
        size_t left = end - at < BLOCK ? (size_t)(end - at) : BLOCK;
        ssize_t n = px_pread(from, copying->block, left, at);
        if (n <= 0)
            return n < 0 ? -1 : 0; /* the file has become shorter */
        if (px_write_all(to, copying->block, (size_t)n) < 0)
            return -1;
        at += n;
    }
    return 0;
}

/* Copies the parts with data; the holes between them stay holes. */
static int copy_content(struct copying *copying, int from, int to, off_t size)
{
    if (px_ftruncate(to, size) < 0)
        return -1;
    for (off_t at = 0; at < size;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0)
            return errno == ENXIO ? 0 : -1;
        off_t hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0)
            return errno == ENXIO ? 0 : -1; /* the file has become shorter */
        if (copy_bytes(copying, from, to, data, hole < size ? hole : size) < 0)
            return -1;
        at = hole;
    }
    return 0;
}

/* In a workspace made by pyexec all entries belong to the run's user. */
static int copy_attributes(int to, const struct stat *status)
{
    const struct timespec times[2] = {status->st_atim, status->st_mtim};
    struct stat own;
    if (fstat(to, &own) < 0)
        return -1;
    if ((own.st_uid != status->st_uid || own.st_gid != status->st_gid) &&
        fchown(to, status->st_uid, status->st_gid) < 0)
        return -1;
    return fchmod(to, status->st_mode & 0777) < 0 ? -1 : futimens(to, times);
}

static const struct linked *find_linked(const struct copying *copying, ino_t inode)
{
    for (size_t i = 0; i < copying->linked_count; i++)
        if (copying->linked[i].inode == inode)
            return &copying->linked[i];
    return NULL;
}

static int remember_linked(struct copying *copying, ino_t inode, const char *path)
{
    struct linked *more = realloc(copying->linked, (copying->linked_count + 1) * sizeof *more);
    if (!more)
        return -1;
    copying->linked = more;
    more[copying->linked_count] = (struct linked){inode, strdup(path)};
    if (!more[copying->linked_count].path)
        return -1;
    copying->linked_count++;
    return 0;
}

static int copy_file(struct copying *copying, int parent, const char *name, int to, const char *path)
{
    struct stat status;
    px_auto_fd int file = px_openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    int denied = file < 0 && errno == EACCES;
    px_auto_fd int handle = denied ? px_openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0) : -1;
    if (handle >= 0) { /* the script took away its owner's permission */
        char self[48];
        if (fstat(handle, &status) < 0 || !S_ISREG(status.st_mode))
            return -1;
        snprintf(self, sizeof self, "/proc/self/fd/%d", handle);
        px_folder_set_mode(handle, 0600);
        file = px_open(self, O_RDONLY | O_CLOEXEC, 0);
        int saved = errno;
        px_folder_set_mode(handle, status.st_mode & 0777);
        errno = saved;
    }
    if (file < 0 || (handle < 0 && fstat(file, &status) < 0))
        return errno == ENOENT ? 0 : -1; /* it has been removed meanwhile */
    if (!S_ISREG(status.st_mode))
        return 0;
    const struct linked *first = status.st_nlink > 1 ? find_linked(copying, status.st_ino) : NULL;
    if (first)
        return linkat(copying->to, first->path, to, name, 0);
    px_auto_fd int copy = px_openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (copy < 0 || copy_content(copying, file, copy, status.st_size) < 0 || copy_attributes(copy, &status) < 0)
        return -1;
    return status.st_nlink > 1 ? remember_linked(copying, status.st_ino, path) : 0;
}

static int copy_link(int parent, const char *name, int to)
{
    char target[PATH_MAX];
    struct stat status;
    ssize_t n = readlinkat(parent, name, target, sizeof target - 1);
    if (n < 0 || fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || errno == EINVAL ? 0 : -1;
    target[n] = '\0';
    if (symlinkat(target, to, name) < 0)
        return -1;
    return geteuid() == status.st_uid ? 0 : fchownat(to, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW);
}

static int copy_folder(struct copying *copying, int from, int to, const char *path, int depth);

static int copy_entry(struct copying *copying, int parent, const char *name, int to, const char *above, int depth)
{
    struct stat status;
    char path[PATH_MAX];
    if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -1;
    if (snprintf(path, sizeof path, "%s%s%s", above, *above ? "/" : "", name) >= (int)sizeof path ||
        ++copying->met > COPIED_ENTRIES_MAX || depth >= PX_FOLDER_DEPTH_MAX) {
        copying->why = "more than 20,000 entries, or too deep folders";
        return -1;
    }
    if (S_ISREG(status.st_mode))
        return copy_file(copying, parent, name, to, path);
    if (S_ISLNK(status.st_mode))
        return copy_link(parent, name, to);
    if (!S_ISDIR(status.st_mode))
        return 0;
    int changed;
    mode_t mode;
    px_auto_fd int folder = px_folder_open(parent, name, &changed, &mode);
    if (folder < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    px_auto_fd int copy =
        mkdirat(to, name, 0700) < 0 ? -1 : px_openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    int result = copy < 0 ? -1 : copy_folder(copying, folder, copy, path, depth + 1);
    int saved = errno;
    if (changed)
        px_folder_set_mode(folder, mode);
    errno = saved;
    return result < 0 ? -1 : copy_attributes(copy, &status);
}

static int copy_folder(struct copying *copying, int from, int to, const char *path, int depth)
{
    int own = px_openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *folder = own < 0 ? NULL : fdopendir(own);
    if (!folder) {
        px_close_fd(&own);
        return -1;
    }
    const struct dirent *entry;
    int result = 0;
    errno = 0;
    while (result == 0 && (entry = readdir(folder))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = copy_entry(copying, dirfd(folder), entry->d_name, to, path, depth);
        errno = result < 0 ? errno : 0;
    }
    if (result == 0 && errno)
        result = -1;
    int saved = errno;
    closedir(folder);
    errno = saved;
    return result;
}

int px_workspace_copy(int from, int to, pyexec_error *error)
{
    struct stat status;
    px_auto(copying_done) struct copying copying = {.to = to, .block = malloc(BLOCK)};
    if (!copying.block)
        return px_error_oom(error);
    px_folder_grant(from);
    px_auto_fd int top =
        px_openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); /* `to` may be an O_PATH descriptor */
    if (top >= 0 && copy_folder(&copying, from, top, "", 0) == 0 && fstat(from, &status) == 0 &&
        copy_attributes(top, &status) == 0)
        return 0;
    if (copying.why) {
        px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the workspace has %s", copying.why);
        return px_error_hint(error, "Remove some, or put them into one file (zipfile, tarfile).");
    }
    if (px_errno_exhausted(errno) || errno == ENOSPC)
        return px_error_exhausted(error, errno == ENOSPC ? ENOMEM : errno, "can't copy the workspace");
    return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't copy the workspace");
}
