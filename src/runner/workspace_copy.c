/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/workspace_copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <search.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/paths.h"
#include "base/retry.h"
#include "base/texts.h"
#include "runner/folder.h"
#include "runner/mount_id.h"

#define COPIED_ENTRIES_MAX 20000

/* A file with several names: where the first copy is. */
struct linked {
    dev_t device;
    ino_t inode;
    char path[]; /* relative to the copy */
};

struct copying {
    int to; /* the whole copy */
    size_t met;
    void *linked;              /* a tree of struct linked (tsearch(3)) */
    uint64_t mount;            /* the number of the source's mount */
    bool no_clone, no_range;   /* this file system refuses it */
    bool probed, newest_first; /* how the copy's file system lists a folder */
    const char *why, *hint;    /* what can't be copied, and what to do */
};

static void copying_done(struct copying *copying)
{
    tdestroy(copying->linked, free);
}

/* The number of the mount on which the file is, or 0 (before Linux 5.8). */
static uint64_t mount_of(int fd)
{
    uint64_t number;
    return px_mount_id(fd, "", AT_EMPTY_PATH, &number) ? number : 0;
}

/* The script's mount of a folder of the host has none of the mounts in that folder, so what is on them is not the script's. */
static int check_mount(struct copying *copying, int fd)
{
    if (mount_of(fd) == copying->mount)
        return 0;
    copying->why = "a mount inside of it";
    copying->hint = "Unmount it, or fork a session that has its own folder.";
    return -1;
}

static int copy_bytes(struct copying *copying, int from, int to, off_t at, off_t end)
{
    if (lseek(to, at, SEEK_SET) < 0)
        return -1;
    while (at < end) {
        size_t left = (size_t)(end - at);
        ssize_t n = copying->no_range ? -1 : px_copy_file_range(from, &at, to, left);
        if (n < 0) { /* the two are on different file systems, or theirs can't do it: copy_file_range(2) */
            copying->no_range = true;
            n = px_sendfile(to, from, &at, left);
        }
        if (n <= 0)
            return (int)n; /* 0: the file has become shorter */
    }
    return 0;
}

/* Shares the bytes with the source's file until one of them is written to, if the file system can do so. Otherwise copies the parts
 * with data; the holes between them stay holes. */
static int copy_content(struct copying *copying, int from, int to, off_t size)
{
    if (!copying->no_clone && ioctl(to, FICLONE, from) == 0)
        return 0;
    copying->no_clone = true;
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

static int compare_linked(const void *left, const void *right)
{
    const struct linked *a = left, *b = right;
    if (a->inode != b->inode)
        return a->inode < b->inode ? -1 : 1;
    return a->device < b->device ? -1 : a->device > b->device;
}

/* Returns where the first copy of a file with several names is, which is `path` if there is none yet. NULL: no memory. */
static const char *find_linked(struct copying *copying, const struct stat *status, const char *path)
{
    px_auto_free struct linked *wanted = malloc(sizeof *wanted + strlen(path) + 1);
    if (!wanted)
        return NULL;
    wanted->device = status->st_dev;
    wanted->inode = status->st_ino;
    strcpy(wanted->path, path);
    struct linked *const *found = tsearch(wanted, &copying->linked, compare_linked);
    if (found && *found == wanted)
        wanted = NULL; /* the tree has it now */
    return found ? (*found)->path : NULL;
}

/* Returns a descriptor of the file, or -1. Links are not followed. */
static int open_file(int parent, const char *name, struct stat *ret_status)
{
    px_auto_fd int file = px_open_beneath(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (file >= 0 || errno != EACCES)
        return file < 0 || fstat(file, ret_status) < 0 ? -1 : TAKE_FD(file);
    /* The script took away its owner's permission. */
    char self[48];
    px_auto_fd int handle = px_open_beneath(parent, name, O_PATH | O_NOFOLLOW, 0);
    if (handle < 0 || fstat(handle, ret_status) < 0)
        return -1;
    if (!S_ISREG(ret_status->st_mode)) {
        errno = ENOENT;
        return -1;
    }
    snprintf(self, sizeof self, "/proc/self/fd/%d", handle);
    px_folder_set_mode(handle, 0600);
    file = px_open(self, O_RDONLY | O_CLOEXEC, 0);
    int saved = errno;
    px_folder_set_mode(handle, ret_status->st_mode & 0777);
    errno = saved;
    return TAKE_FD(file);
}

/* These say that something else has the name now. */
static bool is_gone(int number)
{
    return number == ENOENT || number == ENOTDIR || number == ELOOP || number == EINVAL || number == ENXIO;
}

static int copy_file(struct copying *copying, int parent, const char *name, int to, const char *path)
{
    struct stat status;
    px_auto_fd int file = open_file(parent, name, &status);
    if (file < 0)
        return is_gone(errno) ? 0 : -1;
    if (!S_ISREG(status.st_mode))
        return 0;
    if (check_mount(copying, file) < 0)
        return -1;
    const char *first = status.st_nlink > 1 ? find_linked(copying, &status, path) : path;
    if (!first) {
        errno = ENOMEM;
        return -1;
    }
    if (strcmp(first, path) != 0)
        return linkat(copying->to, first, to, name, 0);
    px_auto_fd int copy = px_openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return copy < 0 || copy_content(copying, file, copy, status.st_size) < 0 || copy_attributes(copy, &status) < 0 ? -1
                                                                                                                   : 0;
}

static int copy_link(int parent, const char *name, int to)
{
    char target[PATH_MAX];
    struct stat status;
    ssize_t n = readlinkat(parent, name, target, sizeof target - 1);
    if (n < 0 || fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return is_gone(errno) ? 0 : -1;
    target[n] = '\0';
    if (symlinkat(target, to, name) < 0)
        return -1;
    if (geteuid() != status.st_uid && fchownat(to, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    const struct timespec times[2] = {status.st_atim, status.st_mtim};
    return utimensat(to, name, times, AT_SYMLINK_NOFOLLOW);
}

static int too_many(struct copying *copying)
{
    copying->why = "more than 20,000 entries, or too deep folders";
    copying->hint = "Remove some, or put them into one file (zipfile, tarfile).";
    return -1;
}

static int copy_folder(struct copying *copying, int from, int to, const char *path, int depth);

static int copy_entry(struct copying *copying, int parent, const char *name, int to, const char *above, int depth)
{
    struct stat status;
    char path[PATH_MAX];
    if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -1;
    if (snprintf(path, sizeof path, "%s%s%s", above, *above ? "/" : "", name) >= (int)sizeof path ||
        depth >= PX_FOLDER_DEPTH_MAX)
        return too_many(copying);
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
        return is_gone(errno) ? 0 : -1;
    px_auto_fd int copy = check_mount(copying, folder) < 0 || mkdirat(to, name, 0700) < 0
                              ? -1
                              : px_openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    int result = copy < 0 ? -1 : copy_folder(copying, folder, copy, path, depth + 1);
    int saved = errno;
    if (changed)
        px_folder_set_mode(folder, mode);
    errno = saved;
    return result < 0 ? -1 : copy_attributes(copy, &status);
}

static DIR *open_listing(int folder)
{
    int own = px_openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *listing = own < 0 ? NULL : fdopendir(own);
    if (!listing)
        px_close_fd(&own);
    return listing;
}

/* Returns the next name of a folder, or NULL; errno is 0 at its end. */
static const char *next_name(DIR *listing)
{
    const struct dirent *entry;
    do {
        errno = 0;
        entry = readdir(listing);
    } while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
    return entry ? entry->d_name : NULL;
}

/* All names of a folder, in the order in which its file system lists them. */
static int list_names(struct copying *copying, int folder, struct px_texts *ret)
{
    DIR *listing = open_listing(folder);
    const char *name;
    int result = 0;
    if (!listing)
        return -1;
    while (result == 0 && (name = next_name(listing))) {
        px_texts_add(ret, name);
        result = ++copying->met > COPIED_ENTRIES_MAX ? too_many(copying) : 0;
    }
    int saved = ret->failed ? ENOMEM : errno;
    closedir(listing);
    errno = saved;
    return result < 0 || saved ? -1 : 0;
}

/* Tries it in an empty folder: tmpfs lists the newest entry first in some versions of Linux, and last in others. If a file system
 * sorts names, the order of creation does not matter. */
static bool lists_newest_first(struct copying *copying, int folder)
{
    static const char *const names[] = {".pyexec-older", ".pyexec-newer"};
    px_auto(px_texts_done) struct px_texts seen = {0};
    struct copying uncounted = {0};
    if (copying->probed)
        return copying->newest_first;
    copying->probed = true;
    for (size_t i = 0; i < PX_COUNT(names); i++)
        (void)!mknodat(folder, names[i], S_IFREG | 0600, 0);
    copying->newest_first =
        list_names(&uncounted, folder, &seen) == 0 && seen.count == 2 && strcmp(seen.items[0], names[1]) == 0;
    for (size_t i = 0; i < PX_COUNT(names); i++)
        (void)!unlinkat(folder, names[i], 0);
    return copying->newest_first;
}

/* The copy is listed in the same order as its source: programs use the order of os.listdir(). So the entries are made in an order for
 * which the copy's file system lists them so. */
static int copy_folder(struct copying *copying, int from, int to, const char *path, int depth)
{
    px_auto(px_texts_done) struct px_texts names = {0};
    int result = list_names(copying, from, &names);
    bool backwards = result == 0 && names.count > 1 && lists_newest_first(copying, to);
    for (size_t i = 0; result == 0 && i < names.count; i++)
        result = copy_entry(copying, from, names.items[backwards ? names.count - 1 - i : i], to, path, depth);
    return result;
}

static int cannot_copy(const struct copying *copying, pyexec_error *error)
{
    if (copying->why) {
        px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the workspace has %s", copying->why);
        return px_error_hint(error, "%s", copying->hint);
    }
    if (px_errno_exhausted(errno) || errno == ENOSPC)
        return px_error_exhausted(error, errno == ENOSPC ? ENOMEM : errno, "can't copy the workspace");
    return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't copy the workspace");
}

int px_workspace_copy(int from, int to, pyexec_error *error)
{
    struct stat status;
    px_auto(copying_done) struct copying copying = {.to = to, .mount = mount_of(from)};
    px_folder_grant(from);
    px_auto_fd int top =
        px_openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); /* `to` may be an O_PATH descriptor */
    if (top >= 0 && copy_folder(&copying, from, top, "", 0) == 0 && fstat(from, &status) == 0 &&
        copy_attributes(top, &status) == 0)
        return 0;
    return cannot_copy(&copying, error);
}

bool px_workspace_is_empty(int folder)
{
    px_folder_grant(folder);
    DIR *listing = open_listing(folder);
    if (!listing)
        return false;
    bool empty = !next_name(listing) && errno == 0;
    closedir(listing);
    return empty;
}

int px_workspace_restore(int copy, int workspace, const struct stat *status, pyexec_error *error)
{
    px_folder_empty(workspace);
    if (!px_workspace_is_empty(workspace))
        return px_error_set(error, PYEXEC_INTERNAL, "can't remove all files of the workspace");
    if (copy >= 0 && px_workspace_copy(copy, workspace, error) < 0)
        return -1;
    px_auto_fd int top = px_openat(workspace, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    return top < 0 || copy_attributes(top, status) < 0 ? cannot_copy(&(struct copying){0}, error) : 0;
}
