/* SPDX-License-Identifier: Apache-2.0 */
/* PID 1 of the outer PID namespace, and the real parent of the children (zygotes clone them with CLONE_PARENT). It
 * starts zygotes, waits for every process below it and reports the facts to the host. It trusts the host and reads
 * nothing from zygotes or children. It waits only in poll(), and nothing else may block it. When it ends, all runs
 * end, so it does as little as possible. */
#include "launch/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"
#include "launch/family_process.h"
#include "launch/place.h"
#include "launch/reaper.h"
#include "launch/zygote_exec.h"
#include "protocol/launch.h"
#include "sandbox/namespaces.h"

static void tell(const struct px_supervisor *supervisor, struct px_launch_event *event, int pidfd)
{
    event->magic = PX_LAUNCH_MAGIC;
    if (px_send_fds(supervisor->host, event, sizeof *event, &pidfd, pidfd < 0 ? 0 : 1) < 0)
        _exit(EXIT_SUCCESS);
}

static void tell_exit(void *data, const siginfo_t *info, const struct rusage *usage)
{
    struct px_launch_event event = {
        .type = PX_EVENT_EXIT,
        .pid = info->si_pid,
        .code = info->si_code,
        .status = info->si_status,
        .user_us = (uint64_t)usage->ru_utime.tv_sec * 1000000 + (uint64_t)usage->ru_utime.tv_usec,
        .system_us = (uint64_t)usage->ru_stime.tv_sec * 1000000 + (uint64_t)usage->ru_stime.tv_usec,
        .peak_bytes = (uint64_t)usage->ru_maxrss * 1024,
    };
    tell(data, &event, -1);
}

static void start_zygote(const struct px_supervisor *supervisor, const struct px_launch_zygote *request, const int *fds)
{
    struct px_launch_event event = {.token = request->token};
    px_auto_fd int pidfd = -1;
    event.pid = px_zygote_exec(supervisor, request, fds[0], fds[1], &event.missing, &pidfd, &event.error);
    event.type = event.pid < 0 ? PX_EVENT_ZYGOTE_FAILED : PX_EVENT_ZYGOTE_STARTED;
    tell(supervisor, &event, pidfd);
}

static void start_family(const struct px_supervisor *supervisor, const struct px_launch_zygote *request, const int *fds)
{
    struct px_launch_event event = {.type = PX_EVENT_FAMILY_STARTED, .token = request->token};
    px_auto_fd int pidfd = -1;
    event.pid = px_clone3(CLONE_NEWPID, SIGCHLD, &pidfd);
    if (event.pid == 0)
        px_family_run(fds[0], fds[1]);
    if (event.pid < 0)
        px_error_exhausted(&event.error, errno, "can't start the process of a family");
    tell(supervisor, &event, pidfd);
}

/* Does the work in a new process, because it changes the namespaces of its process. The new process sends the answer, and ends. That
 * of PX_LAUNCH_SWAP goes on after its answer. */
static void place(const struct px_supervisor *supervisor, const struct px_launch_zygote *request, const int *fds)
{
    struct px_launch_event event = {.type = PX_EVENT_PLACED, .token = request->token};
    bool stays = request->op == PX_LAUNCH_SWAP;
    pid_t pid = px_clone3(0, SIGCHLD, NULL);
    if (pid > 0)
        return;
    if (pid == 0) {
        event.pid = getpid();
        if (stays)
            px_place_enter_mounts(request, fds[0], &event.error);
        else
            px_place(request, fds, &event.error);
    } else {
        px_error_exhausted(&event.error, errno, "can't start a process");
    }
    tell(supervisor, &event, -1);
    if (pid == 0 && stays && event.error.code == PYEXEC_OK)
        px_place_swap(request, fds[1]);
    if (pid == 0)
        _exit(EXIT_SUCCESS);
}

static void take_request(struct px_supervisor *supervisor)
{
    static struct px_launch_zygote request;
    int fds[3] = {-1, -1, -1};
    size_t count;
    ssize_t n = px_receive_fds(supervisor->host, &request, sizeof request, fds, PX_COUNT(fds), &count);
    if (n <= 0)
        _exit(EXIT_SUCCESS);
    bool whole = (size_t)n == sizeof request && request.magic == PX_LAUNCH_MAGIC;
    if (whole && request.op == PX_LAUNCH_ZYGOTE && count == 2)
        start_zygote(supervisor, &request, fds);
    else if (whole && request.op == PX_LAUNCH_FAMILY && count == 2)
        start_family(supervisor, &request, fds);
    else if (whole && ((request.op == PX_LAUNCH_PLACE && count > 0) || (request.op == PX_LAUNCH_SWAP && count == 2)))
        place(supervisor, &request, fds);
    px_close_fds(fds, PX_COUNT(fds));
}

void px_supervisor_run(struct px_supervisor *supervisor)
{
    sigset_t set;
    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    int children = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    /* The children of an ended zygote become children of this process, even without a PID namespace. */
    if (children < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        _exit(EXIT_FAILURE);
    struct px_reaper reaper = {.reaped = tell_exit, .data = supervisor};
    for (;;) {
        struct pollfd polled[] = {
            {supervisor->host, POLLIN, 0}, {children, POLLIN, 0}, {supervisor->host_process, POLLIN, 0}};
        if (px_poll(polled, PX_COUNT(polled), px_reaper_timeout(&reaper)) < 0)
            _exit(EXIT_FAILURE);
        if (polled[2].revents)
            _exit(EXIT_SUCCESS);
        if (polled[1].revents) {
            struct signalfd_siginfo child;
            while (px_read(children, &child, sizeof child) == sizeof child)
                px_reaper_signalled(&reaper, (pid_t)child.ssi_pid);
        }
        px_reaper_pass(&reaper);
        if (polled[0].revents)
            take_request(supervisor);
    }
}
