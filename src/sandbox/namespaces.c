/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"

/* The hint: the remedy, and how to run without this layer. */
static int layer_hint(enum px_layer layer, pyexec_error *error)
{
    const struct px_layer_info *info = px_layer_info(layer);
    if (px_layers_find(PX_TIER_CONTAINER) & PX_LAYER_BIT(layer))
        return px_error_hint(error,
                             "%s. Or run with less protection: --allow-missing %s; in a container without user "
                             "namespaces --allow-missing " PX_TIER_CONTAINER " (" PX_TIER_CONTAINER_LOSS ").",
                             info->remedy, info->name);
    return px_error_hint(error, "%s. Or run with less protection: --allow-missing %s.", info->remedy, info->name);
}

int px_layer_refuse(enum px_layer layer, int sys_errno, px_layers allowed, px_layers *missing, pyexec_error *error)
{
    const struct px_layer_info *info = px_layer_info(layer);
    /* The machine has no more memory, processes or descriptors; the layer itself may be available. */
    if (px_errno_exhausted(sys_errno)) {
        char what[96];
        snprintf(what, sizeof what, "can't set up the layer '%s'", info->name);
        return px_error_exhausted(error, sys_errno, what);
    }
    *missing |= PX_LAYER_BIT(layer);
    if (allowed & PX_LAYER_BIT(layer))
        return 0;
    px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, sys_errno, "this kernel or container refuses the layer '%s' (%s)",
                   info->name, info->gives);
    return layer_hint(layer, error);
}

pid_t px_clone_call(const struct clone_args *args)
{
    pid_t pid = (pid_t)syscall(SYS_clone3, args, sizeof *args);
    if (pid >= 0 || errno != ENOSYS || args->flags & CLONE_INTO_CGROUP)
        return pid;
    /* With this call the kernel stores the pidfd where CLONE_PARENT_SETTID would store the id. */
    unsigned long flags = args->flags | args->exit_signal;
#ifdef __x86_64__
    return (pid_t)syscall(SYS_clone, flags, 0, args->pidfd, args->child_tid, 0);
#else
    return (pid_t)syscall(SYS_clone, flags, 0, args->pidfd, 0, args->child_tid);
#endif
}

static pid_t clone_into(int cgroup, uint64_t flags, int exit_signal, int *ret_pidfd)
{
    int pidfd = -1;
    struct clone_args args = {
        .flags = flags | (ret_pidfd ? CLONE_PIDFD : 0) | (cgroup < 0 ? 0 : CLONE_INTO_CGROUP),
        .cgroup = cgroup < 0 ? 0 : (uint64_t)cgroup,
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        .exit_signal = (uint64_t)exit_signal,
    };
    pid_t pid = px_clone_call(&args);
    if (pid > 0 && ret_pidfd)
        *ret_pidfd = pidfd;
    return pid;
}

pid_t px_clone3(uint64_t flags, int exit_signal, int *ret_pidfd)
{
    return clone_into(-1, flags, exit_signal, ret_pidfd);
}

static const struct {
    uint64_t flag;
    enum px_layer layer;
} namespaces[] = {
    {CLONE_NEWUSER, PX_LAYER_USER_NAMESPACE}, {CLONE_NEWNS, PX_LAYER_MOUNT_NAMESPACE},
    {CLONE_NEWPID, PX_LAYER_PID_NAMESPACE},   {CLONE_NEWNET, PX_LAYER_NETWORK_NAMESPACE},
    {CLONE_NEWIPC, PX_LAYER_IPC_NAMESPACE},   {CLONE_NEWUTS, PX_LAYER_UTS_NAMESPACE},
};

/* True if a child with these flags can be made; otherwise errno tells why not. */
static bool can_clone(uint64_t flags)
{
    pid_t pid = px_clone3(flags, SIGCHLD, NULL);
    if (pid == 0)
        _exit(EXIT_SUCCESS);
    if (pid < 0)
        return false;
    return px_waitpid(pid, NULL, 0) == pid;
}

pid_t px_clone_namespaces(uint64_t flags, int cgroup, px_layers allowed, px_layers *missing, int *ret_pidfd,
                          pyexec_error *error)
{
    for (size_t i = 0; i < PX_COUNT(namespaces); i++)
        if (*missing & PX_LAYER_BIT(namespaces[i].layer))
            flags &= ~namespaces[i].flag;
    pid_t pid = clone_into(cgroup, flags, SIGCHLD, ret_pidfd);
    if (pid >= 0)
        return pid;
    int first = errno;
    if (px_errno_exhausted(first))
        return px_error_exhausted(error, first, "can't start a process");
    /* Each probe includes CLONE_NEWUSER: it gives the right to make the other namespaces. */
    uint64_t user = flags & CLONE_NEWUSER, kept = 0;
    for (size_t i = 0; i < PX_COUNT(namespaces); i++) {
        if (!(flags & namespaces[i].flag))
            continue;
        if (can_clone(user | namespaces[i].flag)) {
            kept |= namespaces[i].flag;
            continue;
        }
        if (px_layer_refuse(namespaces[i].layer, errno, allowed, missing, error) < 0)
            return -1;
        if (namespaces[i].flag == CLONE_NEWUSER)
            user = 0;
    }
    if (kept != flags)
        pid = clone_into(cgroup, kept, SIGCHLD, ret_pidfd);
    if (pid < 0)
        return px_error_exhausted(error, first, "can't start a process");
    return pid;
}

static int write_map(int proc_fd, const char *process, const char *name, const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", process, name);
    px_auto_fd int fd = px_openat(proc_fd, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    /* The whole map must be written with one write(2): user_namespaces(7). */
    return px_write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

int px_write_id_maps(int proc_fd, const char *process, const char *uid_map, const char *gid_map, bool deny_setgroups)
{
    if (deny_setgroups && write_map(proc_fd, process, "setgroups", "deny") < 0)
        return -1;
    if (write_map(proc_fd, process, "uid_map", uid_map) < 0)
        return -1;
    return write_map(proc_fd, process, "gid_map", gid_map);
}
