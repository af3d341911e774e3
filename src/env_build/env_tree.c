/* SPDX-License-Identifier: Apache-2.0 */
#include "env_build/env_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/retry.h"

static DIR *open_folder(int parent, const char *name)
{
    int fd = px_openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !folder)
        px_close_fd(&fd);
    return folder;
}

static const struct dirent *next_entry(DIR *folder)
{
    const struct dirent *entry;
    while ((entry = readdir(folder)) && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0))
        ;
    return entry;
}

static void keep_errno(int *ret)
{
    if (!*ret && errno != ENOENT)
        *ret = errno;
}

static void remove_below(int parent, const char *name, int *failed)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return;
    if (errno != EISDIR && errno != EPERM) { /* EPERM: unlink(2) of a folder on some file systems */
        keep_errno(failed);
        return;
    }
    /* A folder that its owner can't write to keeps its entries. */
    if (fchmodat(parent, name, 0700, 0) < 0)
        keep_errno(failed);
    px_auto_folder DIR *folder = open_folder(parent, name);
    if (!folder) {
        keep_errno(failed);
        return;
    }
    for (const struct dirent *entry; (entry = next_entry(folder));)
        remove_below(dirfd(folder), entry->d_name, failed);
    if (unlinkat(parent, name, AT_REMOVEDIR) < 0)
        keep_errno(failed);
}

int env_tree_remove(int parent, const char *name)
{
    int failed = 0;
    remove_below(parent, name, &failed);
    errno = failed;
    return failed ? -1 : 0;
}

int env_tree_make_read_only(int parent, const char *name)
{
    struct stat status;
    if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if (S_ISLNK(status.st_mode))
        return 0;
    if (S_ISDIR(status.st_mode)) {
        px_auto_folder DIR *folder = open_folder(parent, name);
        if (!folder)
            return -1;
        for (const struct dirent *entry; (entry = next_entry(folder));)
            if (env_tree_make_read_only(dirfd(folder), entry->d_name) < 0)
                return -1;
    }
    /* Others may read: the scripts of a service run with ids of their own. */
    mode_t mode = (status.st_mode & 0555) | 0444 | (S_ISDIR(status.st_mode) ? 0111 : 0);
    return fchmodat(parent, name, mode, 0);
}
