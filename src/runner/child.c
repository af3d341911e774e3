/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/retry.h"
#include "protocol/wire.h"
#include "result/result.h"
#include "runner/exits.h"
#include "runner/family.h"
#include "runner/folder.h"
#include "runner/proxy.h"
#include "runner/workspace.h"

#define NO_DESCRIPTORS "can't make the run's descriptors"

/* The host closes the child's ends after the clone. */
void px_child_close_ends(struct px_child_ends *ends)
{
    px_close_fd(&ends->channel);
    px_close_fd(&ends->output);
    px_close_fd(&ends->error_output);
}

static int make_pipe(int *ret_read, int *ret_write)
{
    int pair[2];
    if (pipe2(pair, O_CLOEXEC) < 0)
        return -1;
    *ret_read = pair[0];
    *ret_write = pair[1];
    return 0;
}

static int make_descriptors(struct px_child *child, struct px_child_ends *ends, pyexec_error *error)
{
    int pair[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0) {
        child->channel = pair[0];
        ends->channel = pair[1];
    }
    /* The flag belongs only to the host's end: a socketpair's ends and a pipe's ends are
     * separate open file descriptions, so nothing that the child sets changes it. */
    if (pair[0] < 0 || make_pipe(&child->streams[0], &ends->output) < 0 ||
        make_pipe(&child->streams[1], &ends->error_output) < 0 || fcntl(child->streams[0], F_SETFL, O_NONBLOCK) < 0 ||
        fcntl(child->streams[1], F_SETFL, O_NONBLOCK) < 0)
        return px_error_exhausted(error, errno, NO_DESCRIPTORS);
    return 0;
}

static uint64_t or_none(int64_t value)
{
    return value == PX_NONE ? UINT64_MAX : (uint64_t)value;
}

/* The host ends the run before this limit. It is for the case that the host itself hangs. */
static uint64_t cpu_seconds_of(const struct px_child_options *options)
{
    int64_t seconds = options->policy->cpu_time_seconds;
    return options->session || seconds == PX_NONE ? UINT64_MAX : (uint64_t)seconds + 2;
}

void px_child_shape(struct px_clone_request *shape, const struct px_child_options *options)
{
    const struct px_policy *policy = options->policy;
    const pyexec_request *request = options->request;
    enum px_files files = px_policy_files(policy);
    memset(shape, 0, sizeof *shape);
    shape->op = PX_CLONE_RUN;
    shape->workspace = request->workspace                               ? PX_WORKSPACE_GIVEN
                       : files != PX_FILES_NONE || request->working_dir ? PX_WORKSPACE_NEW
                                                                        : PX_WORKSPACE_NONE;
    shape->workspace_write = files == PX_FILES_FULL && policy->workspace_bytes > 0;
    shape->workspace_bytes = (uint64_t)policy->workspace_bytes;
#define PX_RLIMIT(resource, member, value) shape->member = (uint64_t)(value);
#include "base/rlimits.def"
    shape->forkable = options->session && (policy->forkable || policy->auto_checkpoint);
    snprintf(shape->workspace_path, sizeof shape->workspace_path, "%s", options->workspace_path);
}

/* The number before the last one: that in the PID namespace above its own. 0 if there is only one. */
static pid_t outer_pid(const char *text)
{
    const char *at = strstr(text, "\nNSpid:");
    long outer = 0, inner = 0;
    for (at = at ? at + 7 : NULL; at && *at == '\t';) {
        char *end;
        outer = inner;
        inner = strtol(at + 1, &end, 10);
        at = end;
    }
    return (pid_t)outer;
}

/* The child's PID in our PID namespace, read from the pidfd's fdinfo (pidfd_open(2)); 0 when it can't be
 * seen, -1 when it can't be read because no descriptor is free. */
static pid_t host_pid(int pidfd, pid_t *ret_outer)
{
    char path[48], text[512];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    if (px_read_small_file(AT_FDCWD, path, text, sizeof text) < 0)
        return errno == EMFILE || errno == ENFILE ? -1 : 0;
    int pid = (int)px_number_after(text, "Pid:", 0); /* -1 after its end */
    *ret_outer = pid > 0 ? outer_pid(text) : 0;
    return pid > 0 ? pid : 0;
}

int px_child_put_files(const struct px_child *child, const pyexec_request *request, pyexec_error *error)
{
    if (child->workspace < 0)
        return 0;
    /* A thread of the session may have changed the folder's mode since the last call. */
    if (request->working_dir || request->file_count)
        px_folder_grant(child->workspace);
    if (request->working_dir &&
        px_workspace_make_folder(child->workspace, request->working_dir, "working_dir", error) < 0)
        return -1;
    for (size_t i = 0; i < request->file_count; i++)
        if (px_workspace_write(child->workspace, request->files[i].path, request->files[i].bytes,
                               request->files[i].length, error) < 0)
            return -1;
    return 0;
}

int px_child_prepare(struct px_child *child, struct px_launcher *launcher, int workspace,
                     struct px_child_ends *ret_ends, pyexec_error *error)
{
    *child = (struct px_child){.launcher = launcher,
                               .channel = -1,
                               .streams = {-1, -1},
                               .input = -1,
                               .pidfd = -1,
                               .status = -1,
                               .workspace = workspace,
                               .listener = -1,
                               .ended = true};
    *ret_ends = (struct px_child_ends){-1, -1, -1};
    return make_descriptors(child, ret_ends, error);
}

int px_child_adopt(struct px_child *child, int pidfd, pid_t pid, pyexec_error *error)
{
    child->pidfd = pidfd;
    child->pid = pid;
    child->ended = false;
    /* The kernel drops descriptors for which there is no room (recvmsg(2), MSG_CTRUNC). A child to which no
     * signal can be sent ends by itself when its channel is closed. */
    if (child->pidfd < 0)
        return px_error_exhausted(error, EMFILE, NO_DESCRIPTORS);
    pid_t outer = 0;
    child->host_pid = host_pid(child->pidfd, &outer);
    if (!pid)
        child->pid = outer;
    if (child->host_pid < 0)
        return px_error_exhausted(error, errno, NO_DESCRIPTORS);
    if (clock_getcpuclockid(child->host_pid, &child->cpu_clock) != 0)
        child->host_pid = 0;
    fcntl(child->channel, F_SETFL, O_NONBLOCK);
    return 0;
}

/* A session can be forked only with the layers that make its branches strangers to each other. */
static int check_layers(struct px_zygotes *zygotes, pyexec_error *error)
{
    static const enum px_layer needed[] = {PX_LAYER_USER_NAMESPACE, PX_LAYER_PID_NAMESPACE, PX_LAYER_MOUNT_NAMESPACE,
                                           PX_LAYER_PRIVILEGES, PX_LAYER_SECCOMP};
    for (size_t i = 0; i < PX_COUNT(needed); i++)
        if (px_zygotes_missing(zygotes) & PX_LAYER_BIT(needed[i])) {
            px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE,
                         "forkable, auto_checkpoint: a session can't be copied without the layer '%s'",
                         px_layer_info(needed[i])->name);
            return px_error_hint(
                error,
                "Set forkable and auto_checkpoint to false, or make the layer available: `pyexec doctor` says how.");
        }
    return 0;
}

/* What px_family_found() gives for the clone. */
struct pair {
    int fds[2];
};

static void close_pair(struct pair *pair)
{
    px_close_fds(pair->fds, 2);
}

static int try_child_start(struct px_child *child, struct px_launcher *launcher, struct px_zygotes *zygotes,
                           const struct px_clone_request *shape, int mount, int folder, bool *ret_lost,
                           pyexec_error *error)
{
    px_auto(px_child_close_ends) struct px_child_ends ends;
    px_auto(close_pair) struct pair family = {{-1, -1}};
    struct px_clone_request request = *shape;
    struct px_clone_reply reply;
    uint64_t number;
    *ret_lost = false;
    if (px_child_prepare(child, launcher, folder, &ends, error) < 0 ||
        (shape->forkable && check_layers(zygotes, error) < 0) ||
        (shape->forkable && px_family_found(launcher, shape->threads, &child->member, family.fds, error) < 0))
        return -1;
    px_auto_fd int run_cgroup = px_launcher_make_run_cgroup(launcher, shape, &number, error);
    if (run_cgroup < 0 && number)
        return -1;
    request.cgroup = run_cgroup >= 0;
    int fds[7] = {ends.channel, ends.output, ends.error_output};
    struct px_cloned cloned;
    size_t count = 3;
    if (mount >= 0)
        fds[count++] = mount;
    if (shape->forkable) {
        fds[count++] = family.fds[0];
        fds[count++] = family.fds[1];
    }
    if (run_cgroup >= 0)
        fds[count++] = run_cgroup;
    int result = px_zygotes_clone(zygotes, &request, fds, count, &reply, &cloned, ret_lost, error);
    if (number)
        px_launcher_release_run_cgroup(launcher, result == 0 ? reply.pid : 0, number);
    if (result < 0)
        return -1;
    child->listener = cloned.listener;
    if (child->workspace < 0)
        child->workspace = cloned.workspace;
    if (px_child_adopt(child, cloned.pidfd, reply.pid, error) < 0)
        return -1;
    if (px_zygotes_by_name(zygotes) && child->listener < 0)
        return px_error_exhausted(error, EMFILE, NO_DESCRIPTORS);
    if (shape->workspace == PX_WORKSPACE_NEW && child->workspace < 0)
        return px_error_exhausted(error, EMFILE, NO_DESCRIPTORS);
    return 0;
}

int px_child_start(struct px_child *child, struct px_launcher *launcher, struct px_zygotes *zygotes,
                   const struct px_clone_request *shape, int mount, int folder, pyexec_error *error)
{
    bool lost;
    int result = try_child_start(child, launcher, zygotes, shape, mount, folder, &lost, error);
    if (!lost)
        return result;
    /* A child that the zygote made before it died is idle, and ends when its channel is closed. */
    px_close_fd(&child->channel);
    px_close_fds(child->streams, 2);
    px_close_fd(&child->listener);
    px_family_leave(&child->member);
    return try_child_start(child, launcher, zygotes, shape, mount, folder, &lost, error);
}

int px_child_open_workspace(struct px_launcher *launcher, const struct px_child_options *options, int *ret_folder,
                            int *ret_mount, pyexec_error *error)
{
    const char *path = options->request->workspace;
    px_auto_fd int folder = px_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (folder < 0)
        return px_error_of_request(error, errno, "Give a folder of the host that pyexec's user can open.",
                                   "workspace: can't open '%s'", path);
    *ret_mount = px_launcher_bind(launcher, path, folder, px_policy_files(options->policy) != PX_FILES_FULL, error);
    if (*ret_mount < 0)
        return -1;
    *ret_folder = TAKE_FD(folder);
    return 0;
}

void px_child_open_facts(struct px_child *child)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/status", child->host_pid);
    px_auto_fd int status = child->host_pid > 0 ? px_open(path, O_RDONLY | O_CLOEXEC, 0) : -1;
    /* The file belongs to the process that had this PID when it was opened. The child had it if it is alive now. */
    if (status >= 0 && px_child_alive(child))
        child->status = TAKE_FD(status);
}

int px_child_open_memory(const struct px_child *child)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", child->host_pid);
    px_auto_fd int memory = child->host_pid > 0 ? px_open(path, O_RDONLY | O_CLOEXEC, 0) : -1;
    return memory >= 0 && px_child_alive(child) ? TAKE_FD(memory) : -1;
}

void px_child_done(struct px_child *child)
{
    int fds[] = {child->channel, child->streams[0], child->streams[1], child->input,
                 child->pidfd,   child->status,     child->workspace,  child->listener};
    _Static_assert(PX_COUNT(fds) == PX_EXIT_FDS, "a record of an exit has room for them");
    if (child->pidfd >= 0)
        px_child_signal(child, SIGKILL);
    px_proxy_close(&child->proxy_run);
    /* A child that can't be killed ends when its channel is closed. */
    if (child->ended || child->pidfd < 0)
        px_close_fds(fds, PX_COUNT(fds));
    if (!child->ended)
        px_launcher_bury(child->launcher, child->pid, child->pidfd, fds, PX_COUNT(fds));
    child->channel = child->streams[0] = child->streams[1] = child->input = -1;
    child->pidfd = child->status = child->workspace = child->listener = -1;
    px_family_leave(&child->member);
}

void px_child_signal(const struct px_child *child, int signal)
{
    syscall(SYS_pidfd_send_signal, child->pidfd, signal, NULL, 0);
}

void px_child_let_files_grow(const struct px_child *child, bool grow)
{
    struct rlimit limit;
    if (child->host_pid <= 0 || !px_child_alive(child) || prlimit(child->host_pid, RLIMIT_FSIZE, NULL, &limit) < 0)
        return;
    limit.rlim_cur = grow ? limit.rlim_max : 0;
    (void)!prlimit(child->host_pid, RLIMIT_FSIZE, &limit, NULL);
}

void px_child_discard_output(const struct px_child *child)
{
    /* 1 MiB in all: the most that the child can make a pipe hold (pipe(7)). */
    enum { READS_MAX = 64 };
    char block[16384];
    for (int i = 0; i < READS_MAX && px_receive_packet(child->channel, block, sizeof block, MSG_DONTWAIT) > 0; i++)
        ;
    for (int which = 0; which < 2; which++)
        for (int i = 0; i < READS_MAX && child->streams[which] >= 0 &&
                        px_read(child->streams[which], block, sizeof block) == sizeof block;
             i++)
            ;
}

bool px_child_alive(const struct px_child *child)
{
    struct pollfd polled = {child->pidfd, POLLIN, 0};
    /* If this can't be found out, the child counts as alive: the next call will notice its end. */
    return px_poll(&polled, 1, 0) <= 0;
}

static int64_t read_cpu(const struct px_child *child)
{
    struct timespec used;
    bool known = child->host_pid && clock_gettime(child->cpu_clock, &used) == 0;
    return known ? px_timespec_ns(used) : -1;
}

/* PIDs are reused. Check that the child is alive after reading, so that the value is known to be the child's. */
int64_t px_child_cpu_ns(const struct px_child *child)
{
    int64_t used = read_cpu(child);
    return px_child_alive(child) ? used : -1;
}

/* The kernel adds what a process uses on another CPU only when that one stops or its timer ticks
 * (thread_group_cputime() in kernel/sched/cputime.c). A tick is at most 10 ms. A script that is shorter may
 * seem to have used nothing until its process stops running, because it waits for the next call. */
static int64_t read_cpu_above(const struct px_child *child, int64_t cpu_before_ns)
{
    enum { READS_MAX = 100 };
    int64_t used = read_cpu(child);
    for (int i = 1; i < READS_MAX && used >= 0 && used <= cpu_before_ns; i++) {
        px_sleep_ns(PX_NS_PER_MS / 10);
        used = read_cpu(child);
    }
    return used;
}

/* Reads /proc/PID/status of this child. Returns false if it has ended or can't be read. */
static bool read_status(const struct px_child *child, char *text, size_t size)
{
    if (child->status >= 0) {
        ssize_t n = px_pread(child->status, text, size - 1, 0); /* ESRCH after its end */
        text[n < 0 ? 0 : n] = '\0';
        return n > 0;
    }
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/status", child->host_pid);
    return px_read_small_file(AT_FDCWD, path, text, size) >= 0 && px_child_alive(child);
}

/* True if a child that was killed can execute nothing more, although the kernel may still take down what it had.
 *
 * A process with a pending SIGKILL starts no thread (copy_process() in kernel/fork.c). A thread that ends loses its
 * memory before its descriptors (do_exit() in kernel/exit.c), and after that point it makes no system call and
 * touches no mapped page; the kernel leaves the Vm… lines out. Those that ended before are no longer counted. So this
 * is the last thread, and it is past that point. The number comes after the Vm… lines: a text that is cut off
 * before them has none. */
static bool has_stopped(const char *status)
{
    return !strstr(status, "\nVmSize:") && px_number_after(status, "Threads:", 0) == 1;
}

void px_child_kill(const struct px_child *child, bool only_threads)
{
    enum { LOOKS_MAX = 100 };
    char status[4096];
    struct pollfd polled = {child->pidfd, POLLIN, 0};
    if (child->pidfd < 0)
        return;
    px_child_signal(child, SIGKILL);
    /* The pidfd becomes readable only after the process's namespaces are gone, for which the kernel waits until all
     * CPUs have passed a certain point (namespace_unlock() in fs/namespace.c). */
    for (int i = 0; only_threads && i < LOOKS_MAX && read_status(child, status, sizeof status); i++) {
        if (has_stopped(status))
            return;
        sched_yield();
    }
    (void)!px_poll(&polled, 1, 5000);
}

bool px_child_facts(const struct px_child *child, int64_t cpu_before_ns, struct px_child_facts *ret)
{
    char text[4096];
    ret->cpu_ns = read_cpu_above(child, cpu_before_ns);
    /* Read after the CPU time: it shows that the PID still was the child's. */
    if (ret->cpu_ns < 0 || !read_status(child, text, sizeof text))
        return false;
    ret->threads = (unsigned)px_number_after(text, "Threads:", 0);
    ret->peak_bytes = px_number_after(text, "VmHWM:", 0) * 1024;
    return ret->peak_bytes != 0;
}

bool px_child_read_locked(const struct px_child *child, struct px_locked *ret)
{
    int64_t times[2];
    char packet[PX_FIELD_HEADER + sizeof times];
    struct px_wire_field field;
    size_t offset = 0;
    /* A packet that is longer is cut off, so it is malformed here: the run reads it. */
    ssize_t n = px_recv(child->channel, packet, sizeof packet, MSG_DONTWAIT | MSG_PEEK);
    if (n != sizeof packet || px_wire_next(packet, sizeof packet, &offset, &field) != 1 ||
        field.kind != PX_RESULT_LOCKED || field.length != sizeof times ||
        px_recv(child->channel, packet, sizeof packet, MSG_DONTWAIT) != sizeof packet)
        return false;
    memcpy(times, field.bytes, sizeof times);
    *ret = (struct px_locked){.cpu_ns = times[0], .real_ns = times[1]};
    return true;
}

int px_child_await_locked(const struct px_child *child, int timeout_ms, pyexec_error *error)
{
    /* Not on the stack: the thread would keep all these pages for as long as the session's script waits. */
    px_auto_free char *packet = malloc(PX_PACKET_MAX);
    pyexec_result *result = packet ? px_result_new() : NULL;
    if (!result)
        return px_error_oom(error);
    struct pollfd polled = {child->channel, POLLIN, 0};
    const char *why;
    int ready = px_poll(&polled, 1, timeout_ms);
    ssize_t n = ready > 0 ? px_receive_packet(child->channel, packet, PX_PACKET_MAX, MSG_DONTWAIT) : -1;
    int failed = ready < 0 || (ready > 0 && n < 0) ? errno : 0;
    if (n > 0)
        px_child_result_parse(&result->claims, packet, (size_t)n, &why);
    bool locked = result->claims.locked;
    if (!locked && result->claims.setup.code != PYEXEC_OK) {
        *error = result->claims.setup;
    } else if (!locked && failed) {
        px_error_errno(error, PYEXEC_INTERNAL, failed, "the host can't receive from the session's process");
    } else if (!locked) {
        px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "the session's process %s while the sandbox was being set up",
                     ready > 0 ? "ended" : "hung");
        px_error_hint(error, "If address_space_bytes is small, raise it; see `pyexec doctor`.");
    }
    pyexec_result_free(result);
    return locked ? 0 : -1;
}
