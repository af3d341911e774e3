/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptor-based mount calls (Linux 5.2 to 5.12) and the old ones, as raw system calls:
 * glibc wraps them only since 2.36, and <sys/mount.h> clashes with <linux/mount.h>. */
#ifndef PX_SANDBOX_MOUNT_H
#define PX_SANDBOX_MOUNT_H

#include <fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/pages.h"

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

static inline int px_open_tree(int dir_fd, const char *path, unsigned flags)
{
    return (int)syscall(SYS_open_tree, dir_fd, path, flags | O_CLOEXEC);
}

/* Attaches the mount `mount_fd` at a path. */
static inline int px_attach(int mount_fd, int dir_fd, const char *path)
{
    return (int)syscall(SYS_move_mount, mount_fd, "", dir_fd, path, MOVE_MOUNT_F_EMPTY_PATH);
}

static inline int px_mount_setattr(int dir_fd, const char *path, unsigned flags, struct mount_attr *attributes)
{
    return (int)syscall(SYS_mount_setattr, dir_fd, path, flags, attributes, sizeof *attributes);
}

/* Sets attributes (MOUNT_ATTR_…) of a mount, and of all mounts below it if `recursive`. */
static inline int px_mount_restrict(int mount_fd, uint64_t attributes, bool recursive)
{
    struct mount_attr attr = {.attr_set = attributes};
    return px_mount_setattr(mount_fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0u), &attr);
}

static inline int px_pivot_root(const char *new_root, const char *put_old)
{
    return (int)syscall(SYS_pivot_root, new_root, put_old);
}

static inline int px_unmount_detached(const char *path)
{
    return (int)syscall(SYS_umount2, path, 2 /* MNT_DETACH */);
}

/* Stops the propagation of mounts between the host and this mount namespace. */
static inline int px_mount_propagation(unsigned long type)
{
    return (int)syscall(SYS_mount, "none", "/", NULL, MS_REC | type, NULL);
}

/* Returns how many bytes a file of this size takes in a tmpfs: whole pages. */
static inline uint64_t px_tmpfs_bytes(uint64_t file_bytes, uint64_t page_bytes)
{
    return px_whole_pages(file_bytes, page_bytes);
}

/* Returns how many bytes a symbolic link takes: a target of 128 bytes or more, with its end, has a page of its own (shmem_symlink() of the
 * kernel). */
static inline uint64_t px_tmpfs_link_bytes(size_t target_length, uint64_t page_bytes)
{
    return target_length + 1 > 128 ? page_bytes : 0;
}

/* Returns the size of a tmpfs for so many bytes. A size of 0 would mean no limit (tmpfs(5)); one page is the smallest size. */
static inline uint64_t px_tmpfs_size(uint64_t bytes, uint64_t page_bytes)
{
    return bytes ? bytes : page_bytes;
}

/* Makes a tmpfs that is not attached anywhere, with the mode of its root folder and attributes MOUNT_ATTR_….
 * Returns -1 with errno. */
int px_tmpfs_new(uint64_t bytes, uint64_t inodes, const char *mode, uint64_t attributes);

#endif
