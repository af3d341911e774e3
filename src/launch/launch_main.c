/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec-launch: the outer process. The host library starts it with its two sockets; nobody else runs it. It
 * keeps the host's view of the file system, makes the outer namespaces with the supervisor in them, and then
 * answers one kind of request: for a mount of a host folder in which a run is to work. It stays the
 * supervisor's parent, so that no zombie is left when the host program is PID 1 of a container and waits for no
 * children.
 *
 * It trusts the host library. It never reads a byte that a zygote or a child wrote. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"
#include "launch/bind.h"
#include "launch/cgroup.h"
#include "launch/supervisor.h"
#include "protocol/launch.h"
#include "sandbox/mount.h"
#include "sandbox/namespaces.h"

#define LAUNCH_EXIT_BY_HAND 2 /* the exit status of a wrong command line */

static bool has_capability(int capability)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    if (syscall(SYS_capget, &header, data) < 0)
        return false;
    return data[capability / 32].effective & (1u << (capability % 32));
}

/* The guests are in the same folder as this program, wherever that is installed. Often there is only one. */
static int open_extensions(int extensions[PX_LIBC_COUNT], pyexec_error *error)
{
    static const char *const names[] = PX_LIBC_GUESTS;
    char path[PX_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 32);
    if (n < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't read /proc/self/exe");
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    for (size_t i = 0; i < PX_LIBC_COUNT; i++) {
        snprintf(slash ? slash + 1 : path, 32, "%s", names[i]);
        extensions[i] = px_open(path, O_RDONLY | O_CLOEXEC, 0);
        if (extensions[i] < 0 && errno != ENOENT)
            return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't open '%s'", path);
    }
    return 0;
}

/* True if this user namespace has the id. The root of a container may have only one id. */
static bool is_mapped(const char *map, uint32_t id)
{
    FILE *file = fopen(map, "re");
    unsigned first, outside, count;
    bool found = false;
    while (file && fscanf(file, "%u %u %u", &first, &outside, &count) == 3)
        found |= id >= first && id - first < count;
    if (file)
        fclose(file);
    return found;
}

/* True if this process may change to the ids that runs have. */
static bool has_run_ids(const struct px_launch_start *start)
{
    return has_capability(CAP_SETUID) && has_capability(CAP_SETGID) &&
           is_mapped("/proc/self/uid_map", start->run_uid) &&
           is_mapped("/proc/self/uid_map", start->run_uid + start->run_uid_count - 1) &&
           is_mapped("/proc/self/uid_map", start->owner_uid) && is_mapped("/proc/self/gid_map", start->run_gid);
}

/* True for a root that can change to other ids. Any other root is treated like an ordinary user. */
static bool is_privileged(const struct px_launch_start *start)
{
    return has_capability(CAP_SYS_ADMIN) && has_run_ids(start);
}

/* An ordinary user gets a user namespace in which it has id 0, which gives the right to mount. */
static int enter_user_namespace(px_layers allowed, px_layers *missing, pyexec_error *error)
{
    char uid_map[64], gid_map[64];
    snprintf(uid_map, sizeof uid_map, "0 %u 1\n", geteuid());
    snprintf(gid_map, sizeof gid_map, "0 %u 1\n", getegid());
    px_auto_fd int proc = px_open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (proc < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't open /proc");
    if (unshare(CLONE_NEWUSER) == 0 && px_write_id_maps(proc, "self", uid_map, gid_map, true) == 0)
        return 0;
    if (px_layer_refuse(PX_LAYER_USER_NAMESPACE, errno, allowed, missing, error) == 0)
        return 0;
    /* Without a user namespace an ordinary user can't make the other namespaces either. */
    return px_error_hint(
        error, "%s. Or run with less protection: --allow-missing " PX_TIER_CONTAINER " (" PX_TIER_CONTAINER_LOSS ").",
        px_layer_info(PX_LAYER_USER_NAMESPACE)->remedy);
}

/* Makes a namespace and also tries a mount: AppArmor of Ubuntu 24.04 allows the namespace and then refuses the
 * mounts. */
static int enter_mount_namespace(px_layers allowed, px_layers *missing, pyexec_error *error)
{
    if (unshare(CLONE_NEWNS) < 0 || px_mount_propagation(MS_SLAVE) < 0)
        return px_layer_refuse(PX_LAYER_MOUNT_NAMESPACE, errno, allowed, missing, error);
    px_auto_fd int tmpfs = px_tmpfs_new(4096, 4, "0755", MOUNT_ATTR_NOSUID);
    if (tmpfs < 0)
        return px_layer_refuse(PX_LAYER_MOUNT_NAMESPACE, errno, allowed, missing, error);
    return 0;
}

/* The launcher that tests/kernel/test_layers.py builds can leave out single layers, to show that each other
 * layer stops its attacks alone. The installed launcher has no such switch. */
static px_layers left_out(px_layers allowed)
{
#ifdef PX_TEST_LEAVE_OUT_LAYERS
    return allowed;
#else
    (void)allowed;
    return 0;
#endif
}

static bool lacks(const struct px_launch_started *started, enum px_layer layer)
{
    return started->missing & PX_LAYER_BIT(layer);
}

/* The script must not keep the rights of the host's groups. */
static int drop_groups(pyexec_error *error)
{
    if (setgroups(0, NULL) == 0)
        return 0;
    px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't drop the supplementary groups (setgroups)");
    return px_error_hint(error, "Start pyexec where /proc/self/setgroups is `allow`, or as an ordinary user.");
}

static int prepare(const struct px_launch_start *start, struct px_launch_started *started)
{
    px_layers allowed = start->allow_missing;
    started->missing |= left_out(allowed);
    started->privileged = is_privileged(start);
    if (started->privileged) {
        if (drop_groups(&started->error) < 0)
            return -1;
    } else if (!lacks(started, PX_LAYER_USER_NAMESPACE) &&
               enter_user_namespace(allowed, &started->missing, &started->error) < 0) {
        return -1;
    }
    if (!started->privileged && lacks(started, PX_LAYER_USER_NAMESPACE)) {
        if (has_run_ids(start) && drop_groups(&started->error) < 0)
            return -1;
        if (px_layer_refuse(PX_LAYER_MOUNT_NAMESPACE, EPERM, allowed, &started->missing, &started->error) < 0)
            return -1;
        return px_layer_refuse(PX_LAYER_PID_NAMESPACE, EPERM, allowed, &started->missing, &started->error);
    }
    if (lacks(started, PX_LAYER_MOUNT_NAMESPACE))
        return 0;
    return enter_mount_namespace(allowed, &started->missing, &started->error);
}

/* When root started pyexec, id 0 inside is the owner of the interpreter, so that a zygote can read and load it.
 * The ids from 1 on are for runs. */
static int map_supervisor(const struct px_launch_start *start, pid_t pid, pyexec_error *error)
{
    char process[24], uid_map[96], gid_map[96];
    snprintf(process, sizeof process, "%d", pid);
    snprintf(uid_map, sizeof uid_map, "0 %u 1\n1 %u %u\n", start->owner_uid, start->run_uid, start->run_uid_count);
    snprintf(gid_map, sizeof gid_map, "0 %u 1\n1 %u 1\n", start->owner_gid, start->run_gid);
    px_auto_fd int proc = px_open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (proc < 0 || px_write_id_maps(proc, process, uid_map, gid_map, false) < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't map the sandbox's ids (uid_range %u:%u)",
                              start->run_uid, start->run_uid_count);
    return 0;
}

static void supervise(const struct px_launch_start *start, const struct px_launch_started *started,
                      const struct px_cgroup *cgroup, const int *extensions, int host_process, int gate)
{
    char go;
    const int outers[] = {PX_LAUNCH_OUTER_FD, cgroup->top, cgroup->base, cgroup->warm};
    for (size_t i = 0; i < PX_COUNT(outers); i++)
        close(outers[i]);
    if (px_read(gate, &go, 1) != 1)
        _exit(EXIT_FAILURE);
    close(gate);
    bool mapped = started->privileged && !lacks(started, PX_LAYER_USER_NAMESPACE);
    if (mapped) {
        /* The ids become those of the run. Because of this bit, the process keeps its capabilities in its own user
         * namespace (capabilities(7)). */
        prctl(PR_SET_SECUREBITS, 1 << 2 /* SECBIT_NO_SETUID_FIXUP */, 0, 0, 0);
        if (setresgid(1, 1, 1) < 0 || setresuid(1, 1, 1) < 0)
            _exit(EXIT_FAILURE);
    } else if (!started->privileged && lacks(started, PX_LAYER_USER_NAMESPACE) && has_run_ids(start)) {
        /* This is root of a container without user namespaces. Runs must not have the id of this root, and the
         * change can't be undone. */
        if (setresgid(start->run_gid, start->run_gid, start->run_gid) < 0 ||
            setresuid(start->run_uid, start->run_uid, start->run_uid) < 0)
            _exit(EXIT_FAILURE);
    }
    /* This ends the supervisor when the outer process ends. A change of ids clears it (prctl(2)), so it must come
     * after that. */
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    struct px_supervisor supervisor = {
        .host = PX_LAUNCH_SUPERVISOR_FD,
        .host_process = host_process,
        .missing = started->missing,
        .allow_missing = start->allow_missing,
        .privileged = mapped,
    };
    memcpy(supervisor.extensions, extensions, sizeof supervisor.extensions);
    px_supervisor_run(&supervisor);
}

static int start_supervisor(const struct px_launch_start *start, struct px_launch_started *started,
                            const struct px_cgroup *cgroup, int host_process, int *ret_pidfd)
{
    int extensions[PX_LIBC_COUNT], gate[2];
    if (open_extensions(extensions, &started->error) < 0)
        return -1;
    if (pipe2(gate, O_CLOEXEC) < 0)
        return px_error_exhausted(&started->error, errno, "can't make a pipe");
    uint64_t flags = CLONE_NEWPID | (started->privileged ? CLONE_NEWUSER : 0);
    pid_t pid =
        px_clone_namespaces(flags, cgroup->warm, start->allow_missing, &started->missing, ret_pidfd, &started->error);
    if (pid == 0) {
        close(gate[1]);
        supervise(start, started, cgroup, extensions, host_process, gate[0]);
    }
    close(gate[0]);
    px_close_fds(extensions, PX_LIBC_COUNT);
    bool user = started->privileged && !lacks(started, PX_LAYER_USER_NAMESPACE);
    int result = pid < 0 ? -1 : 0;
    if (result == 0 && user)
        result = map_supervisor(start, pid, &started->error);
    if (result == 0 && px_write(gate[1], "g", 1) != 1)
        result = px_error_errno(&started->error, PYEXEC_INTERNAL, errno, "the supervisor is gone");
    close(gate[1]);
    return result;
}

/* Answers requests for mounts until the host is gone, and ends when the supervisor ends. */
static int serve(int pidfd, bool privileged, const struct px_launch_start *start)
{
    int host = PX_LAUNCH_OUTER_FD;
    for (;;) {
        struct pollfd polled[2] = {{pidfd, POLLIN, 0}, {host, POLLIN, 0}};
        if (px_poll(polled, host < 0 ? 1 : 2, -1) < 0)
            return 1;
        if (polled[0].revents) {
            (void)!px_waitpid(-1, NULL, 0);
            return 0;
        }
        if (host >= 0 && polled[1].revents && px_bind_serve(host, privileged, start) < 0)
            host = -1;
    }
}

/* The caller's limit of CPU time is for the caller itself; children get their own (sandbox/limits.c). */
static void lift_cpu_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_CPU, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_CPU, &limit);
}

/* Enters the cgroup before the namespaces are made, with the rights of the host program. */
static int enter_cgroup(const struct px_launch_start *start, struct px_launch_started *started,
                        struct px_cgroup *cgroup)
{
    int result =
        px_cgroup_enter(cgroup, start->cgroup, started->cgroup_text, sizeof started->cgroup_text, &started->error);
    started->cgroup = result == 0;
    if (result >= 0)
        return 0;
    started->missing |= PX_LAYER_BIT(PX_LAYER_CGROUP);
    if (!(start->allow_missing & PX_LAYER_BIT(PX_LAYER_CGROUP)))
        return -1;
    started->error = (pyexec_error){0};
    return 0;
}

static int tell_started(struct px_launch_started *started, const struct px_cgroup *cgroup, int pidfd)
{
    /* Opens the folder again, so that the host's descriptor does not keep the lock after this process ends. */
    px_auto_fd int base =
        started->cgroup ? px_openat(cgroup->top, cgroup->name, O_PATH | O_DIRECTORY | O_CLOEXEC, 0) : -1;
    int fds[2] = {pidfd, base};
    return px_send_fds(PX_LAUNCH_OUTER_FD, started, sizeof *started, fds, base < 0 ? 1 : 2);
}

int main(void)
{
    struct px_launch_start start;
    struct px_launch_started started = {.magic = PX_LAUNCH_MAGIC};
    syscall(SYS_close_range, PX_LAUNCH_OUTER_FD + 1, ~0U, 0);
    int host_process = -1;
    size_t count;
    ssize_t n = px_receive_fds(PX_LAUNCH_OUTER_FD, &start, sizeof start, &host_process, 1, &count);
    if (n != sizeof start || start.magic != PX_LAUNCH_MAGIC || count != 1) {
        fputs("pyexec-launch: only libpyexec starts this program; use pyexec instead\n", stderr);
        return LAUNCH_EXIT_BY_HAND;
    }
    fcntl(PX_LAUNCH_SUPERVISOR_FD, F_SETFD, FD_CLOEXEC);
    fcntl(PX_LAUNCH_OUTER_FD, F_SETFD, FD_CLOEXEC);
    setsid();
    /* Only the end of the host ends this process. A signal to the host's service or terminal must not. */
    sigset_t blocked;
    px_launch_end_signals(&blocked);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    umask(077);
    lift_cpu_limit();
    int pidfd = -1;
    struct px_cgroup cgroup = {.top = -1, .base = -1, .warm = -1};
    if (chdir("/") < 0 || enter_cgroup(&start, &started, &cgroup) < 0 || prepare(&start, &started) < 0 ||
        start_supervisor(&start, &started, &cgroup, host_process, &pidfd) < 0) {
        if (started.error.code == PYEXEC_OK)
            px_error_errno(&started.error, PYEXEC_INTERNAL, errno, "can't start the supervisor");
        px_cgroup_leave(&cgroup);
        px_send_fds(PX_LAUNCH_OUTER_FD, &started, sizeof started, NULL, 0);
        return 1;
    }
    close(PX_LAUNCH_SUPERVISOR_FD);
    close(host_process);
    int status = tell_started(&started, &cgroup, pidfd) < 0 ? 1 : serve(pidfd, started.privileged, &start);
    px_cgroup_leave(&cgroup);
    return status;
}
