/* SPDX-License-Identifier: Apache-2.0 */
#include "launch/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"
#include "protocol/launch.h"
#include "sandbox/namespaces.h"

#define CGROUP_PREFIX "pyexec-"
#define REMOVE_TRIES 200 /* times 10 ms, because killed processes need some time to end */

static int write_file(int folder, const char *name, const char *text)
{
    px_auto_fd int fd = px_openat(folder, name, O_WRONLY | O_CLOEXEC, 0);
    return fd >= 0 && px_write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

static bool has_word(int folder, const char *name, const char *word)
{
    char text[256];
    if (px_read_small_file(folder, name, text, sizeof text) < 0)
        return false;
    char *rest = text;
    for (const char *at; (at = strsep(&rest, " \n"));)
        if (strcmp(at, word) == 0)
            return true;
    return false;
}

/* Makes the controllers available to the folders below. Fails with EBUSY when the folder itself has processes. */
static int enable_controllers(int folder)
{
    static const char *const wanted[] = {"memory", "pids", "cpu"};
    for (size_t i = 0; i < PX_COUNT(wanted); i++) {
        char text[16];
        snprintf(text, sizeof text, "+%s", wanted[i]);
        if (!has_word(folder, "cgroup.controllers", wanted[i])) {
            if (i == 2)
                continue; /* without the controller `cpu`, runs share the CPUs as processes do */
            errno = EOPNOTSUPP;
            return -1;
        }
        if (!has_word(folder, "cgroup.subtree_control", wanted[i]) &&
            write_file(folder, "cgroup.subtree_control", text) < 0)
            return -1;
    }
    return 0;
}

/* Removes a folder that is not used: no process holds its lock, and none is below it. */
static void remove_base(int top, const char *name)
{
    px_auto_fd int base = px_openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    px_auto_fd int copy = fcntl(base, F_DUPFD_CLOEXEC, 0);
    if (base < 0 || copy < 0)
        return;
    DIR *folder = fdopendir(copy);
    if (!folder)
        return;
    copy = -1;
    const struct dirent *entry;
    while ((entry = readdir(folder)))
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            unlinkat(base, entry->d_name, AT_REMOVEDIR);
    closedir(folder);
    unlinkat(top, name, AT_REMOVEDIR);
}

static void remove_stale(int top)
{
    px_auto_fd int copy = px_openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *folder = copy < 0 ? NULL : fdopendir(copy);
    if (!folder)
        return;
    copy = -1;
    const struct dirent *entry;
    while ((entry = readdir(folder))) {
        if (strncmp(entry->d_name, CGROUP_PREFIX, strlen(CGROUP_PREFIX)) != 0)
            continue;
        px_auto_fd int base = px_openat(top, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (base >= 0 && flock(base, LOCK_EX | LOCK_NB) == 0)
            remove_base(top, entry->d_name);
    }
    closedir(folder);
}

/* Makes a folder in `top` and locks it. Before it is locked, another start may take it for an abandoned one and
 * remove it. */
static int make_base(struct px_cgroup *cgroup)
{
    for (int attempt = 0; attempt < 8; attempt++) {
        struct timespec now;
        struct stat made, found;
        clock_gettime(CLOCK_MONOTONIC, &now);
        snprintf(cgroup->name, sizeof cgroup->name, CGROUP_PREFIX "%d-%lld-%ld", getpid(), (long long)now.tv_sec,
                 now.tv_nsec);
        if (mkdirat(cgroup->top, cgroup->name, 0700) < 0)
            return -1;
        cgroup->base = px_openat(cgroup->top, cgroup->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (cgroup->base >= 0 && flock(cgroup->base, LOCK_EX | LOCK_NB) == 0 && fstat(cgroup->base, &made) == 0 &&
            fstatat(cgroup->top, cgroup->name, &found, 0) == 0 && made.st_ino == found.st_ino)
            return 0;
        px_close_fd(&cgroup->base);
    }
    errno = EAGAIN;
    return -1;
}

/* True if a process can be started directly in the folder. This needs Linux 5.7 and a seccomp profile that
 * allows clone3. */
static int try_clone(int folder)
{
    struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)folder};
    pid_t pid = px_clone_call(&args);
    if (pid == 0)
        _exit(EXIT_SUCCESS);
    if (pid < 0)
        return -1;
    return px_waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

/* The zygotes may have changed to another user id. A zygote that starts a child in another cgroup must be able to write
 * cgroup.procs of that cgroup, and of the folder that contains both cgroups (cgroups(7)). Nobody else can enter the
 * folder: its mode is 0700. */
static int open_to_zygotes(int folder)
{
    return fchmodat(folder, "cgroup.procs", 0666, 0);
}

static int fill(struct px_cgroup *cgroup)
{
    if (make_base(cgroup) < 0 || enable_controllers(cgroup->base) < 0 || open_to_zygotes(cgroup->base) < 0 ||
        mkdirat(cgroup->base, "warm", 0700) < 0)
        return -1;
    cgroup->warm = px_openat(cgroup->base, "warm", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    return cgroup->warm < 0 ? -1 : try_clone(cgroup->warm);
}

static int open_top(const char *path)
{
    struct statfs system;
    px_auto_fd int fd = px_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0 || fstatfs(fd, &system) < 0)
        return -1;
    if (system.f_type != CGROUP2_SUPER_MAGIC) {
        errno = EMEDIUMTYPE;
        return -1;
    }
    return TAKE_FD(fd);
}

static int use(struct px_cgroup *cgroup, const char *path)
{
    cgroup->top = open_top(path);
    if (cgroup->top < 0)
        return -1;
    if (enable_controllers(cgroup->top) == 0) {
        remove_stale(cgroup->top);
        if (fill(cgroup) == 0)
            return 0;
    }
    int saved = errno;
    px_cgroup_leave(cgroup);
    errno = saved;
    return -1;
}

static const char *explain(int problem)
{
    switch (problem) {
    case EBUSY:
        return "processes are in it, so it can't pass its controllers on";
    case EOPNOTSUPP:
        return "it lacks the memory or the pids controller";
    case EMEDIUMTYPE:
        return "it is not in a cgroup v2 tree";
    case EACCES:
    case EPERM:
        return "pyexec has no permission to write to it, or this process is not below it";
    case EROFS:
        return "it is mounted read-only";
    case ENOSYS:
        return "clone3 is refused, or the kernel is older than Linux 5.7";
    default:
        return strerrordesc_np(problem);
    }
}

/* Finds the folder of this process's own cgroup, below the mount of cgroup v2. */
static int find_own(char *path, size_t size)
{
    static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char text[PX_PATH_MAX];
    struct statfs system;
    if (px_read_small_file(AT_FDCWD, "/proc/self/cgroup", text, sizeof text) < 0)
        return -1;
    char *own = strncmp(text, "0::", 3) == 0 ? text + 3 : strstr(text, "\n0::");
    if (!own)
        return -1;
    own += *own == '\n' ? 4 : 0;
    own[strcspn(own, "\n")] = '\0';
    for (size_t i = 0; i < PX_COUNT(mounts); i++)
        if (statfs(mounts[i], &system) == 0 && system.f_type == CGROUP2_SUPER_MAGIC)
            return snprintf(path, size, "%s%s", mounts[i], own) < (int)size ? 0 : -1;
    return -1;
}

/* systemd marks what it has delegated, and nobody may use anything else. Without systemd, a folder that belongs
 * to an ordinary user was given to that user. */
static bool is_delegated(const char *path)
{
    char value[4] = "";
    struct stat status;
    if (getxattr(path, "user.delegate", value, sizeof value) > 0 ||
        getxattr(path, "trusted.delegate", value, sizeof value) > 0)
        return value[0] == '1';
    return geteuid() != 0 && access("/run/systemd/system", F_OK) < 0 && stat(path, &status) == 0 &&
           status.st_uid == geteuid();
}

/* Uses this process's cgroup, or its parent if the service has DelegateSubgroup= (systemd 254). A folder that
 * makes controllers available below it can't have processes itself. */
static int use_own(struct px_cgroup *cgroup, char *ret_text, size_t size)
{
    char path[PX_PATH_MAX];
    if (find_own(path, sizeof path) < 0) {
        snprintf(ret_text, size, "there is no cgroup v2 tree, or this process is not in it");
        return 1;
    }
    snprintf(ret_text, size, "the cgroup of this process, %.300s, is not delegated", path);
    for (int level = 0; level < 2; level++) {
        if (is_delegated(path)) {
            if (use(cgroup, path) == 0) {
                snprintf(ret_text, size, "%.400s", path);
                return 0;
            }
            snprintf(ret_text, size, "%.300s is delegated, but %s", path, explain(errno));
        }
        char *slash = strrchr(path, '/');
        if (!slash || slash == path)
            break;
        *slash = '\0';
    }
    return 1;
}

int px_cgroup_enter(struct px_cgroup *cgroup, const char *setting, char *ret_text, size_t size, pyexec_error *error)
{
    *cgroup = (struct px_cgroup){.top = -1, .base = -1, .warm = -1};
    if (strcmp(setting, "off") == 0) {
        snprintf(ret_text, size, "[host] cgroup is off");
        return 1;
    }
    if (strcmp(setting, "auto") == 0)
        return use_own(cgroup, ret_text, size);
    if (use(cgroup, setting) == 0) {
        snprintf(ret_text, size, "%.400s", setting);
        return 0;
    }
    int problem = errno;
    snprintf(ret_text, size, "%.300s: %s", setting, explain(problem));
    px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, problem, "cgroup: '%.300s' can't be used: %s", setting,
                   explain(problem));
    return px_error_hint(error, "%s. Or run with less protection: --allow-missing cgroup.",
                         px_layer_info(PX_LAYER_CGROUP)->remedy);
}

void px_cgroup_leave(struct px_cgroup *cgroup)
{
    px_close_fd(&cgroup->warm);
    if (cgroup->base >= 0) {
        /* Needs Linux 5.14. Without a PID namespace this ends the children; with one they have all ended by now. */
        write_file(cgroup->base, "cgroup.kill", "1");
        for (int i = 0; i < REMOVE_TRIES; i++) {
            remove_base(cgroup->top, cgroup->name);
            if (faccessat(cgroup->top, cgroup->name, F_OK, 0) < 0)
                break;
            px_sleep_ns(10000000);
        }
    }
    px_close_fd(&cgroup->base);
    px_close_fd(&cgroup->top);
}
