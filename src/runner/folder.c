/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/retry.h"

#define LIST_MODE (S_IRUSR | S_IXUSR)

/* Changes the mode by the link in /proc, which leads to the open folder itself. fchmod(2) refuses O_PATH
 * descriptors, and fchmodat(2) with "." needs permission to search the folder. */
static int set_mode(int folder, mode_t mode)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", folder);
    return chmod(path, mode);
}

void px_folder_set_mode(int folder, mode_t mode)
{
    (void)!set_mode(folder, mode);
}

/* Returns 1 when the mode was changed, 0 when no change was needed, or -1 with errno. */
static int grant(int folder, mode_t needed, mode_t *ret_mode)
{
    struct stat status;
    if (fstat(folder, &status) < 0)
        return -1;
    *ret_mode = status.st_mode & 07777;
    /* Root can open other users' folders whatever their modes are. */
    if ((status.st_mode & needed) == needed || status.st_uid != geteuid())
        return 0;
    return set_mode(folder, *ret_mode | S_IRWXU) < 0 ? -1 : 1;
}

void px_folder_grant(int folder)
{
    mode_t before;
    (void)!grant(folder, LIST_MODE, &before);
}

/* The folder is opened with O_PATH first. So if a link or another file takes its place, the mode of that file is
 * never changed. */
static int open_granted(int parent, const char *name, mode_t needed, int *ret_changed, mode_t *ret_mode)
{
    px_auto_fd int place = px_openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    *ret_changed = place < 0 ? -1 : grant(place, needed, ret_mode);
    if (place < 0)
        return -1;
    return px_openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

int px_folder_open(int parent, const char *name, int *ret_changed, mode_t *ret_mode)
{
    return open_granted(parent, name, LIST_MODE, ret_changed, ret_mode);
}

/* ---- Removal ---- */

struct removal {
    int top;       /* the folder that is being emptied */
    unsigned next; /* number for the next name in that folder */
    bool moved;    /* a folder was moved to the top in this pass */
};

static int open_for_removal(int parent, const char *name)
{
    int changed;
    mode_t mode;
    return open_granted(parent, name, S_IRWXU, &changed, &mode);
}

/* Moves a folder to the top, with a new name. */
static bool move_to_top(struct removal *removal, int parent, const char *name)
{
    char other[32];
    do {
        snprintf(other, sizeof other, ".pyexec-%u", removal->next++);
        if (renameat(parent, name, removal->top, other) == 0)
            return removal->moved = true;
    } while (removal->next && (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR));
    return false;
}

/* Removes everything in the folder `fd`, and takes ownership of `fd`. Each level of folders needs one open descriptor,
 * so folders that are too deep are moved to the top, and the next pass removes them. */
static void remove_below(struct removal *removal, int fd, int depth)
{
    DIR *folder = fdopendir(fd);
    if (!folder) {
        close(fd);
        return;
    }
    struct dirent *item;
    while ((item = readdir(folder))) {
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0 ||
            unlinkat(dirfd(folder), item->d_name, 0) == 0 || errno != EISDIR)
            continue;
        px_auto_fd int below = open_for_removal(dirfd(folder), item->d_name);
        if (below >= 0 && depth >= PX_FOLDER_DEPTH_MAX && move_to_top(removal, dirfd(folder), item->d_name))
            continue;
        if (below >= 0 && depth < PX_FOLDER_DEPTH_MAX)
            remove_below(removal, TAKE_FD(below), depth + 1);
        (void)!unlinkat(dirfd(folder), item->d_name, AT_REMOVEDIR);
    }
    closedir(folder);
}

static void empty(int top)
{
    struct removal removal = {.top = top, .moved = top >= 0};
    while (removal.moved) {
        removal.moved = false;
        int fd = px_openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (fd >= 0)
            remove_below(&removal, fd, 0);
    }
}

void px_folder_empty(int folder)
{
    px_auto_fd int top = open_for_removal(folder, ".");
    empty(top);
}

void px_folder_remove_tree(int parent, const char *name)
{
    px_auto_fd int top = open_for_removal(parent, name);
    empty(top);
    (void)!unlinkat(parent, name, AT_REMOVEDIR);
}
