/* SPDX-License-Identifier: Apache-2.0 */
#include "base/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

bool px_path_below(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

bool px_path_has_parent(const char *path, size_t length)
{
    for (size_t i = 0; i < length;) {
        const char *slash = memchr(path + i, '/', length - i);
        size_t part = slash ? (size_t)(slash - path) - i : length - i;
        if (part == 2 && path[i] == '.' && path[i + 1] == '.')
            return true;
        i += part + 1;
    }
    return false;
}

int px_open_beneath(int folder, const char *path, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (unsigned)(flags | O_CLOEXEC),
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    int fd;
    do
        fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
    while (fd < 0 && errno == EINTR);
    return fd;
}

bool px_path_search(const char *name, bool (*take)(void *closure, const char *program), void *closure)
{
    const char *at = getenv("PATH");
    at = at && *at ? at : "/usr/local/bin:/usr/bin:/bin";
    while (at) {
        char program[PATH_MAX];
        struct stat status;
        size_t length = strcspn(at, ":");
        if (at[0] == '/' &&
            (size_t)snprintf(program, sizeof program, "%.*s/%s", (int)length, at, name) < sizeof program &&
            access(program, X_OK) == 0 && stat(program, &status) == 0 && S_ISREG(status.st_mode) &&
            take(closure, program))
            return true;
        at = at[length] ? at + length + 1 : NULL;
    }
    return false;
}
