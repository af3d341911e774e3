/* SPDX-License-Identifier: Apache-2.0 */
/* The life of one child, from the clone to its end. The order of the steps matters:
 *
 *   1. attach the workspace: needs the capabilities of the new user namespace
 *   2. place the descriptors: 0 stdin, 1 stdout, 2 stderr, 3 the channel; close all others
 *   3. repair the interpreter after the fork, reseed its generators, warm it
 *   4. enter limits, drop capabilities, enter Landlock and seccomp: none of these can be undone
 *   5. send LOCKED; only after this does the child read bytes that a caller chose
 *
 * Up to step 5 a failure is reported as SETUP_ERROR. The host accepts no SETUP_ERROR after LOCKED. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/retry.h"
#include "guest/become_branch.h"
#include "guest/crash.h"
#include "guest/guard/guard.h"
#include "guest/guard/open_files.h"
#include "guest/guard/trap.h"
#include "guest/huge_pages.h"
#include "guest/mountpoint.h"
#include "guest/reseed.h"
#include "guest/script.h"
#include "guest/signals.h"
#include "guest/thread_id.h"
#include "guest/tools/guest_tools.h"
#include "guest/zygote.h"
#include "protocol/egress.h"
#include "sandbox/landlock.h"
#include "sandbox/limits.h"
#include "sandbox/mount.h"
#include "sandbox/namespaces.h"
#include "sandbox/seccomp.h"

#define CHANNEL_FD 3
#define HANDOVER_FD 4 /* leads to the family's process; closed before LOCKED */
#define IN_FLIGHT_RESERVE 512

/* The user namespace gets no id map, because writing the maps means three writes to /proc, which would cost each
 * run 50 µs. Without a map the script sees itself as the overflow id (65534). Its files in the workspace still
 * belong to the run's user, since the workspace's own user namespace decides about permissions there
 * (user_namespaces(7)). */
uint64_t px_child_namespaces(const struct px_zygote *zygote)
{
    return (px_zygote_lacks(zygote, PX_LAYER_USER_NAMESPACE) ? 0 : CLONE_NEWUSER) |
           (px_zygote_lacks(zygote, PX_LAYER_PID_NAMESPACE) ? 0 : CLONE_NEWPID) |
           (px_zygote_lacks(zygote, PX_LAYER_MOUNT_NAMESPACE) ? 0 : CLONE_NEWNS);
}

static void fail(int channel, pyexec_error *error)
{
    struct px_wire_writer writer = {.socket = channel};
    px_wire_put(&writer, PX_RESULT_SETUP_ERROR, error, sizeof *error);
    px_wire_flush(&writer);
    _exit(EXIT_FAILURE);
}

/* Mounts the workspace at its path. A read-only workspace gets a second, read-only mount over the first one: the
 * host still writes through the descriptor of the first. */
static int attach_workspace(const struct px_clone_request *request, const struct px_mountpoint *point, int mount,
                            pyexec_error *error)
{
    if (mount < 0)
        return 0;
    if (px_mountpoint_make(point, error) < 0)
        return -1;
    if (px_attach(mount, AT_FDCWD, request->workspace_path) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't attach the workspace at '%s'",
                              request->workspace_path);
    if (request->workspace_write)
        return 0;
    px_auto_fd int copy = px_open_tree(AT_FDCWD, request->workspace_path, OPEN_TREE_CLONE);
    if (copy < 0 || px_mount_restrict(copy, MOUNT_ATTR_RDONLY, false) < 0 ||
        px_attach(copy, AT_FDCWD, request->workspace_path) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't make the workspace read-only");
    return 0;
}

/* Each child opens /dev/null for its stdin itself. Runs that shared an open file description would also share its
 * flags and locks. */
static int place_descriptors(const int *fds, pyexec_error *error)
{
    int high[4], handover = fds[6], last = CHANNEL_FD;
    for (size_t i = 0; i < 3; i++)
        if ((high[i + 1] = fcntl(fds[i], F_DUPFD_CLOEXEC, 16)) < 0)
            return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't duplicate a descriptor");
    if (handover >= 0 &&
        ((handover = fcntl(handover, F_DUPFD_CLOEXEC, 16)) < 0 || dup2(handover, last = HANDOVER_FD) < 0))
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't duplicate a descriptor");
    high[0] = px_open("/dev/null", O_RDONLY | O_CLOEXEC, 0);
    if (high[0] < 0 || dup2(high[0], 0) < 0 || dup2(high[2], 1) < 0 || dup2(high[3], 2) < 0 ||
        dup3(high[1], CHANNEL_FD, O_CLOEXEC) < 0 || fcntl(0, F_SETFD, 0) < 0 ||
        syscall(SYS_close_range, last + 1, ~0U, 0) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't place the descriptors");
    return 0;
}

/* The folder that has the rule for the workspace. A branch gets another workspace at the same path, so in a session that can be
 * forked the rule is for the folder above the path. That folder is on a mount that is read-only. */
static int open_workspace_rule(const struct px_clone_request *request)
{
    char path[PX_WORKSPACE_PATH_MAX];
    snprintf(path, sizeof path, "%s", request->workspace_path);
    char *slash = request->forkable ? strrchr(path, '/') : NULL;
    if (slash && slash > path)
        *slash = '\0';
    return px_open(path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
}

static int enter_landlock(const struct px_zygote *zygote, const struct px_clone_request *request, pyexec_error *error)
{
    if (px_zygote_lacks(zygote, PX_LAYER_LANDLOCK))
        return 0;
    /* Without a mount namespace the child still sees the host's root, so Landlock allows only the paths that the
     * interpreter needs. */
    bool own_root = !px_zygote_lacks(zygote, PX_LAYER_MOUNT_NAMESPACE);
    px_auto_fd int root = own_root ? px_open("/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0) : -1;
    px_auto_fd int workspace = -1;
    if (request->workspace != PX_WORKSPACE_NONE)
        workspace = open_workspace_rule(request);
    struct px_landlock_rules rules = {
        .root = root,
        .paths = own_root ? NULL : (const char *const *)zygote->readable.items,
        /* The import system lists the folders that it searches. */
        .folders = own_root ? NULL : (const char *const *)zygote->trees,
        .workspace = workspace,
        .workspace_write = request->workspace_write,
        .network = zygote->start.network == PX_NETWORK_HOST,
        .connect_port = zygote->start.network == PX_NETWORK_NAMES ? PX_EGRESS_PORT : 0,
        .abi = zygote->landlock_abi,
    };
    if ((own_root && root < 0) || px_landlock_enter(&rules) < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't enter Landlock");
    return 0;
}

/* The kernel counts a user's descriptors in flight, including those of its other runs and of pyexec itself. It
 * refuses a sender when the count is above the sender's own limit (unix(7), ETOOMANYREFS). So a run's limit is
 * lower than pyexec's by more descriptors than one message holds: a run is refused before pyexec is. */
static uint64_t open_files_limit(uint64_t wanted)
{
    struct rlimit ours;
    if (wanted != UINT64_MAX)
        wanted += CHANNEL_FD + 1 + px_open_files_reserve();
    if (getrlimit(RLIMIT_NOFILE, &ours) < 0 || ours.rlim_cur == RLIM_INFINITY)
        return wanted;
    uint64_t most = ours.rlim_cur > 2 * IN_FLIGHT_RESERVE ? ours.rlim_cur - IN_FLIGHT_RESERVE : ours.rlim_cur / 2;
    return wanted < most ? wanted : most;
}

/* The kernel counts the branches of a process as its threads, and keeps the soft limit at the time of the clone for them. So
 * the hard limit stays as it is, and the filter lets only the host change the limit. */
static int limit_threads(uint64_t threads)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NPROC, &limit) < 0)
        return -1;
    limit.rlim_cur = threads < limit.rlim_max ? threads : limit.rlim_max;
    return setrlimit(RLIMIT_NPROC, &limit);
}

static int enter_filter(const struct px_zygote *zygote, bool forkable, pyexec_error *error)
{
    if (!forkable)
        return px_seccomp_enter(zygote->start.network == PX_NETWORK_NAMES ? PX_FILTER_CHILD_NAMED : PX_FILTER_CHILD) < 0
                   ? px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't install the seccomp filter")
                   : 0;
    int listener = px_seccomp_enter_forkable();
    if (listener < 0 && errno == EBUSY) {
        px_error_set(
            error, PYEXEC_SANDBOX_UNAVAILABLE,
            "forkable, auto_checkpoint: a seccomp filter of the container or of the service manager already asks questions "
            "(seccomp user notification), and the kernel allows only one such filter");
        return px_error_hint(
            error, "Set forkable and auto_checkpoint to false, or start the container with another seccomp profile "
                   "(--security-opt seccomp=unconfined).");
    }
    if (listener < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't install the seccomp filter");
    if (px_send_fds(HANDOVER_FD, "l", 1, &listener, 1) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't hand over the listener");
    close(listener);
    close(HANDOVER_FD);
    return 0;
}

static int lock_down(const struct px_zygote *zygote, const struct px_clone_request *request, pyexec_error *error)
{
    struct px_limits limits = {
#define PX_RLIMIT(resource, member, value) .member = request->member,
#include "base/rlimits.def"
    };
    /* The limit includes the reserve until the run has been received, because the run message brings descriptors. */
    limits.open_files = open_files_limit(request->open_files);
    uint64_t open_files = limits.open_files;
    /* The listener is handed over under pyexec's own limit, see above. The filter lets the limit be lowered after that. */
    if (request->forkable)
        limits.open_files = UINT64_MAX;
    if (limits.threads != UINT64_MAX)
        limits.threads++;
    uint64_t threads = limits.threads;
    if (request->forkable)
        limits.threads = UINT64_MAX;
    /* The kernel counts them in the user namespaces above too, so at a low limit the members of a family would notice each other. The
     * family's process refuses those of which a process can queue many. */
    limits.keep_signals = request->forkable;
    if (px_trap_install() < 0 || px_crash_install(CHANNEL_FD, request->address_space_bytes) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't install signal handlers");
    bool drop = !px_zygote_lacks(zygote, PX_LAYER_PRIVILEGES);
    if (px_zygote_lacks(zygote, PX_LAYER_USER_NAMESPACE) && zygote->start.privileged && drop &&
        (setresgid(zygote->start.run_gid, zygote->start.run_gid, zygote->start.run_gid) < 0 ||
         setresuid(zygote->start.run_uid, zygote->start.run_uid, zygote->start.run_uid) < 0))
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't drop to the run's id");
    if (drop && px_privileges_drop() < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't drop the privileges");
    if (enter_landlock(zygote, request, error) < 0)
        return -1;
    /* The limits come after Landlock, which needs descriptors itself. */
    if (!px_zygote_lacks(zygote, PX_LAYER_RLIMITS) &&
        (px_limits_enter(&limits) < 0 || (request->forkable && limit_threads(threads) < 0)))
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't set the limits");
    bool host_files = px_zygote_lacks(zygote, PX_LAYER_MOUNT_NAMESPACE);
    if (px_zygote_lacks(zygote, PX_LAYER_SECCOMP))
        return 0;
    if (host_files && px_seccomp_keep_files() < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't install the seccomp filter");
    if (enter_filter(zygote, request->forkable, error) < 0)
        return -1;
    if (request->forkable && !px_zygote_lacks(zygote, PX_LAYER_RLIMITS) && px_limits_open_files(open_files) < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't set the limits");
    return 0;
}

static void set_open_files(const struct px_script *run, rlim_t below_hard)
{
    struct rlimit limit;
    if (run->max_open_files == UINT64_MAX || getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max < below_hard)
        return;
    limit.rlim_cur = limit.rlim_max - below_hard;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Limits the script to the descriptors of its policy. The guard lends the reserve to imports. */
static void keep_reserve(const struct px_script *run)
{
    set_open_files(run, px_open_files_reserve());
}

static void lend_reserve_for_receiving(const struct px_script *run)
{
    set_open_files(run, 0);
}

/* Waits for the host's next message, or until the host closes the channel, and leaves the message unread. Returns
 * true with the kind of the message's first field. Gives up the GIL while it waits, so that a session's threads
 * can run. */
static bool message_follows(bool session, uint16_t *ret_kind)
{
    ssize_t n = px_recv(CHANNEL_FD, ret_kind, sizeof *ret_kind, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        PyThreadState *state = session ? PyEval_SaveThread() : NULL;
        n = px_recv(CHANNEL_FD, ret_kind, sizeof *ret_kind, MSG_PEEK);
        if (state)
            PyEval_RestoreThread(state);
    }
    return n == sizeof *ret_kind;
}

/* Does the same, but first drops answers to tool calls that arrived after their run had ended. */
static bool more_follows(bool session, uint16_t *ret_kind)
{
    bool follows;
    while ((follows = message_follows(session, ret_kind)) && px_tools_is_answer(*ret_kind))
        if (px_recv(CHANNEL_FD, ret_kind, sizeof *ret_kind, MSG_DONTWAIT) < 0)
            return false;
    return follows;
}

/* Does the same, but first makes the branches and checkpoints that the host asks for. In these this returns too. */
static bool run_follows(bool session, struct px_wire_writer *writer, uint16_t *ret_kind)
{
    bool follows;
    while ((follows = more_follows(session, ret_kind)) &&
           (*ret_kind == PX_RUN_FORK || *ret_kind == PX_RUN_CHECKPOINT || *ret_kind == PX_RUN_TEMPLATE)) {
        int failed = *ret_kind == PX_RUN_TEMPLATE ? px_branch_become_template(writer)
                                                  : px_branch_make(writer, *ret_kind == PX_RUN_CHECKPOINT);
        if (failed < 0)
            return false;
    }
    return follows;
}

/* A signal that was meant to stop the last call may arrive after that call's end. It is pending by now, because
 * the host sent it before this call's message, so it can be dropped here. The host sends a signal for this call
 * only after READY. */
static int drop_stop(const struct px_script *run)
{
    if (!(run->flags & PX_RUN_FLAG_DROP_STOP))
        return 0;
    px_signals_drop();
    return px_wire_put(run->out, PX_RESULT_READY, NULL, 0) == 0 && px_wire_flush(run->out) == 0 ? 0 : -1;
}

/* Serves one run, or all calls of a session. After the last one this process waits: the host first reads facts
 * about it while its memory still exists, and then kills it. The wait also ends when the host ends. */
static void serve_runs(const struct px_zygote *zygote, bool forkable)
{
    static struct px_wire_writer writer = {.socket = CHANNEL_FD};
    struct px_script run = {.out = &writer};
    uint64_t now[2] = {(uint64_t)px_clock_ns(CLOCK_PROCESS_CPUTIME_ID), (uint64_t)px_clock_ns(CLOCK_REALTIME)};
    bool more = px_wire_put(&writer, PX_RESULT_LOCKED, now, sizeof now) == 0 && px_wire_flush(&writer) == 0;
    int status = 1;
    bool lent = true; /* lock_down() has lent the reserve */
    uint16_t kind;
    if (more && forkable)
        more = run_follows(true, &writer, &kind);
    while (more) {
        if (px_script_receive(CHANNEL_FD, &run) < 0 || drop_stop(&run) < 0)
            break;
        if (lent)
            keep_reserve(&run);
        /* Without a mount namespace the directory does not exist, and the child stays in "/". */
        if (run.working_dir && chdir(run.working_dir) < 0 && !px_zygote_lacks(zygote, PX_LAYER_MOUNT_NAMESPACE))
            break;
        status = px_script_execute(&run);
        bool session = run.flags & PX_RUN_FLAG_SESSION;
        more = run_follows(session, &writer, &kind) && session;
        lent = more && (kind == PX_RUN_INPUT || kind == PX_RUN_TOOLS_FILE || kind == PX_RUN_CODE_FILE ||
                        kind == PX_RUN_VARIABLES_FILE);
        if (lent)
            lend_reserve_for_receiving(&run);
    }
    _exit(status);
}

static void become_child(struct px_zygote *zygote, const struct px_clone_request *request,
                         const struct px_mountpoint *point, const int *fds)
{
    pyexec_error error = {0};
    if (px_zygote_lacks(zygote, PX_LAYER_PID_NAMESPACE))
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    /* A session of its own gives the child its own process group. kill(0, …) signals the whole group of the caller,
     * also its members in other PID namespaces (kill(2)). */
    setsid();
    sigset_t blocked;
    px_launch_end_signals(&blocked);
    sigprocmask(SIG_UNBLOCK, &blocked, NULL);
    if (!px_zygote_lacks(zygote, PX_LAYER_MOUNT_NAMESPACE) && attach_workspace(request, point, fds[3], &error) < 0)
        fail(fds[0], &error);
    if (place_descriptors(fds, &error) < 0)
        fail(fds[0], &error);
    PyOS_AfterFork_Child();
    px_reseed();
    if (request->forkable)
        px_huge_pages_for_forks(zygote->start.huge_on_advice);
    if (request->warm)
        px_script_warm();
    if (lock_down(zygote, request, &error) < 0)
        fail(CHANNEL_FD, &error);
    serve_runs(zygote, request->forkable);
}

/* Makes the next clone of this process a member of the family's PID namespace (setns(2)). */
static int enter_family(int namespace, pyexec_error *error)
{
    if (setns(namespace, CLONE_NEWPID) == 0)
        return 0;
    return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno,
                          "can't enter the PID namespace of a session that can be forked");
}

int px_child_clone(struct px_zygote *zygote, const struct px_clone_request *request, const int *fds, int *ret_pidfd,
                   pid_t *ret_pid, pyexec_error *error)
{
    struct px_mountpoint point = {.tmpfs = -1};
    if (fds[3] >= 0) {
        if (px_zygote_lacks(zygote, PX_LAYER_MOUNT_NAMESPACE)) {
            px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "file access needs the layer 'mount_namespace'");
            return px_error_hint(error, "Set disable_open to true, or make the layer available: `pyexec doctor` "
                                        "says how.");
        }
        if (px_mountpoint_find(&point, request->workspace_path, error) < 0)
            return -1;
    }
    if (request->forkable && enter_family(fds[5], error) < 0)
        return -1;
    int *thread_id = px_thread_id_address(), pidfd = -1;
    struct clone_args args = {
        .flags = (px_child_namespaces(zygote) & ~(request->forkable ? (uint64_t)CLONE_NEWPID : 0)) | CLONE_PARENT |
                 CLONE_PIDFD | (thread_id ? CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID : 0) |
                 (fds[4] < 0 ? 0 : CLONE_INTO_CGROUP),
        .cgroup = fds[4] < 0 ? 0 : (uint64_t)fds[4],
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        .child_tid = (uint64_t)(uintptr_t)thread_id,
    };
    PyOS_BeforeFork();
    pid_t pid = px_clone_call(&args);
    if (pid == 0) {
        px_thread_id_in_copy();
        close(zygote->host);
        become_child(zygote, request, &point, fds);
    }
    int saved = errno;
    if (request->forkable && setns(zygote->pid_namespace, CLONE_NEWPID) < 0)
        _exit(EXIT_FAILURE); /* the next child would get into this family */
    PyOS_AfterFork_Parent();
    px_mountpoint_done(&point);
    if (pid < 0)
        return px_error_exhausted(error, saved, "can't clone a process for the run");
    *ret_pidfd = pidfd;
    *ret_pid = pid;
    return 0;
}
