/* SPDX-License-Identifier: Apache-2.0 */
#include "launch/place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"
#include "sandbox/mount.h"
#include "sandbox/namespaces.h"

/* The id that the process has inside. A process without a map sees the same number (user_namespaces(7), the overflow
 * id), so the map changes nothing that a script can see. */
#define INSIDE 65534u

#define SWAP_FD 3

static bool still_lives(int pidfd)
{
    struct pollfd polled = {pidfd, POLLIN, 0};
    return px_poll(&polled, 1, 0) == 0;
}

/* True if the process's user namespace was made in this process's own; otherwise *ret_above is the namespace in which it
 * was made. Who writes a map must be in that one. */
static bool is_made_here(int process, int *ret_above)
{
    struct stat own, above;
    px_auto_fd int inner = px_openat(process, "ns/user", O_RDONLY | O_CLOEXEC, 0);
    *ret_above = inner < 0 ? -1 : ioctl(inner, NS_GET_PARENT);
    return *ret_above >= 0 && fstat(*ret_above, &above) == 0 && stat("/proc/self/ns/user", &own) == 0 &&
           own.st_ino == above.st_ino && own.st_dev == above.st_dev;
}

/* Process files of a process that is not dumpable belong to id 0 (proc(5)). With securebits or as id 0, this process keeps
 * its capabilities. */
static int map_ids(int process)
{
    char uid_map[48], gid_map[48], text[2048];
    px_auto_fd int above = -1;
    if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 ||
        px_read_small_file(process, "status", text, sizeof text) < 0)
        return -1;
    unsigned uid = (unsigned)px_number_after(text, "Uid:", INSIDE),
             gid = (unsigned)px_number_after(text, "Gid:", INSIDE);
    if (!is_made_here(process, &above)) {
        /* It is a branch. The only id of its source's namespace is INSIDE. */
        if (above < 0 || syscall(SYS_setns, above, CLONE_NEWUSER) < 0)
            return -1;
        uid = gid = INSIDE;
    }
    snprintf(uid_map, sizeof uid_map, "%u %u 1\n", INSIDE, uid);
    snprintf(gid_map, sizeof gid_map, "%u %u 1\n", INSIDE, gid);
    return px_write_id_maps(process, ".", uid_map, gid_map, true);
}

/* Enters a copy of the source's mounts and takes its workspace away there. Returns a clone of the folder above. */
static int clone_above(const char *path, int source)
{
    char above[PX_PATH_MAX];
    snprintf(above, sizeof above, "%s", path);
    char *slash = strrchr(above, '/');
    if (!slash || slash == above) {
        errno = EINVAL;
        return -1;
    }
    *slash = '\0';
    if (syscall(SYS_setns, source, CLONE_NEWUSER | CLONE_NEWNS) < 0 || unshare(CLONE_NEWNS) < 0)
        return -1;
    while (umount2(path, MNT_DETACH) == 0) /* a read-only one has two mounts */
        ;
    return px_open_tree(AT_FDCWD, above, OPEN_TREE_CLONE | AT_RECURSIVE);
}

/* Attaches the mount at the path. *attached counts the mounts, of which a read-only workspace has two. */
static int attach_here(const struct px_launch_zygote *request, int mount, size_t *attached)
{
    if (px_attach(mount, AT_FDCWD, request->path) < 0)
        return -1;
    ++*attached;
    if (!request->read_only)
        return 0;
    px_auto_fd int copy = px_open_tree(AT_FDCWD, request->path, OPEN_TREE_CLONE);
    if (copy < 0 || px_mount_restrict(copy, MOUNT_ATTR_RDONLY, false) < 0 ||
        px_attach(copy, AT_FDCWD, request->path) < 0)
        return -1;
    ++*attached;
    return 0;
}

/* The new mount covers what was at the path: the workspace of the source, which can't be taken away, because mounts
 * that a mount namespace has from another one are locked (mount_namespaces(7)).
 *
 * When a folder of the host is removed, the kernel takes away what is mounted on it, in all mount namespaces. The branch's
 * workspace must outlive the source's folder, so it is not mounted on that, but in a clone of the folder above. That is the
 * same folder for the rules of Landlock. */
static int attach(const struct px_launch_zygote *request, int process, int mount, int source)
{
    char above[PX_PATH_MAX];
    /* Opened first: in the source's namespaces this process has no right to look at the other process. */
    px_auto_fd int user = px_openat(process, "ns/user", O_RDONLY | O_CLOEXEC, 0);
    px_auto_fd int mounts = px_openat(process, "ns/mnt", O_RDONLY | O_CLOEXEC, 0);
    px_auto_fd int clone = source >= 0 ? clone_above(request->path, source) : -1;
    if (user < 0 || mounts < 0 || (source >= 0 && clone < 0))
        return -1;
    snprintf(above, sizeof above, "%.*s", (int)(strrchr(request->path, '/') - request->path), request->path);
    if (syscall(SYS_setns, user, CLONE_NEWUSER) < 0 || syscall(SYS_setns, mounts, CLONE_NEWNS) < 0 ||
        (clone >= 0 && px_attach(clone, AT_FDCWD, above) < 0))
        return -1;
    size_t attached = 0;
    return attach_here(request, mount, &attached);
}

/* The folder in /proc of the process with this pidfd, or -1. */
static int open_process(const struct px_launch_zygote *request, int pidfd, pyexec_error *error)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d", request->host_pid);
    px_auto_fd int process = px_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    /* The folder is this process's, because the process still lives after the folder was opened. */
    if (process < 0 || !still_lives(pidfd))
        return px_error_set(error, PYEXEC_INTERNAL, "the session's process has ended");
    return TAKE_FD(process);
}

int px_place(const struct px_launch_zygote *request, const int fds[3], pyexec_error *error)
{
    int mount = fds[1], source = fds[2];
    px_auto_fd int process = open_process(request, fds[0], error);
    if (process < 0)
        return -1;
    if (request->map_ids && map_ids(process) < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't map the ids of the session's process");
    if (mount >= 0 && attach(request, process, mount, source) < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't attach the workspace of the branch");
    return 0;
}

/* Only its mounts: a process in its user namespace would count as one of its threads (RLIMIT_NPROC). */
int px_place_enter_mounts(const struct px_launch_zygote *request, int pidfd, pyexec_error *error)
{
    px_auto_fd int process = open_process(request, pidfd, error);
    if (process < 0)
        return -1;
    px_auto_fd int mounts = px_openat(process, "ns/mnt", O_RDONLY | O_CLOEXEC, 0);
    if (mounts < 0 || syscall(SYS_setns, mounts, CLONE_NEWNS) < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't enter the mounts of the tests");
    return 0;
}

static int swap(const struct px_launch_zygote *request, bool attach, int mount, size_t *attached)
{
    for (; *attached; --*attached)
        if (px_unmount_detached(request->path) < 0)
            return -1;
    if (attach && mount < 0)
        errno = EMFILE; /* there was no room for it (recvmsg(2), MSG_CTRUNC) */
    return !attach ? 0 : mount < 0 ? -1 : attach_here(request, mount, attached);
}

void px_place_swap(const struct px_launch_zygote *request, int socket)
{
    size_t attached = 0;
    if (dup2(socket, SWAP_FD) < 0 || syscall(SYS_close_range, SWAP_FD + 1, ~0U, 0) < 0)
        _exit(EXIT_FAILURE);
    for (;;) {
        struct px_launch_swap order;
        int mount = -1;
        ssize_t n = px_receive_fds(SWAP_FD, &order, sizeof order, &mount, 1, &(size_t){0});
        if (n != sizeof order || order.magic != PX_LAUNCH_MAGIC)
            _exit(EXIT_SUCCESS);
        int32_t failed = swap(request, order.attach, mount, &attached) < 0 ? errno : 0;
        px_close_fd(&mount);
        if (px_send_fds(SWAP_FD, &failed, sizeof failed, NULL, 0) < 0)
            _exit(EXIT_SUCCESS);
    }
}
