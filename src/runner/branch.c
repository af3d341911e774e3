/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a fork, as the host takes them:
 *
 *   1. look at the source from outside: one thread, not too deep
 *   2. give the branch's descriptors to the family's process, and let it allow one clone of the source
 *   3. ask the source to clone itself. The branch drops its capabilities and reports itself to the family's process,
 *      which gives it its descriptors and tells the host. The kernel holds the branch meanwhile
 *   4. look at the branch from outside: no capability, the same filters, nothing shared
 *   5. let it run; it repairs the interpreter and says LOCKED. A checkpoint stays held, and step 5 comes when the session
 *      returns to it (checkpoint.c)
 *
 * The script has had the memory of both processes before, so what they say is not trusted. When anything fails, the
 * branch is killed, and so is a process that was cloned but did not report itself. */
#include "runner/branch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/retry.h"
#include "protocol/wire.h"
#include "result/result.h"
#include "runner/family.h"
#include "runner/workspace_copy.h"

struct fork {
    struct px_child *source, *branch;
    struct px_family *family;
    struct px_family_event event; /* the last one */
    int event_fd;
    bool checkpoint;
    int timeout_ms, strict_ms; /* `strict_ms`: that of struct px_branch */
    bool raised;               /* the limit of the source's threads was raised */
    bool asked;                /* the source may have begun to clone itself */
    bool answered;             /* the source has said how its clone went */
    bool unknown;              /* the branch may exist and is not a member yet */
    int source_errno;
    int64_t deadline;
};

static int order(const struct fork *fork, enum px_family_op op, pid_t pid, const int *fds, size_t count)
{
    struct px_family_order order = {.magic = PX_LAUNCH_MAGIC, .op = op, .pid = pid, .checkpoint = fork->checkpoint};
    return px_send_fds(fork->family->control, &order, sizeof order, fds, count);
}

static int left_ms(const struct fork *fork)
{
    int64_t left = (fork->deadline - px_now_ns()) / PX_NS_PER_MS;
    return left > 0 ? (int)left : 0;
}

/* Reads an event of the family's process. Returns false if it has ended. */
static bool take_event(struct fork *fork)
{
    px_close_fd(&fork->event_fd);
    ssize_t n =
        px_receive_fds(fork->family->control, &fork->event, sizeof fork->event, &fork->event_fd, 1, &(size_t){0});
    return n == sizeof fork->event && fork->event.magic == PX_LAUNCH_MAGIC;
}

/* Waits for an event of this type; others came too late. */
static int await_event(struct fork *fork, enum px_family_event_type type, pyexec_error *error)
{
    struct pollfd polled = {fork->family->control, POLLIN, 0};
    while (px_poll(&polled, 1, left_ms(fork)) > 0 && take_event(fork))
        if (fork->event.type == type)
            return 0;
    return px_error_set(error, PYEXEC_INTERNAL, "the process of the session's family does not answer");
}

/* What the source says about its clone is used only for the message. */
static void take_answer(struct fork *fork)
{
    px_auto_free char *packet = malloc(PX_PACKET_MAX);
    pyexec_result *result = packet ? px_result_new() : NULL;
    const char *why;
    if (result)
        result->claims.locked = true;
    ssize_t n = result ? px_receive_packet(fork->source->channel, packet, PX_PACKET_MAX, MSG_DONTWAIT) : -1;
    if (n > 0)
        px_child_result_parse(&result->claims, packet, (size_t)n, &why);
    if (n > 0 && result->claims.ready) {
        fork->answered = true;
        fork->source_errno = result->claims.fork_errno;
    }
    pyexec_result_free(result);
}

static int clone_failed(const struct fork *fork, pyexec_error *error)
{
    if (!px_child_alive(fork->source))
        return px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the session's process ended while it was forked");
    if (!fork->answered)
        return px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the session's process does not fork within %d ms",
                            fork->timeout_ms);
    if (px_errno_exhausted(fork->source_errno))
        return px_error_exhausted(error, fork->source_errno, "can't clone the session's process");
    if (fork->source_errno)
        return px_error_errno(error, PYEXEC_SESSION_NOT_FORKABLE, fork->source_errno,
                              "the session's process can't be cloned");
    return px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the process of the new session ended while it was made");
}

/* Waits until the branch has reported itself. */
static int await_branch(struct fork *fork, pyexec_error *error)
{
    bool ended = false;
    while (!ended && left_ms(fork) > 0 && !(fork->answered && fork->source_errno)) {
        struct pollfd polled[] = {{fork->family->control, POLLIN, 0},
                                  {fork->answered ? -1 : fork->source->channel, POLLIN, 0},
                                  {fork->source->pidfd, POLLIN, 0}};
        if (px_poll(polled, PX_COUNT(polled), left_ms(fork)) < 0)
            break;
        if (polled[0].revents && !take_event(fork))
            return px_error_set(error, PYEXEC_INTERNAL, "the process of the session's family has ended");
        if (polled[0].revents && fork->event.type == PX_FAMILY_ARRIVED)
            return 0;
        if (polled[1].revents)
            take_answer(fork);
        ended = polled[2].revents;
    }
    return clone_failed(fork, error);
}

/* Lets the process of the family allow one clone, and asks the source for it. An empty pipe whose other end is closed is the
 * branch's stdin until its first call. */
static int ask_source(struct fork *fork, struct px_child_ends *ends, pyexec_error *error)
{
    char field[PX_FIELD_HEADER] = {0};
    const uint16_t kind = fork->checkpoint ? PX_RUN_CHECKPOINT : PX_RUN_FORK;
    int input[2];
    memcpy(field, &kind, sizeof kind);
    if (pipe2(input, O_CLOEXEC) < 0)
        return px_error_exhausted(error, errno, "can't make a pipe");
    const int fds[] = {input[0], ends->output, ends->error_output, ends->channel};
    px_family_begin_birth(fork->family);
    fork->asked = fork->unknown = true;
    int failed = order(fork, PX_FAMILY_FORK, fork->source->member->pid, fds, PX_COUNT(fds));
    px_close_fds(input, 2);
    /* Only with these closed does the host notice the end of the branch. */
    px_child_close_ends(ends);
    if (failed < 0)
        return px_error_set(error, PYEXEC_INTERNAL, "the process of the session's family has ended");
    if (px_send(fork->source->channel, field, sizeof field, MSG_NOSIGNAL) != sizeof field)
        return px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the session's process has ended");
    return 0;
}

int px_branch_place(struct px_launcher *launcher, struct px_launch_zygote *request, const int *fds, size_t count,
                    pyexec_error *error)
{
    struct px_launch_event event;
    int none = -1;
    if (px_launcher_ask(launcher, request, fds, count, &event, &none, error) < 0)
        return -1;
    if (event.pid > 0)
        px_launcher_forget(launcher, event.pid);
    px_close_fd(&none);
    if (event.error.code == PYEXEC_OK)
        return 0;
    *error = event.error;
    return -1;
}

/* Writes the id map of the source, without which the kernel lets it make no user namespace. */
static int map_source(const struct fork *fork, pyexec_error *error)
{
    struct px_family_member *member = fork->source->member;
    struct px_launch_zygote request = {.op = PX_LAUNCH_PLACE, .host_pid = fork->source->host_pid, .map_ids = true};
    if (!fork->checkpoint && !member->mapped &&
        px_branch_place(fork->family->launcher, &request, &fork->source->pidfd, 1, error) < 0)
        return -1;
    member->mapped |= !fork->checkpoint;
    return 0;
}

/* Finds out the numbers of the source, at its first fork. */
static int know_source(struct fork *fork, pyexec_error *error)
{
    struct px_family_member *member = fork->source->member;
    if (!fork->source->host_pid) {
        px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE,
                     "a fork needs /proc, in which the session's process can be seen");
        return px_error_hint(error, "Mount /proc of pyexec's own PID namespace.");
    }
    if (member->pid)
        return 0;
    if (await_event(fork, PX_FAMILY_READY, error) < 0)
        return -1;
    return px_family_know(member, fork->event.pid, fork->source->host_pid, fork->source->pidfd, error);
}

/* The branch has reported itself, and the kernel holds it. */
static int take_branch(struct fork *fork, const struct px_branch *branch, pyexec_error *error)
{
    struct px_family_member *member = px_family_join(fork->source->member, fork->checkpoint);
    fork->branch->member = member;
    int pidfd = TAKE_FD(fork->event_fd);
    if (!member) {
        px_close_fd(&pidfd);
        return px_error_oom(error);
    }
    if (px_child_adopt(fork->branch, pidfd, 0, error) < 0 ||
        px_family_know(member, fork->event.pid, fork->branch->host_pid, pidfd, error) < 0)
        return -1;
    pid_t inner;
    if (!px_branch_pids(member->host_pid, &fork->branch->pid, &inner) || inner != member->pid ||
        !px_child_alive(fork->branch))
        return px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE,
                            "the process of the new session ended while it was made");
    px_family_end_births(fork->family);
    fork->unknown = false;
    if (!fork->checkpoint)
        px_family_limit_threads(member, false);
    px_family_limit_threads(fork->source->member, false);
    return px_branch_check(fork->source, fork->branch, branch, error);
}

int px_branch_move_to_cgroup(const struct px_child *branch, const struct px_clone_request *shape, pyexec_error *error)
{
    uint64_t number;
    px_auto_fd int folder = px_launcher_make_run_cgroup(branch->launcher, shape, &number, error);
    if (!number)
        return 0;
    char text[24];
    int length = snprintf(text, sizeof text, "%d", branch->host_pid);
    px_auto_fd int procs = folder < 0 ? -1 : px_openat(folder, "cgroup.procs", O_WRONLY | O_CLOEXEC, 0);
    bool moved = procs >= 0 && px_write(procs, text, (size_t)length) == length;
    int saved = errno;
    px_launcher_release_run_cgroup(branch->launcher, moved ? branch->pid : 0, number);
    if (folder < 0)
        return -1;
    return moved ? 0
                 : px_error_errno(error, PYEXEC_OVERLOADED, saved, "can't move the branch into a cgroup of its own");
}

static void await_answer(struct fork *fork)
{
    while (!fork->answered && px_child_alive(fork->source) && left_ms(fork) > 0) {
        struct pollfd polled[] = {{fork->source->channel, POLLIN, 0}, {fork->source->pidfd, POLLIN, 0}};
        if (px_poll(polled, PX_COUNT(polled), left_ms(fork)) > 0 && polled[0].revents)
            take_answer(fork);
        if (polled[0].revents & (POLLHUP | POLLERR))
            break;
    }
}

/* Ends what is left of a fork that failed. The kernel may need long for a clone, and shows the new process only at the end. A
 * source that says that its clone is over while it still clones is ended: then the kernel makes no new process any more. */
static void undo(struct fork *fork)
{
    struct px_child *source = fork->source;
    pyexec_error ignored;
    bool late = fork->strict_ms && fork->asked && !left_ms(fork);
    if (late)
        px_child_kill(source, false);
    fork->deadline = px_now_ns() + PX_SETUP_TIMEOUT_MS * PX_NS_PER_MS;
    px_family_limit_threads(source->member, false);
    bool cloned = false, over = true;
    if (fork->branch->pidfd >= 0)
        px_child_kill(fork->branch, true);
    if (fork->asked) {
        await_answer(fork);
        bool known =
            order(fork, PX_FAMILY_STOP, 0, NULL, 0) == 0 && await_event(fork, PX_FAMILY_STOPPED, &ignored) == 0;
        cloned = !known || fork->event.cloned;
        over = known && fork->answered && (!cloned || fork->event.returned);
    }
    /* While its limit was high, the source may have started any number of threads. */
    if (!over || (fork->raised && px_branch_check_source(source, true, &ignored) < 0))
        px_child_kill(source, false);
    if (fork->unknown)
        px_family_end_births(fork->family);
    if (cloned)
        px_branch_end_strangers(source);
}

int px_branch_copy_workspace(const struct px_branch *how, int from, int *ret, pyexec_error *error)
{
    struct px_clone_request request = *how->shape;
    struct px_clone_reply reply;
    struct px_cloned cloned;
    bool lost;
    request.op = PX_CLONE_WORKSPACE;
    request.workspace = PX_WORKSPACE_NEW;
    request.forkable = 0;
    if (px_zygotes_clone(how->zygotes, &request, NULL, 0, &reply, &cloned, &lost, error) < 0)
        return -1;
    *ret = cloned.workspace;
    if (*ret < 0)
        return px_error_exhausted(error, EMFILE, "can't receive the workspace");
    return px_workspace_copy(from, *ret, error);
}

/* Makes the workspace of the branch, and copies that of the source, whose process does nothing meanwhile. */
static int copy_workspace(const struct fork *fork, struct px_branch *branch, pyexec_error *error)
{
    if (fork->source->workspace < 0 || (fork->checkpoint && px_workspace_is_empty(fork->source->workspace)))
        return 0;
    if (branch->folder >= 0) {
        fork->branch->workspace = TAKE_FD(branch->folder);
        return px_workspace_copy(fork->source->workspace, fork->branch->workspace, error);
    }
    return px_branch_copy_workspace(branch, fork->source->workspace, &fork->branch->workspace, error);
}

static int attach_workspace(const struct fork *fork, const struct px_branch *branch, pyexec_error *error)
{
    struct px_launch_zygote request = {
        .op = PX_LAUNCH_PLACE, .host_pid = fork->branch->host_pid, .read_only = !branch->shape->workspace_write};
    bool of_host = branch->mount >= 0;
    const int fds[] = {fork->branch->pidfd, of_host ? branch->mount : fork->branch->workspace, fork->source->pidfd};
    if (fork->branch->workspace < 0 || fork->checkpoint)
        return 0;
    snprintf(request.path, sizeof request.path, "%s", branch->shape->workspace_path);
    return px_branch_place(fork->family->launcher, &request, fds, of_host ? 3 : 2, error);
}

int px_branch_let_run(struct px_family *family, pid_t checkpoint, pyexec_error *error)
{
    struct fork fork = {.family = family, .event_fd = -1, .deadline = px_now_ns() + PX_SETUP_TIMEOUT_MS * PX_NS_PER_MS};
    if (order(&fork, PX_FAMILY_GO, checkpoint, NULL, 0) < 0)
        return px_error_set(error, PYEXEC_INTERNAL, "the process of the session's family has ended");
    int result = await_event(&fork, PX_FAMILY_WENT, error);
    px_close_fd(&fork.event_fd);
    if (result < 0 || fork.event.went)
        return result;
    return px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE,
                        "the process of the %s ended, or ran code, while it was held",
                        checkpoint ? "checkpoint" : "new session");
}

/* A checkpoint stays held, and a branch runs. */
static int end_hold(const struct fork *fork, pyexec_error *error)
{
    if (!fork->checkpoint)
        return px_branch_let_run(fork->family, 0, error);
    return order(fork, PX_FAMILY_KEEP, 0, NULL, 0) == 0
               ? 0
               : px_error_set(error, PYEXEC_INTERNAL, "the process of the session's family has ended");
}

/* Waits until the branch has run the functions of os.register_at_fork(), which are the script's, and is ready for calls. */
static int await_locked(const struct fork *fork, pyexec_error *error)
{
    int timeout_ms = fork->strict_ms ? left_ms(fork) : PX_SETUP_TIMEOUT_MS;
    if (px_child_await_locked(fork->branch, timeout_ms, error) == 0)
        return 0;
    if (error->code != PYEXEC_SANDBOX_UNAVAILABLE)
        return -1;
    px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the process of the new session %s before it was ready",
                 px_child_alive(fork->branch) ? "hung" : "ended");
    return px_error_hint(error, "Look at the functions that the session has given to os.register_at_fork().");
}

static int fork_source(struct fork *fork, struct px_branch *branch, struct px_child_ends *ends, pyexec_error *error)
{
    if (know_source(fork, error) < 0 || px_branch_check_source(fork->source, fork->checkpoint, error) < 0 ||
        map_source(fork, error) < 0)
        return -1;
    px_child_discard_output(fork->source);
    int64_t began = px_now_ns();
    if (copy_workspace(fork, branch, error) < 0)
        return -1;
    fork->deadline = px_now_ns() + fork->timeout_ms * PX_NS_PER_MS;
    px_family_limit_threads(fork->source->member, true);
    fork->raised = true;
    int result = ask_source(fork, ends, error);
    if (result == 0)
        result = await_branch(fork, error);
    if (result == 0)
        result = take_branch(fork, branch, error);
    if (result == 0)
        result = attach_workspace(fork, branch, error);
    if (result == 0)
        result = px_branch_move_to_cgroup(fork->branch, branch->shape, error);
    if (result == 0)
        result = end_hold(fork, error);
    if (result == 0)
        await_answer(fork);
    branch->pause_ns = px_now_ns() - began;
    return result == 0 && !fork->checkpoint ? await_locked(fork, error) : result;
}

int px_branch_start(struct px_child *source, struct px_branch *branch, struct px_child *ret, pyexec_error *error)
{
    px_auto(px_child_close_ends) struct px_child_ends ends;
    struct px_family *family = source->member->family;
    struct fork fork = {.source = source,
                        .branch = ret,
                        .family = family,
                        .event_fd = -1,
                        .checkpoint = branch->checkpoint,
                        .timeout_ms = branch->timeout_ms ? branch->timeout_ms : PX_SETUP_TIMEOUT_MS,
                        .strict_ms = branch->timeout_ms};
    if (px_child_prepare(ret, source->launcher, -1, &ends, error) < 0)
        return -1;
    pthread_mutex_lock(&family->fork_lock);
    fork.deadline = px_now_ns() + fork.timeout_ms * PX_NS_PER_MS;
    int result = fork_source(&fork, branch, &ends, error);
    if (result < 0)
        undo(&fork);
    pthread_mutex_unlock(&family->fork_lock);
    px_close_fd(&fork.event_fd);
    return result;
}
