/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/retry.h"
#include "sandbox/mount.h"
#include "sandbox/root.h"

/* Returns the next entry of a folder, without "." and "..". Returns NULL at the end (errno is 0) or on failure. */
static const struct dirent *next_entry(DIR *folder)
{
    const struct dirent *entry;
    errno = 0;
    do
        entry = readdir(folder);
    while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
    return entry;
}

/* Makes an empty file or folder that px_mountpoint_make() mounts on, or a copy of a symbolic link. */
static int make_entry(int tmpfs, int folder, const struct dirent *entry)
{
    if (entry->d_type == DT_DIR)
        return mkdirat(tmpfs, entry->d_name, 0755);
    if (entry->d_type == DT_LNK) {
        char target[PATH_MAX];
        ssize_t length = readlinkat(folder, entry->d_name, target, sizeof target - 1);
        if (length < 0)
            return -1;
        target[length] = '\0';
        return symlinkat(target, tmpfs, entry->d_name);
    }
    px_auto_fd int file = px_openat(tmpfs, entry->d_name, O_CREAT | O_WRONLY | O_CLOEXEC, 0444);
    return file < 0 ? -1 : 0;
}

/* Makes all folders of `rest`, a relative path. */
static int make_folders(int tmpfs, const char *rest)
{
    char part[PX_WORKSPACE_PATH_MAX];
    rest += strspn(rest, "/");
    for (size_t length = 0; rest[length];) {
        length += strspn(rest + length, "/");
        length += strcspn(rest + length, "/");
        memcpy(part, rest, length);
        part[length] = '\0';
        if (mkdirat(tmpfs, part, 0755) < 0 && errno != EEXIST)
            return -1;
    }
    return 0;
}

static int fill_tmpfs(const struct px_mountpoint *point, const char *rest)
{
    DIR *px_auto_folder folder = opendir(point->covered);
    if (!folder)
        return -1;
    const struct dirent *entry;
    while ((entry = next_entry(folder)))
        if (make_entry(point->tmpfs, dirfd(folder), entry) < 0)
            return -1;
    return errno ? -1 : make_folders(point->tmpfs, rest);
}

/* Returns the length of the part of `path` that exists. */
static size_t existing_length(const char *path)
{
    char part[PX_WORKSPACE_PATH_MAX];
    struct stat status;
    size_t length = strlen(path), existing = 0;
    while (existing < length) {
        size_t next = existing + 1 + strcspn(path + existing + 1, "/");
        memcpy(part, path, next);
        part[next] = '\0';
        if (stat(part, &status) < 0)
            break;
        existing = next;
    }
    return existing;
}

int px_mountpoint_find(struct px_mountpoint *point, const char *path, pyexec_error *error)
{
    struct stat root, status;
    size_t length = strnlen(path, sizeof point->covered);
    point->tmpfs = -1;
    if (length >= sizeof point->covered || path[0] != '/') {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "workspace path too long or not absolute");
        return px_error_hint(error, "Give an absolute path of less than %d bytes.", PX_WORKSPACE_PATH_MAX);
    }
    size_t existing = existing_length(path);
    if (existing == length)
        return 0;
    memcpy(point->covered, path, existing);
    strcpy(point->covered + existing, existing ? "" : "/");
    if (stat("/", &root) < 0 || stat(point->covered, &status) < 0 || status.st_dev != root.st_dev ||
        !S_ISDIR(status.st_mode)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "the workspace '%s' can't be shown in the sandbox", path);
        return px_error_hint(error, "Use a folder that is not below the interpreter's own files.");
    }
    point->tmpfs = px_tmpfs_new(1 << 20, 4096, "0755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (point->tmpfs >= 0 && fill_tmpfs(point, path + existing + 1) == 0)
        return 0;
    px_error_errno(error, PYEXEC_INTERNAL, errno, "can't make a private tmpfs for '%s'", path);
    px_mountpoint_done(point);
    return -1;
}

void px_mountpoint_done(struct px_mountpoint *point)
{
    px_close_fd(&point->tmpfs);
}

/* Shows the entries of the covered folder in the tmpfs that covers it. */
static int bind_entries(int tmpfs, DIR *covered)
{
    const struct dirent *entry;
    while ((entry = next_entry(covered))) {
        if (entry->d_type == DT_LNK)
            continue;
        px_auto_fd int mount = px_open_tree(dirfd(covered), entry->d_name, OPEN_TREE_CLONE | AT_RECURSIVE);
        if (mount < 0 || px_attach(mount, tmpfs, entry->d_name) < 0)
            return -1;
    }
    return errno ? -1 : 0;
}

int px_mountpoint_make(const struct px_mountpoint *point, pyexec_error *error)
{
    if (point->tmpfs < 0)
        return 0;
    DIR *px_auto_folder covered = opendir(point->covered);
    if (!covered || px_attach(point->tmpfs, AT_FDCWD, point->covered) < 0 || bind_entries(point->tmpfs, covered) < 0 ||
        px_mount_restrict(point->tmpfs, MOUNT_ATTR_RDONLY, false) < 0 ||
        (strcmp(point->covered, "/") == 0 && px_root_switch(point->tmpfs) < 0))
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't mount over '%s'", point->covered);
    return 0;
}
