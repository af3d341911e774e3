/* SPDX-License-Identifier: Apache-2.0 */
/* A test (px_branch_become_template()) has nothing to drop: its template is a branch. It is held, and gets its own descriptors, as a
 * checkpoint does.
 *
 * The order of the steps in a branch, and without step 1 in a checkpoint, which gets no capabilities:
 *
 *   1. lock the securebits and drop the capabilities that its new user namespace gives it
 *   2. leave the source's workspace, and replace every descriptor that it shares with its source by one that leads nowhere
 *   3. report to the family's process, which gives it its own stdin, stdout, stderr and channel (launch/family_process.c). The
 *      kernel holds it there until the host has checked the first two steps from outside, and a checkpoint until its session
 *      returns to it
 *   4. only then run Python: repair the interpreter, seed the generators anew, say LOCKED. A checkpoint keeps the states of
 *      random and numpy.random: it is the session as it was
 *
 * The code of the script has had this process's memory before, so the host trusts no step that it can't see. */
#include "guest/become_branch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/branches.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/retry.h"
#include "guest/holes.h"
#include "guest/pyobject_access.h"
#include "guest/python.h"
#include "guest/reseed.h"
#include "guest/script.h"
#include "guest/thread_id.h"
#include "sandbox/limits.h"

#define CHANNEL (PX_BRANCH_FDS - 1)
#define PATHS_END 8192

static pid_t clone_process(unsigned long flags)
{
    static int unknown;
    int *thread_id = px_thread_id_address();
    unsigned long at = (unsigned long)(uintptr_t)(thread_id ? thread_id : &unknown);
#ifdef __x86_64__
    return (pid_t)syscall(SYS_clone, flags, 0UL, 0UL, at, 0UL);
#else
    return (pid_t)syscall(SYS_clone, flags, 0UL, 0UL, 0UL, at);
#endif
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct sets[2] = {{0}};
    if (prctl(PR_SET_SECUREBITS, PX_SECUREBITS_LOCKED, 0, 0, 0) < 0)
        return -1;
    return (int)syscall(SYS_capset, &header, sets);
}

/* poll() does not know O_PATH descriptors, such as those that this process has got when it became a branch itself. If it has one with
 * a number above those of any policy, the host refuses the branch. */
static bool is_open(const struct pollfd *polled)
{
    return !(polled->revents & POLLNVAL) || (polled->fd < PATHS_END && fcntl(polled->fd, F_GETFD) >= 0);
}

/* The numbers of closed descriptors would be given to the next files that are opened, and an object of the script that
 * still has an old number would then use a wrong file. So each number stays taken, by a descriptor with which nothing
 * can be done (open(2), O_PATH), until its object closes it. */
static int replace_below(int nothing, int end)
{
    enum { AT_ONCE = 256 };
    struct pollfd polled[AT_ONCE];
    for (int first = PX_BRANCH_FDS; first < end; first += AT_ONCE) {
        nfds_t count = end - first < AT_ONCE ? (nfds_t)(end - first) : AT_ONCE;
        for (nfds_t i = 0; i < count; i++)
            polled[i] = (struct pollfd){.fd = first + (int)i};
        if (px_poll(polled, count, 0) < 0)
            return -1;
        for (nfds_t i = 0; i < count; i++)
            if (is_open(&polled[i]) && dup3(nothing, polled[i].fd, O_CLOEXEC) < 0)
                return -1;
    }
    return 0;
}

static int replace_descriptors(void)
{
    struct rlimit limit, most;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -1;
    most = (struct rlimit){limit.rlim_max, limit.rlim_max};
    close(CHANNEL);
    int nothing = px_open("/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (nothing < 0 || nothing > CHANNEL || setrlimit(RLIMIT_NOFILE, &most) < 0 ||
        replace_below(nothing, limit.rlim_max > 1 << 20 ? 1 << 20 : (int)limit.rlim_max) < 0)
        return -1;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

static int report(pid_t number, pid_t template)
{
    long reported;
    do
        reported = syscall(SYS_getpgid, number, template);
    while (reported < 0 && errno == EINTR);
    return (int)reported;
}

/* `random` seeds itself anew after every fork. */
static int become_copy(struct px_wire_writer *writer, bool checkpoint, PyObject *random, const sigset_t *signals)
{
    px_thread_id_in_copy();
    if ((!checkpoint && drop_capabilities() < 0) || chdir("/") < 0 || replace_descriptors() < 0 ||
        report(PX_BRANCH_ARRIVES, 0) < 0)
        return -1;
    sigprocmask(SIG_SETMASK, signals, NULL);
    PyOS_AfterFork_Child();
    px_script_forked(!checkpoint);
    if (checkpoint)
        px_reseed_restore_random(random);
    uint64_t now[2] = {(uint64_t)px_clock_ns(CLOCK_PROCESS_CPUTIME_ID), (uint64_t)px_clock_ns(CLOCK_REALTIME)};
    return px_wire_put(writer, PX_RESULT_LOCKED, now, sizeof now) < 0 ? -1 : px_wire_flush(writer);
}

/* All signals are blocked, so that none of the script's begins the clone again. */
static pid_t clone_tests(void)
{
    pid_t pid;
    do
        pid = clone_process(PX_CHECKPOINT_FLAGS);
    while (pid > 0);
    return pid;
}

static int take_order(const struct px_wire_writer *writer)
{
    char message[PX_FIELD_HEADER + 1];
    return px_recv(writer->socket, message, sizeof message, MSG_DONTWAIT) == PX_FIELD_HEADER ? 0 : -1;
}

int px_branch_become_template(struct px_wire_writer *writer)
{
    if (take_order(writer) < 0)
        return -1;
    pid_t own = getpid();
    px_holes_fill();
    PyOS_BeforeFork();
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    if (clone_tests() == 0) {
        px_thread_id_in_copy();
        if (report(PX_TEST_ARRIVES, own) < 0)
            return -1;
        sigprocmask(SIG_SETMASK, &before, NULL);
        PyOS_AfterFork_Child();
        px_script_forked(true);
        return 0;
    }
    int32_t failed = errno;
    if (px_wire_put(writer, PX_RESULT_FORK_ERRNO, &failed, sizeof failed) == 0 &&
        px_wire_put(writer, PX_RESULT_READY, NULL, 0) == 0)
        (void)!px_wire_flush(writer);
    return -1;
}

int px_branch_make(struct px_wire_writer *writer, bool checkpoint)
{
    if (take_order(writer) < 0)
        return -1;
    px_auto_object PyObject *random = checkpoint ? px_reseed_keep_random() : NULL;
    PyOS_BeforeFork();
    /* A signal of the script, such as that of a timer, would make the kernel begin the clone again, which is allowed once. */
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = clone_process(checkpoint ? PX_CHECKPOINT_FLAGS : PX_BRANCH_FLAGS);
    int32_t failed = pid < 0 ? errno : 0;
    if (pid == 0)
        return become_copy(writer, checkpoint, random, &before);
    (void)syscall(SYS_getpgid, PX_BRANCH_ARRIVES);
    sigprocmask(SIG_SETMASK, &before, NULL);
    PyOS_AfterFork_Parent();
    if (px_wire_put(writer, PX_RESULT_FORK_ERRNO, &failed, sizeof failed) < 0 ||
        px_wire_put(writer, PX_RESULT_READY, NULL, 0) < 0)
        return -1;
    return px_wire_flush(writer);
}
