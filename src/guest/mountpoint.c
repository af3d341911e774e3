#include "guest/mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "launch/launch.h"
#include "sandbox/mount.h"

static bool is_empty(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder)
        return false;
    size_t count = 0;
    while (count <= 2 && readdir(folder))
        count++;
    closedir(folder);
    return count <= 2;
}

static int make_private(struct px_mountpoint *point, const char *path, size_t at,
                        pyexec_error *error)
{
    char part[PX_WORKSPACE_PATH_MAX];
    size_t start = at + 1;
    point->private_length = at;
    point->tmpfs = px_tmpfs_new(65536, 256, "0755",
                                MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (point->tmpfs < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't make a private tmpfs");
    while (path[at]) {
        at += 1 + strcspn(path + at + 1, "/");
        memcpy(part, path + start, at - start);
        part[at - start] = '\0';
        if (mkdirat(point->tmpfs, part, 0755) < 0) {
            px_mountpoint_done(point);
            return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't make '%s'", path);
        }
    }
    return 0;
}

int px_mountpoint_find(struct px_mountpoint *point, const char *path, pyexec_error *error)
{
    char part[PX_WORKSPACE_PATH_MAX];
    struct stat root, status;
    size_t length = strnlen(path, sizeof part), existing = 0, next = 0;
    *point = (struct px_mountpoint){0, -1};
    if (length >= sizeof part || path[0] != '/' || stat("/", &root) < 0) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "workspace path too long or not absolute");
        return px_error_hint(error, "Give an absolute path of less than %d bytes.", PX_WORKSPACE_PATH_MAX);
    }
    while (next < length) {
        next = existing + 1 + strcspn(path + existing + 1, "/");
        memcpy(part, path, next);
        part[next] = '\0';
        if (stat(part, &status) < 0)
            break;
        existing = next;
    }
    if (existing == length)
        return 0;
    part[existing] = '\0';
    if (existing && stat(part, &status) == 0 && status.st_dev == root.st_dev && is_empty(part)) {
        return make_private(point, path, existing, error);
    }
    memcpy(part, path, next);
    part[next] = '\0';
    if (mkdir(part, 0755) < 0) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, errno,
                       "the workspace '%s' can't be shown in the sandbox", path);
        return px_error_hint(error, "Use a folder that is not below the interpreter's own files.");
    }
    return make_private(point, path, next, error);
}

void px_mountpoint_done(struct px_mountpoint *point)
{
    px_close_fd(&point->tmpfs);
}

int px_mountpoint_make(const struct px_mountpoint *point, const char *path, pyexec_error *error)
{
    if (!point->private_length)
        return 0;
    char part[PX_WORKSPACE_PATH_MAX];
    memcpy(part, path, point->private_length);
    part[point->private_length] = '\0';
    if (px_attach(point->tmpfs, AT_FDCWD, part) < 0 ||
        px_mount_restrict(point->tmpfs, MOUNT_ATTR_RDONLY, false) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't mount over '%s'", part);
    return 0;
}
