/* SPDX-License-Identifier: Apache-2.0 */
#include "base/socket_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_own_folder(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
           !(status.st_mode & (S_IWGRP | S_IWOTH)) && access(path, W_OK | X_OK) == 0;
}

bool px_socket_folder(char *ret, size_t size, bool make)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR"), *temporary = getenv("TMPDIR");
    unsigned uid = geteuid();
    if (uid == 0) {
        snprintf(ret, size, "/run/pyexec");
        if (make)
            mkdir(ret, 0755); /* is_own_folder() checks whether it exists now */
        if (is_own_folder(ret))
            return true;
    } else {
        snprintf(ret, size, "%s", runtime ? runtime : "");
        if (*ret == '/' && is_own_folder(ret))
            return true;
        snprintf(ret, size, "/run/user/%u", uid);
        if (is_own_folder(ret))
            return true;
    }
    snprintf(ret, size, "%s/pyexec-%u", temporary && *temporary == '/' ? temporary : "/tmp", uid);
    if (make)
        mkdir(ret, 0700);
    return is_own_folder(ret);
}
