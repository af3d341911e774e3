/* SPDX-License-Identifier: Apache-2.0 */
/* Makes mounts of host folders. The host names a folder by path, device and inode. The mount is made in this
 * process because open_tree(2) clones only mounts of the caller's own mount namespace, and an ordinary user may do
 * that only in a namespace of their own. */
#include "launch/bind.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"
#include "sandbox/mount.h"
#include "sandbox/namespaces.h"

/* Makes a user namespace that maps the id of the folder's owner to the id of the run, for an idmapped mount
 * (mount_setattr(2)). Its only process ends at once; the descriptor keeps the namespace alive. */
static int id_map_namespace(const struct stat *owner, const struct px_launch_start *start)
{
    char process[24], uid_map[64], gid_map[64], path[32];
    int gate[2];
    if (pipe2(gate, O_CLOEXEC) < 0)
        return -1;
    pid_t pid = px_clone3(CLONE_NEWUSER, SIGCHLD, NULL);
    if (pid == 0) {
        char end;
        close(gate[1]);
        _exit(px_read(gate[0], &end, 1) < 0);
    }
    close(gate[0]);
    int fd = -1;
    if (pid > 0) {
        snprintf(process, sizeof process, "%d", pid);
        snprintf(uid_map, sizeof uid_map, "%u %u 1\n", owner->st_uid, start->run_uid);
        snprintf(gid_map, sizeof gid_map, "%u %u 1\n", owner->st_gid, start->run_gid);
        snprintf(path, sizeof path, "%d/ns/user", pid);
        px_auto_fd int proc = px_open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        if (proc >= 0 && px_write_id_maps(proc, process, uid_map, gid_map, false) == 0)
            fd = px_openat(proc, path, O_RDONLY | O_CLOEXEC, 0);
    }
    int saved = errno;
    close(gate[1]);
    if (pid > 0)
        (void)!px_waitpid(pid, NULL, 0);
    errno = saved;
    return fd;
}

static int id_map(int mount, const struct stat *owner, const struct px_launch_start *start)
{
    px_auto_fd int namespace = id_map_namespace(owner, start);
    if (namespace < 0)
        return -1;
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t) namespace};
    return px_mount_setattr(mount, "", AT_EMPTY_PATH, &attr);
}

static int bind_folder(const struct px_launch_bind *request, bool privileged, const struct px_launch_start *start,
                       pyexec_error *error)
{
    px_auto_fd int folder = px_open(request->path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    struct stat status;
    if (folder < 0 || fstat(folder, &status) < 0)
        return px_error_of_request(error, errno, "Give a folder that pyexec's user can open.",
                                   "can't open the workspace '%s'", request->path);
    if (status.st_dev != request->device || status.st_ino != request->inode) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "the workspace '%s' was replaced while it was opened",
                     request->path);
        return px_error_hint(error, "Try again when no program renames folders there.");
    }
    px_auto_fd int mount = px_open_tree(folder, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
    if (mount < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't clone the mount of '%s'", request->path);
    uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    if (request->read_only)
        attributes |= MOUNT_ATTR_RDONLY;
    if (px_mount_restrict(mount, attributes, false) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't restrict the mount of '%s'", request->path);
    /* Needs Linux 5.14. Before it the attribute gives EINVAL and links are followed, but only inside the sandbox's
     * own root. */
    px_mount_restrict(mount, MOUNT_ATTR_NOSYMFOLLOW, false);
    if (privileged && id_map(mount, &status, start) < 0)
        return px_error_of_request(error, errno,
                                   "Use a file system with idmapped mounts (ext4, xfs, btrfs; "
                                   "tmpfs since Linux 6.3), or start pyexec as the folder's owner.",
                                   "can't map the owner of the workspace '%s' to the run's user", request->path);
    return TAKE_FD(mount);
}

int px_bind_serve(int socket, bool privileged, const struct px_launch_start *start)
{
    static struct px_launch_bind request;
    ssize_t n = px_receive_fds(socket, &request, sizeof request, NULL, 0, NULL);
    if (n <= 0)
        return -1;
    struct px_launch_bound bound = {.magic = PX_LAUNCH_MAGIC, .token = request.token};
    px_auto_fd int mount = -1;
    if ((size_t)n != sizeof request || request.magic != PX_LAUNCH_MAGIC)
        px_error_set(&bound.error, PYEXEC_INTERNAL, "malformed bind request");
    else
        mount = bind_folder(&request, privileged, start, &bound.error);
    return px_send_fds(socket, &bound, sizeof bound, &mount, mount < 0 ? 0 : 1);
}
