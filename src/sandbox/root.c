/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/root.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/paths.h"
#include "base/retry.h"
#include "sandbox/mount.h"

#define LINKS_MAX 40 /* the kernel's own limit: path_resolution(7) */

void px_root_done(struct px_root *root)
{
    for (size_t i = 0; i < root->count; i++) {
        free(root->entries[i].path);
        free(root->entries[i].link);
        px_close_fd(&root->entries[i].mount);
    }
    free(root->entries);
    *root = (struct px_root){0};
}

/* True if `path`, or a folder above it, is mounted already. */
static bool mounted(const struct px_root *root, const char *path)
{
    for (size_t i = 0; i < root->count; i++)
        if (root->entries[i].mount >= 0 && px_path_below(path, root->entries[i].path))
            return true;
    return false;
}

/* True if an entry that was added already makes `path` exist. */
static bool covered(const struct px_root *root, const char *path)
{
    for (size_t i = 0; i < root->count; i++)
        if (strcmp(path, root->entries[i].path) == 0)
            return true;
    return mounted(root, path);
}

static int append(struct px_root *root, const char *path, const char *link, int mount, bool is_file,
                  pyexec_error *error)
{
    if (root->count == root->capacity) {
        size_t capacity = root->capacity ? root->capacity * 2 : 32;
        struct px_root_entry *entries = realloc(root->entries, capacity * sizeof *entries);
        if (!entries)
            return px_error_oom(error);
        root->entries = entries;
        root->capacity = capacity;
    }
    struct px_root_entry entry = {strdup(path), link ? strdup(link) : NULL, mount, is_file, -1};
    if (!entry.path || (link && !entry.link)) {
        free(entry.path);
        free(entry.link);
        return px_error_oom(error);
    }
    root->entries[root->count++] = entry;
    root->content_bytes += link ? px_tmpfs_link_bytes(strlen(link), px_page_bytes()) : 0;
    return 0;
}

static int add_mount(struct px_root *root, const char *path, bool is_file, pyexec_error *error)
{
    /* Recursive, because in a user namespace the mounts below are locked and can't be left out
     * (mount_namespaces(7)). */
    px_auto_fd int mount = px_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | AT_RECURSIVE);
    if (mount < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't bind '%s'", path);
    if (px_mount_restrict(mount, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, true) < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't make the mount of '%s' read-only", path);
    if (append(root, path, NULL, mount, is_file, error) < 0)
        return -1;
    TAKE_FD(mount);
    return 0;
}

/* Follows `rest`, starting at `done` (a path without links), and adds each folder and link on the way. */
static int walk(struct px_root *root, char *done, const char *rest, int links, bool mount_last, pyexec_error *error)
{
    char part[NAME_MAX + 1];
    while (*(rest += strspn(rest, "/"))) {
        size_t length = strcspn(rest, "/");
        if (length > NAME_MAX || strlen(done) + length + 2 > PATH_MAX)
            return px_error_errno(error, PYEXEC_INTERNAL, ENAMETOOLONG, "'%s'", rest);
        memcpy(part, rest, length);
        part[length] = '\0';
        rest += length;
        if (strcmp(part, ".") == 0)
            continue;
        if (strcmp(part, "..") == 0) {
            char *slash = strrchr(done, '/');
            if (slash)
                *slash = '\0';
            continue;
        }
        size_t before = strlen(done);
        done[before] = '/';
        memcpy(done + before + 1, part, length + 1);

        struct stat status;
        if (lstat(done, &status) < 0)
            return errno == ENOENT || errno == EACCES || errno == ENOTDIR
                       ? 0
                       : px_error_errno(error, PYEXEC_INTERNAL, errno, "can't look at '%s'", done);
        bool last = !rest[strspn(rest, "/")];
        if (S_ISLNK(status.st_mode)) {
            char target[PATH_MAX];
            ssize_t n = readlink(done, target, sizeof target - 1);
            if (n < 0 || links >= LINKS_MAX)
                return px_error_errno(error, PYEXEC_INTERNAL, ELOOP, "can't follow '%s'", done);
            target[n] = '\0';
            if (!covered(root, done) && append(root, done, target, -1, false, error) < 0)
                return -1;
            done[target[0] == '/' ? 0 : before] = '\0';
            char longer[2 * PATH_MAX];
            snprintf(longer, sizeof longer, "%s/%s", target, rest);
            return walk(root, done, longer, links + 1, mount_last, error);
        }
        if (last && mount_last)
            return mounted(root, done) ? 0 : add_mount(root, done, !S_ISDIR(status.st_mode), error);
        if (!covered(root, done) && append(root, done, NULL, -1, false, error) < 0)
            return -1;
    }
    return 0;
}

int px_root_add(struct px_root *root, const char *path, pyexec_error *error)
{
    char done[PATH_MAX] = "";
    return walk(root, done, path, 0, true, error);
}

int px_root_add_folder(struct px_root *root, const char *path, pyexec_error *error)
{
    return covered(root, path) ? 0 : append(root, path, NULL, -1, false, error);
}

int px_root_add_file(struct px_root *root, const char *path, pyexec_error *error)
{
    return covered(root, path) ? 0 : append(root, path, NULL, -1, true, error);
}

int px_root_add_link(struct px_root *root, const char *path, const char *target, pyexec_error *error)
{
    return covered(root, path) ? 0 : append(root, path, target, -1, false, error);
}

int px_root_add_content(struct px_root *root, const char *path, int content, pyexec_error *error)
{
    char folder[PATH_MAX];
    struct stat status;
    if (covered(root, path) || fstat(content, &status) < 0)
        return px_error_set(error, PYEXEC_INTERNAL, "'%s' can't be put into the root", path);
    for (const char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        if (px_root_add_folder(root, folder, error) < 0)
            return -1;
    }
    if (append(root, path, NULL, -1, true, error) < 0)
        return -1;
    root->entries[root->count - 1].content = content;
    root->content_bytes += px_tmpfs_bytes((uint64_t)status.st_size, px_page_bytes());
    return 0;
}

static int add_devices(struct px_root *root, pyexec_error *error)
{
    /* There is no /dev/zero: a script could map it as shared memory, fill it, and unmap all but one page. The memory
     * would stay, and RLIMIT_AS would no longer count it. The mount is read-only: devices can still be written to, but their times can't be
     * changed. */
    static const char *const nodes[] = {"/dev/null", "/dev/full", "/dev/random", "/dev/urandom"};
    if (px_root_add_folder(root, "/dev", error) < 0)
        return -1;
    for (size_t i = 0; i < PX_COUNT(nodes); i++) {
        px_auto_fd int mount = px_open_tree(AT_FDCWD, nodes[i], OPEN_TREE_CLONE);
        if (mount < 0)
            continue;
        if (px_mount_restrict(mount, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY, false) < 0 ||
            append(root, nodes[i], NULL, mount, true, error) < 0)
            return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't bind '%s'", nodes[i]);
        TAKE_FD(mount);
    }
    return 0;
}

static int copy_content(int from, int to)
{
    off_t at = 0;
    ssize_t n;
    while ((n = px_sendfile(to, from, &at, 1 << 20)) > 0)
        ;
    return (int)n;
}

static int make_entry(int root_fd, const struct px_root_entry *entry)
{
    const char *path = entry->path + 1;
    if (entry->link)
        return symlinkat(entry->link, root_fd, path);
    if (entry->is_file) {
        px_auto_fd int file = px_openat(root_fd, path, O_CREAT | O_WRONLY | O_CLOEXEC, 0444);
        if (file < 0 || (entry->content >= 0 && copy_content(entry->content, file) < 0))
            return -1;
    } else if (mkdirat(root_fd, path, 0755) < 0 && errno != EEXIST) {
        return -1;
    }
    return entry->mount >= 0 ? px_attach(entry->mount, root_fd, path) : 0;
}

/* Top folders in which workspaces of hosts often are. They exist for every run, so that none has to be made for
 * one run, where the next would see it. */
static int add_usual_folders(struct px_root *root, pyexec_error *error)
{
    static const char *const folders[] = {"/data", "/home", "/media", "/mnt", "/opt", "/run", "/srv", "/tmp", "/var"};
    for (size_t i = 0; i < PX_COUNT(folders); i++)
        if (px_root_add_folder(root, folders[i], error) < 0)
            return -1;
    return 0;
}

int px_root_enter(struct px_root *root, pyexec_error *error)
{
    if (add_devices(root, error) < 0 || add_usual_folders(root, error) < 0)
        return -1;
    px_auto_fd int tmpfs =
        px_tmpfs_new((1 << 20) + root->content_bytes, 4096, "0755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    /* This is mounted over /proc, which always exists and from which nothing is bound. */
    if (tmpfs < 0 || px_attach(tmpfs, AT_FDCWD, "/proc") < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't mount a new root");
    mode_t mask = umask(0);
    for (size_t i = 0; i < root->count; i++)
        if (make_entry(tmpfs, &root->entries[i]) < 0)
            return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't place '%s' in the new root",
                                  root->entries[i].path);
    umask(mask);
    if (px_mount_restrict(tmpfs, MOUNT_ATTR_RDONLY, false) < 0 || px_root_switch(tmpfs) < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't enter the new root");
    return 0;
}

int px_root_switch(int root_fd)
{
    /* See 'pivot_root(".", ".")' in pivot_root(2): the old root ends up mounted over the new one. */
    return fchdir(root_fd) < 0 || px_pivot_root(".", ".") < 0 || px_unmount_detached(".") < 0 || chdir("/") < 0 ? -1
                                                                                                                : 0;
}
