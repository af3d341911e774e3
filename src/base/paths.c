/* SPDX-License-Identifier: Apache-2.0 */
#include "base/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
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
