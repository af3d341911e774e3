/* SPDX-License-Identifier: Apache-2.0 */
#include "environments/environment_trust.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define WHY \
    "Packages of an environment run before a script's last layers are closed, so only root, or the user who runs " \
    "pyexec, may be able to write there"

/* In a user namespace the files of a root that is not mapped have the overflow id. The owner of "/" shows which id that is. */
static bool is_operator(uid_t owner)
{
    struct stat top;
    return owner == 0 || owner == geteuid() || (stat("/", &top) == 0 && owner == top.st_uid);
}

static int other_owner(const char *path, uid_t owner, pyexec_error *error)
{
    px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "environment: '%s' belongs to the user %u, who could change it",
                 path, (unsigned)owner);
    return px_error_hint(error, WHY ". Change the owner, or set [env] root to a folder of your own.");
}

static int writable(const char *path, mode_t mode, pyexec_error *error)
{
    px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "environment: %s can write to '%s' (mode %04o)",
                 mode & S_IWOTH ? "all users" : "a group", path, (unsigned)(mode & 07777));
    return px_error_hint(error, WHY ": chmod go-w '%s'.", path);
}

int px_environment_trust(int fd, const char *path, pyexec_error *error)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return px_error_errno(error, PYEXEC_PYTHON_NOT_FOUND, errno, "environment: can't look at '%s'", path);
    if (!is_operator(status.st_uid))
        return other_owner(path, status.st_uid, error);
    /* The kernel shows the mask of an access control list as the group's permissions (acl(5)). */
    return status.st_mode & (S_IWGRP | S_IWOTH) ? writable(path, status.st_mode, error) : 0;
}

/* A group that gives nobody else the right to write: that of root, or one with the number of the user who runs pyexec, as
 * distributions make a private group for each user. In a user namespace root's group can have the overflow id, as "/" has then. */
static bool is_operators_group(gid_t group)
{
    struct stat top;
    return group == 0 || group == geteuid() || (stat("/", &top) == 0 && group == top.st_gid);
}

int px_environment_trust_above(const char *path, pyexec_error *error)
{
    char real[PATH_MAX];
    if (!realpath(path, real))
        return px_error_errno(error, PYEXEC_PYTHON_NOT_FOUND, errno, "environment: can't look at '%s'", path);
    for (char *slash; (slash = strrchr(real, '/')) && real[1];) {
        struct stat status;
        slash[slash == real] = '\0';
        if (stat(real, &status) < 0)
            return px_error_errno(error, PYEXEC_PYTHON_NOT_FOUND, errno, "environment: can't look at '%s'", real);
        if (!is_operator(status.st_uid))
            return other_owner(real, status.st_uid, error);
        if (status.st_mode & S_ISVTX)
            continue;
        if (status.st_mode & S_IWOTH || (status.st_mode & S_IWGRP && !is_operators_group(status.st_gid)))
            return writable(real, status.st_mode, error);
    }
    return 0;
}
