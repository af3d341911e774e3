/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/family.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"

#define FAMILY_START_MS 10000

static void end_family(struct px_family *family)
{
    /* The process ends when its socket does; the signal is for the case that another process has a copy of the socket. */
    if (family->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, family->pidfd, SIGKILL, NULL, 0);
    if (family->pid > 0)
        px_launcher_forget(family->launcher, family->pid);
    px_close_fd(&family->control);
    px_close_fd(&family->pidfd);
    pthread_mutex_destroy(&family->fork_lock);
    pthread_mutex_destroy(&family->lock);
    pthread_rwlock_destroy(&family->births);
    pthread_mutex_destroy(&family->gate);
    free(family);
}

static struct px_family_member *new_member(struct px_family *family, struct px_family_member *source)
{
    struct px_family_member *member = calloc(1, sizeof *member);
    if (!member)
        return NULL;
    member->family = family;
    member->pidfd = -1;
    member->source = source;
    member->next = family->members;
    family->members = member;
    return member;
}

/* Waits for the first message of the family's process, which brings its PID namespace. An ordinary user can't see later in which
 * namespace that process is, because it is not dumpable. */
static int await_namespace(struct px_family *family, pyexec_error *error)
{
    struct stat status;
    struct px_family_event event;
    struct pollfd polled = {family->control, POLLIN, 0};
    int fd = -1;
    ssize_t n = px_poll(&polled, 1, FAMILY_START_MS) > 0
                    ? px_receive_fds(family->control, &event, sizeof event, &fd, 1, &(size_t){0})
                    : -1;
    if (n != sizeof event || event.magic != PX_LAUNCH_MAGIC || event.type != PX_FAMILY_STARTED ||
        fstat(fd, &status) < 0)
        px_close_fd(&fd);
    if (fd >= 0) {
        family->namespace_device = status.st_dev;
        family->namespace_inode = status.st_ino;
    }
    return fd >= 0
               ? fd
               : px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "the process of a session's family does not start");
}

static int start_process(struct px_family *family, int ret_fds[2], pyexec_error *error)
{
    struct px_launch_zygote request = {.op = PX_LAUNCH_FAMILY};
    struct px_launch_event event;
    int control[2] = {-1, -1}, handover[2] = {-1, -1}, result = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, handover) < 0) {
        px_error_exhausted(error, errno, "can't make a socket");
    } else {
        int fds[2] = {control[1], handover[1]};
        result = px_launcher_ask(family->launcher, &request, fds, 2, &event, &family->pidfd, error);
    }
    px_close_fd(&control[1]);
    px_close_fd(&handover[1]);
    if (result == 0 && event.pid > 0) {
        family->pid = event.pid;
        family->control = TAKE_FD(control[0]);
        ret_fds[1] = TAKE_FD(handover[0]);
        if (family->pidfd < 0)
            result = px_error_exhausted(error, EMFILE, "can't receive a descriptor");
        else
            result = (ret_fds[0] = await_namespace(family, error)) < 0 ? -1 : 0;
    } else if (result == 0) {
        *error = event.error;
        result = -1;
    }
    px_close_fd(&control[0]);
    px_close_fd(&handover[0]);
    return result;
}

/* Many tests are born one after another, and who waits for a moment without births must get it. A lock may prefer its readers
 * (pthread_rwlockattr_setkind_np(3)), so the readers come through a gate, which the writer holds while it waits. */
void px_family_begin_birth(struct px_family *family)
{
    pthread_mutex_lock(&family->gate);
    pthread_rwlock_rdlock(&family->births);
    pthread_mutex_unlock(&family->gate);
}

void px_family_hold_births(struct px_family *family)
{
    pthread_mutex_lock(&family->gate);
    pthread_rwlock_wrlock(&family->births);
    pthread_mutex_unlock(&family->gate);
}

void px_family_end_births(struct px_family *family)
{
    pthread_rwlock_unlock(&family->births);
}

int px_family_found(struct px_launcher *launcher, uint64_t threads, struct px_family_member **ret, int ret_fds[2],
                    pyexec_error *error)
{
    struct px_family *family = calloc(1, sizeof *family);
    if (!family)
        return px_error_oom(error);
    family->launcher = launcher;
    family->control = family->pidfd = -1;
    pthread_mutex_init(&family->fork_lock, NULL);
    pthread_mutex_init(&family->lock, NULL);
    pthread_rwlock_init(&family->births, NULL);
    pthread_mutex_init(&family->gate, NULL);
    struct px_family_member *member = new_member(family, NULL);
    if (!member || start_process(family, ret_fds, error) < 0) {
        free(member);
        end_family(family);
        return member ? -1 : px_error_oom(error);
    }
    member->threads = threads == UINT64_MAX ? threads : threads + 1;
    *ret = member;
    return 0;
}

/* The caller holds the lock. */
static void limit_threads(const struct px_family_member *member)
{
    struct rlimit limit;
    struct pollfd polled = {member->pidfd, POLLIN, 0};
    if (member->threads == UINT64_MAX || member->pidfd < 0 || px_poll(&polled, 1, 0) != 0 ||
        prlimit(member->host_pid, RLIMIT_NPROC, NULL, &limit) < 0)
        return;
    uint64_t wanted = member->threads * (member->branches + 1) + member->checkpoints;
    limit.rlim_cur = member->forking || wanted > limit.rlim_max ? limit.rlim_max : wanted;
    (void)!prlimit(member->host_pid, RLIMIT_NPROC, &limit, NULL);
}

/* The caller holds the lock. Counts a branch or a checkpoint that begins (1) or ends (-1) for all that are above it. */
static void count_above(const struct px_family_member *member, int change)
{
    for (struct px_family_member *above = member->source; above; above = above->source) {
        *(member->checkpoint ? &above->checkpoints : &above->branches) += (uint64_t)(int64_t)change;
        limit_threads(above);
    }
}

struct px_family_member *px_family_join(struct px_family_member *source, bool checkpoint)
{
    struct px_family *family = source->family;
    pthread_mutex_lock(&family->lock);
    struct px_family_member *member = new_member(family, source);
    if (member) {
        member->threads = source->threads;
        member->depth = source->depth + !checkpoint;
        member->mapped = checkpoint && source->mapped;
        member->checkpoint = checkpoint;
        count_above(member, 1);
    }
    pthread_mutex_unlock(&family->lock);
    return member;
}

struct px_family_member *px_family_join_tests(struct px_family_member *template)
{
    return px_family_join(template, true);
}

void px_family_set_test(struct px_family_member *tests, pid_t pid, pid_t host_pid)
{
    pthread_mutex_lock(&tests->family->lock);
    tests->pid = pid;
    tests->host_pid = host_pid;
    pthread_mutex_unlock(&tests->family->lock);
}

void px_family_replace(struct px_family_member *source, struct px_family_member *checkpoint)
{
    struct px_family *family = source->family;
    pthread_mutex_lock(&family->lock);
    count_above(checkpoint, -1);
    for (struct px_family_member *one = family->members; one; one = one->next)
        if (one->source == source && one != checkpoint)
            one->source = checkpoint;
    checkpoint->checkpoint = false;
    checkpoint->source = source->source;
    checkpoint->branches = source->branches;
    checkpoint->checkpoints = source->checkpoints;
    checkpoint->mapped = source->mapped;
    source->source = NULL; /* it is counted nowhere any more */
    limit_threads(checkpoint);
    pthread_mutex_unlock(&family->lock);
}

void px_family_leave(struct px_family_member **leaving)
{
    struct px_family_member *member = *leaving;
    *leaving = NULL;
    if (!member)
        return;
    struct px_family *family = member->family;
    pthread_mutex_lock(&family->lock);
    struct px_family_member **at = &family->members;
    while (*at != member)
        at = &(*at)->next;
    *at = member->next;
    for (struct px_family_member *one = family->members; one; one = one->next)
        if (one->source == member)
            one->source = member->source;
    count_above(member, -1);
    bool last = !family->members;
    pthread_mutex_unlock(&family->lock);
    px_close_fd(&member->pidfd);
    free(member);
    if (last)
        end_family(family);
}

int px_family_know(struct px_family_member *member, pid_t pid, pid_t host_pid, int pidfd, pyexec_error *error)
{
    int own = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
    if (own < 0)
        return px_error_exhausted(error, errno, "can't duplicate a descriptor");
    pthread_mutex_lock(&member->family->lock);
    member->pidfd = own;
    member->pid = pid;
    member->host_pid = host_pid;
    pthread_mutex_unlock(&member->family->lock);
    return 0;
}

void px_family_limit_threads(struct px_family_member *member, bool forking)
{
    pthread_mutex_lock(&member->family->lock);
    member->forking = forking;
    limit_threads(member);
    pthread_mutex_unlock(&member->family->lock);
}
