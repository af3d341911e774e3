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

int px_mountpoint_find(struct px_mountpoint *point, const char *path, pyexec_error *error)
{
    char part[PX_WORKSPACE_PATH_MAX];
    struct stat root, status;
    size_t length = strnlen(path, sizeof part), existing = 0, next = 0;
    point->private_length = 0;
    if (length >= sizeof part || path[0] != '/' || stat("/", &root) < 0)
        return px_error_set(error, PYEXEC_INVALID_REQUEST, "workspace path too long or not absolute");
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
        point->private_length = existing;
        return 0;
    }
    memcpy(part, path, next);
    part[next] = '\0';
    if (mkdir(part, 0755) < 0) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, errno,
                       "the workspace '%s' can't be shown in the sandbox", path);
        return px_error_hint(error, "Use a folder that is not below the interpreter's own files.");
    }
    point->private_length = next;
    return 0;
}

int px_mountpoint_make(const struct px_mountpoint *point, const char *path, pyexec_error *error)
{
    if (!point->private_length)
        return 0;
    char part[PX_WORKSPACE_PATH_MAX];
    size_t at = point->private_length;
    memcpy(part, path, at);
    part[at] = '\0';
    px_auto_fd int tmpfs = px_tmpfs_new(65536, 256, "0755",
                                        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (tmpfs < 0 || px_attach(tmpfs, AT_FDCWD, part) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't mount over '%s'", part);
    while (path[at]) {
        at += 1 + strcspn(path + at + 1, "/");
        memcpy(part, path, at);
        part[at] = '\0';
        if (mkdir(part, 0755) < 0)
            return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't make '%s'", part);
    }
    return px_mount_restrict(tmpfs, MOUNT_ATTR_RDONLY, false) < 0
               ? px_error_errno(error, PYEXEC_INTERNAL, errno, "can't seal '%s'", path)
               : 0;
}
