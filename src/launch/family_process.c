/* SPDX-License-Identifier: Apache-2.0 */
/* A question is a system call that the kernel holds until it is answered (seccomp_unotify(2)). This process sees the
 * number and the arguments of the call, and the caller's thread id in the family's PID namespace. It does not see the
 * caller's memory.
 *
 * Why a process for each family, and not the supervisor or the host: a script can ask as often as it likes, and then only
 * its own family waits; ids are those that the callers know; and this process must exist anyway, because PID 1 can't
 * clone a branch, and its end would be the end of all others.
 *
 * It trusts the host. It has no capability, and nothing that it holds leads outside. */
#include "launch/family_process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/branches.h"
#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"
#include "launch/family_private.h"
#include "protocol/launch.h"
#include "sandbox/limits.h"

#define FAMILY_CONTROL_FD 3
#define FAMILY_HANDOVER_FD 4
#define REAL_TIME_SIGNALS 32 /* SIGRTMIN of the kernel */

static void tell(const struct family *family, enum px_family_event_type type, pid_t pid, int pidfd)
{
    struct px_family_event event = {.magic = PX_LAUNCH_MAGIC,
                                    .type = type,
                                    .pid = pid,
                                    .cloned = family->cloned,
                                    .returned = family->returned,
                                    .went = family->went};
    if (px_send_fds(family->control, &event, sizeof event, &pidfd, pidfd < 0 ? 0 : 1) < 0)
        _exit(EXIT_SUCCESS);
}

/* True if the thread belongs to the process. The process may have another user id, then the kernel answers EPERM. */
bool px_family_is_thread_of(pid_t process, pid_t thread)
{
    return process > 0 && thread > 0 && (syscall(SYS_tgkill, process, thread, 0) == 0 || errno == EPERM);
}

bool px_family_has_ended(int pidfd)
{
    struct pollfd polled = {pidfd, POLLIN, 0};
    return px_poll(&polled, 1, 0) != 0;
}

bool px_family_is_member(const struct family *family, pid_t pid)
{
    if (px_family_is_test(family, pid))
        return true;
    for (size_t i = 0; i < family->count; i++)
        if (family->members[i].pid == pid && !px_family_has_ended(family->members[i].pidfd))
            return true;
    return false;
}

static void forget_ended(struct family *family)
{
    size_t kept = 0;
    for (size_t i = 0; i < family->count; i++)
        if (px_family_has_ended(family->members[i].pidfd))
            close(family->members[i].pidfd);
        else
            family->members[kept++] = family->members[i];
    family->count = kept;
}

/* Those that have ended are looked for after some have been added, because each costs a system call. */
static int add_member(struct family *family, pid_t pid)
{
    if (family->count >= family->full || family->count == FAMILY_MEMBERS_MAX) {
        forget_ended(family);
        family->full = family->count + family->count / 8 + 16;
    }
    int pidfd = family->count < FAMILY_MEMBERS_MAX ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (pidfd < 0)
        return -1;
    family->members[family->count++] = (struct member){pid, pidfd, 0};
    return pidfd;
}

/* Returns true if the kernel took the answer: the caller still waited. */
bool px_family_answer(const struct family *family, uint64_t id, bool pass, int error)
{
    struct seccomp_notif_resp response = {
        .id = id, .error = pass ? 0 : -error, .flags = pass ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0};
    return ioctl(family->listener, SECCOMP_IOCTL_NOTIF_SEND, &response) == 0;
}

/* Gives the held branch its descriptors, at numbers 0 to 3, where they replace those of its source. */
bool px_family_give(const struct family *family, uint64_t id, const int fds[PX_BRANCH_FDS])
{
    for (int number = 0; number < PX_BRANCH_FDS; number++) {
        struct seccomp_notif_addfd add = {.id = id,
                                          .flags = SECCOMP_ADDFD_FLAG_SETFD,
                                          .srcfd = (uint32_t)fds[number],
                                          .newfd = (uint32_t)number,
                                          .newfd_flags = number == PX_BRANCH_FDS - 1 ? O_CLOEXEC : 0};
        if (fds[number] < 0 || ioctl(family->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0)
            return false;
    }
    return true;
}

/* A thread says that it is the new branch. It is, if it is the first thread of a process that was not there before: of others
 * pidfd_open(2) gives none. */
static void take_arrival(struct family *family, const struct seccomp_notif *question)
{
    pid_t pid = (pid_t)question->pid;
    int pidfd = -1;
    if (family->source && family->cloned && !family->arrived && pid != family->source &&
        !px_family_is_member(family, pid))
        pidfd = add_member(family, pid);
    if (pidfd < 0 || !px_family_give(family, question->id, family->fds)) {
        px_family_answer(family, question->id, false, EPERM);
        return;
    }
    px_close_fds(family->fds, PX_BRANCH_FDS);
    family->arrived = true;
    family->new = pid;
    family->held = question->id;
    tell(family, PX_FAMILY_ARRIVED, pid, pidfd);
}

/* Real-time signals can be queued in any number, and the kernel counts them for a process and its branches together. */
static bool queues_signals(const struct seccomp_notif *question)
{
    const int nr = question->data.nr;
    bool sends = nr == SYS_kill || nr == SYS_tkill || nr == SYS_tgkill;
    return sends && (uint32_t)question->data.args[nr == SYS_tgkill ? 2 : 1] >= REAL_TIME_SIGNALS;
}

/* True if the argument names the caller. */
static bool names_caller(const struct seccomp_notif *question)
{
    bool second = question->data.nr == SYS_getpriority;
    pid_t named = (pid_t)question->data.args[second ? 1 : 0], caller = (pid_t)question->pid;
    return named == caller || (question->data.nr != SYS_tkill && px_family_is_thread_of(named, caller));
}

/* A clone that was withdrawn by a signal comes again, so only an answer that the kernel took counts. */
static void take_clone(struct family *family, const struct seccomp_notif *question)
{
    unsigned long long flags = family->checkpoint ? PX_CHECKPOINT_FLAGS : PX_BRANCH_FLAGS;
    bool pass =
        family->source && !family->cloned && (pid_t)question->pid == family->source && question->data.args[0] == flags;
    if (px_family_answer(family, question->id, pass, EPERM) && pass)
        family->cloned = true;
}

static void take_question(struct family *family)
{
    struct seccomp_notif question;
    memset(&question, 0, sizeof question);
    if (ioctl(family->listener, SECCOMP_IOCTL_NOTIF_RECV, &question) < 0)
        return; /* it was withdrawn */
    if (family->cloned && (pid_t)question.pid == family->source)
        family->returned = true;
    if (px_family_take_of_template(family, &question))
        return;
    if (question.data.nr == SYS_clone)
        take_clone(family, &question);
    else if (question.data.nr == SYS_getpgid && (pid_t)question.data.args[0] == PX_BRANCH_ARRIVES)
        take_arrival(family, &question);
    else
        px_family_answer(family, question.id, names_caller(&question) && !queues_signals(&question), EPERM);
}

static void end_fork(struct family *family)
{
    if (family->held)
        px_family_answer(family, family->held, false, EPERM);
    px_close_fds(family->fds, PX_BRANCH_FDS);
    family->source = 0;
    family->held = 0;
}

/* The process that has arrived stays in its question. */
static void keep(struct family *family)
{
    for (size_t i = 0; i < family->count && family->held; i++)
        if (family->members[i].pid == family->new && !px_family_has_ended(family->members[i].pidfd)) {
            family->members[i].held = family->held;
            family->held = 0;
        }
    end_fork(family);
}

/* The call that reported the new process returns 0. Before Linux 5.19 a handler of a signal can run in the middle of that
 * call. Then the kernel does not take this answer, and what the host has seen of the process may not be true. */
static void let_run(struct family *family, pid_t checkpoint)
{
    uint64_t *held = checkpoint ? NULL : &family->held;
    for (size_t i = 0; i < family->count && !held; i++)
        if (family->members[i].pid == checkpoint && !px_family_has_ended(family->members[i].pidfd))
            held = &family->members[i].held;
    family->went = held && *held && px_family_answer(family, *held, false, 0);
    if (held)
        *held = 0;
    tell(family, PX_FAMILY_WENT, checkpoint, -1);
}

/* Returns false when there is no order. */
static bool take_order(struct family *family)
{
    struct px_family_order order;
    int fds[PX_BRANCH_FDS] = {-1, -1, -1, -1};
    size_t count = 0;
    struct pollfd polled = {family->control, POLLIN, 0};
    if (px_poll(&polled, 1, 0) <= 0)
        return false;
    ssize_t n = px_receive_fds(family->control, &order, sizeof order, fds, PX_BRANCH_FDS, &count);
    if (n != sizeof order || order.magic != PX_LAUNCH_MAGIC)
        _exit(EXIT_SUCCESS); /* the host has closed its end: the family is over */
    switch (order.op) {
    case PX_FAMILY_FORK:
        end_fork(family);
        memcpy(family->fds, fds, sizeof fds);
        family->source = order.pid;
        family->checkpoint = order.checkpoint;
        family->cloned = family->returned = family->arrived = family->went = false;
        return true;
    case PX_FAMILY_GO:
        let_run(family, order.pid);
        break;
    case PX_FAMILY_KEEP:
        keep(family);
        break;
    case PX_FAMILY_TEMPLATE:
        px_family_add_template(family, order.pid, TAKE_FD(fds[0]));
        break;
    case PX_FAMILY_STOP:
        end_fork(family);
        tell(family, PX_FAMILY_STOPPED, 0, -1);
        break;
    default:
        break;
    }
    px_close_fds(fds, PX_BRANCH_FDS);
    return true;
}

/* The listener comes from the first process of the family, before that has read a byte of the caller. The kernel says
 * which process has sent it. */
static void take_listener(struct family *family)
{
    char byte;
    struct iovec part = {&byte, 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct ucred sender = {0};
    if (px_recvmsg(family->handover, &message, MSG_CMSG_CLOEXEC) != 1)
        _exit(EXIT_FAILURE);
    for (struct cmsghdr *at = CMSG_FIRSTHDR(&message); at; at = CMSG_NXTHDR(&message, at))
        if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SCM_RIGHTS)
            memcpy(&family->listener, CMSG_DATA(at), sizeof family->listener);
        else if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SCM_CREDENTIALS)
            memcpy(&sender, CMSG_DATA(at), sizeof sender);
    px_close_fd(&family->handover);
    if (family->listener < 0 || add_member(family, sender.pid) < 0)
        _exit(EXIT_FAILURE);
    tell(family, PX_FAMILY_READY, sender.pid, -1);
}

static void be_alone(int control, int handover)
{
    int control_high = fcntl(control, F_DUPFD, 64), handover_high = fcntl(handover, F_DUPFD, 64);
    if (control_high < 0 || handover_high < 0 || dup2(control_high, FAMILY_CONTROL_FD) < 0 ||
        dup2(handover_high, FAMILY_HANDOVER_FD) < 0 || syscall(SYS_close_range, FAMILY_HANDOVER_FD + 1, ~0U, 0) < 0)
        _exit(EXIT_FAILURE);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    int on = 1;
    if (setsid() < 0 || setsockopt(FAMILY_HANDOVER_FD, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0 ||
        px_privileges_drop() < 0)
        _exit(EXIT_FAILURE);
    /* Nobody else can open it, because this process is not dumpable. */
    px_auto_fd int namespace = px_open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC, 0);
    tell(&(struct family){.control = FAMILY_CONTROL_FD}, PX_FAMILY_STARTED, 0, namespace);
}

void px_family_run(int control, int handover)
{
    be_alone(control, handover);
    struct family family = {
        .control = FAMILY_CONTROL_FD, .handover = FAMILY_HANDOVER_FD, .listener = -1, .fds = {-1, -1, -1, -1}};
    family.members = calloc(FAMILY_MEMBERS_MAX, sizeof *family.members);
    if (!family.members)
        _exit(EXIT_FAILURE);
    for (;;) {
        struct pollfd polled[3 + FAMILY_TEMPLATES_MAX] = {
            {family.control, POLLIN, 0}, {family.handover, POLLIN, 0}, {family.listener, POLLIN, 0}};
        size_t templates = px_family_poll_templates(&family, polled + 3);
        if (px_poll(polled, 3 + templates, -1) < 0)
            _exit(EXIT_FAILURE);
        /* The host sends its order before the source can ask, so orders come first. */
        while (take_order(&family))
            ;
        px_family_serve_templates(&family, polled + 3, templates);
        if (polled[1].revents)
            take_listener(&family);
        else if (polled[2].revents & POLLIN)
            take_question(&family);
        else if (polled[2].revents)
            px_close_fd(&family.listener); /* no process of the family lives any more */
    }
}
