/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a test, as the host takes them:
 *
 *   1. make its workspace, with a copy of the template's files, if there are any, and wait until that of the test before is gone
 *   2. give its descriptors to the family's process, and let the template's next clone pass
 *   3. wait until the test has arrived and the template is held in its clone after that (launch/family_templates.c)
 *   4. attach the copy in the mount namespace of both, and look at the test from outside: what the two could share (branch_check.c)
 *   5. let it run
 *   6. kill it, and wait until the supervisor has seen its end. So the kernel counts its threads no more
 *   7. take its workspace away
 *
 * What the script could have changed in the memory of the template is trusted as little as in a branch. */
#include "runner/template.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
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

#define TEST_END_MS 5000
#define SWAP_ENDED "the process that attaches the workspaces of the tests has ended"

static int send_order(int socket, enum px_family_op op, pid_t pid, const int *fds, size_t count, pyexec_error *error)
{
    struct px_family_order order = {.magic = PX_LAUNCH_MAGIC, .op = op, .pid = pid};
    if (px_send_fds(socket, &order, sizeof order, fds, count) == 0)
        return 0;
    return px_error_set(error, PYEXEC_INTERNAL, "the process of the session's family has ended");
}

static int become_template(struct px_template *template, pyexec_error *error)
{
    char field[PX_FIELD_HEADER] = {0};
    const uint16_t kind = PX_RUN_TEMPLATE;
    struct px_family_member *member = template->child.member;
    int pair[2];
    memcpy(field, &kind, sizeof kind);
    if (px_branch_user_namespace(&template->child, &template->user_namespace) < 0)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't see the process of the tests");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return px_error_exhausted(error, errno, "can't make a socket");
    template->control = pair[0];
    px_auto_fd int theirs = pair[1];
    if (!(template->tests = px_family_join_tests(member)))
        return px_error_oom(error);
    if (send_order(member->family->control, PX_FAMILY_TEMPLATE, member->pid, &theirs, 1, error) < 0)
        return -1;
    if (px_send(template->child.channel, field, sizeof field, MSG_NOSIGNAL) != sizeof field)
        return px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the session's process has ended");
    return 0;
}

/* Starts the process that attaches the workspaces of the tests. */
static int start_swap(struct px_template *template, pyexec_error *error)
{
    const struct px_clone_request *shape = template->how.shape;
    struct px_launch_zygote request = {
        .op = PX_LAUNCH_SWAP, .host_pid = template->child.host_pid, .read_only = !shape->workspace_write};
    int pair[2];
    if (template->child.workspace < 0)
        return 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return px_error_exhausted(error, errno, "can't make a socket");
    template->swap = pair[0];
    px_auto_fd int theirs = pair[1];
    snprintf(request.path, sizeof request.path, "%s", shape->workspace_path);
    const int fds[] = {template->child.pidfd, theirs};
    return px_branch_place(template->child.launcher, &request, fds, PX_COUNT(fds), error);
}

int px_template_open(struct px_child *source, struct px_branch *how, struct px_template *ret, pyexec_error *error)
{
    *ret = (struct px_template){.control = -1, .swap = -1, .how = *how};
    if (px_branch_start(source, how, &ret->child, error) < 0 || start_swap(ret, error) < 0)
        return -1;
    return become_template(ret, error);
}

void px_template_close(struct px_template *template)
{
    px_close_fd(&template->control);
    px_close_fd(&template->swap);
    px_child_done(&template->child);
    px_family_leave(&template->tests);
}

/* Why the template made no test. What it says itself is used only for the message. */
static int no_test(const struct px_template *template, bool late, pyexec_error *error)
{
    px_auto_free char *packet = malloc(PX_PACKET_MAX);
    pyexec_result *result = packet ? px_result_new() : NULL;
    const char *why;
    int failed = 0;
    if (result)
        result->claims.locked = true;
    ssize_t n = result ? px_receive_packet(template->child.channel, packet, PX_PACKET_MAX, MSG_DONTWAIT) : -1;
    if (n > 0)
        px_child_result_parse(&result->claims, packet, (size_t)n, &why);
    if (n > 0 && result->claims.ready)
        failed = result->claims.fork_errno;
    pyexec_result_free(result);
    if (px_errno_exhausted(failed))
        return px_error_exhausted(error, failed, "can't clone a process for the test");
    if (late)
        return px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the solution's process does not fork within %d ms",
                            template->how.timeout_ms);
    return px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the solution's process ended while it was forked");
}

static int await_test(const struct px_template *template, struct px_family_event *ret, int *ret_pidfd, bool *ret_late,
                      pyexec_error *error)
{
    int64_t deadline = px_now_ns() + template->how.timeout_ms * PX_NS_PER_MS;
    struct pollfd polled[] = {{template->control, POLLIN, 0}, {template->child.pidfd, POLLIN, 0}};
    int left_ms = template->how.timeout_ms, ready;
    while ((ready = px_poll(polled, PX_COUNT(polled), left_ms)) > 0) {
        if (!polled[0].revents)
            return no_test(template, false, error);
        px_close_fd(ret_pidfd);
        if (px_receive_fds(template->control, ret, sizeof *ret, ret_pidfd, 1, &(size_t){0}) != sizeof *ret ||
            ret->magic != PX_LAUNCH_MAGIC)
            return px_error_set(error, PYEXEC_INTERNAL, "the process of the session's family has ended");
        if (ret->type == PX_FAMILY_ARRIVED)
            return 0;
        int64_t left = (deadline - px_now_ns()) / PX_NS_PER_MS;
        left_ms = left > 0 ? (int)left : 0;
    }
    *ret_late = ready == 0;
    return no_test(template, *ret_late, error);
}

/* Each test has a descriptor of its own for /dev/null, which is what a call without input gets. So the guest need not make a stdin. */
static int order_test(const struct px_template *template, struct px_child_ends *ends, pyexec_error *error)
{
    px_auto_fd int input = px_open("/dev/null", O_RDONLY | O_CLOEXEC, 0);
    if (input < 0)
        return px_error_exhausted(error, errno, "can't open /dev/null");
    const int fds[] = {input, ends->output, ends->error_output, ends->channel};
    int result = send_order(template->control, PX_FAMILY_FORK, 0, fds, PX_COUNT(fds), error);
    /* Only with these closed does the host notice the end of the test. */
    px_child_close_ends(ends);
    return result;
}

/* Has the workspace attached, or the last one taken away (-1). Nothing else is mounted there meanwhile but the template's own. */
static int order_swap(struct px_template *template, int workspace, pyexec_error *error)
{
    struct px_launch_swap order = {.magic = PX_LAUNCH_MAGIC, .attach = workspace >= 0};
    if (template->swap < 0)
        return 0;
    if (px_send_fds(template->swap, &order, sizeof order, &workspace, order.attach) < 0)
        return px_error_set(error, PYEXEC_INTERNAL, SWAP_ENDED);
    template->swaps = true;
    return 0;
}

/* Waits until that is done. In umount2(2) the kernel waits until all CPUs have passed a certain point, so the caller does something
 * else meanwhile. */
static int await_swap(struct px_template *template, pyexec_error *error)
{
    struct pollfd polled = {template->swap, POLLIN, 0};
    int32_t failed;
    if (!template->swaps)
        return 0;
    if (px_poll(&polled, 1, PX_SETUP_TIMEOUT_MS) <= 0 ||
        px_recv(template->swap, &failed, sizeof failed, 0) != sizeof failed)
        return px_error_set(error, PYEXEC_INTERNAL, SWAP_ENDED);
    template->swaps = false;
    return failed ? px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, failed, "can't attach the workspace of a test")
                  : 0;
}

/* The workspace of the test before is gone before the template runs again. While the test is no member yet, nobody looks for processes
 * that are none. */
static int take_test(struct px_template *template, struct px_child *test, struct px_child_ends *ends, bool *ret_late,
                     pyexec_error *error)
{
    struct px_family_event event;
    px_auto_fd int pidfd = -1;
    if (await_swap(template, error) < 0 || order_test(template, ends, error) < 0 ||
        await_test(template, &event, &pidfd, ret_late, error) < 0 || px_child_adopt(test, TAKE_FD(pidfd), 0, error) < 0)
        return -1;
    if (!test->host_pid || !test->pid)
        return px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the test's process ended while it was made");
    px_family_set_test(template->tests, event.pid, test->host_pid);
    return 0;
}

/* The kernel holds the test and its template meanwhile. */
static int complete_test(struct px_template *template, const struct px_child *test, pyexec_error *error)
{
    if (order_swap(template, test->workspace, error) < 0 ||
        px_branch_check_test(&template->child, test, &template->how, &template->user_namespace, error) < 0 ||
        px_branch_move_to_cgroup(test, template->how.shape, error) < 0 || await_swap(template, error) < 0)
        return -1;
    return send_order(template->control, PX_FAMILY_GO, 0, NULL, 0, error);
}

static void end(const struct px_template *template, struct px_child *test)
{
    struct px_launch_event event;
    bool is_known = test->pidfd >= 0 && test->pid > 0;
    if (is_known && !test->ended)
        px_child_signal(test, SIGKILL);
    if (is_known && !test->ended && px_launcher_await_exit(test->launcher, test->pid, TEST_END_MS, &event) == 0)
        test->ended = true;
    px_child_done(test);
    px_family_set_test(template->tests, 0, 0);
}

int px_template_test(struct px_template *template, struct px_child *ret, bool *ret_late, pyexec_error *error)
{
    px_auto(px_child_close_ends) struct px_child_ends ends;
    struct px_family *family = template->child.member->family;
    int files = template->child.workspace;
    *ret_late = false;
    if (px_child_prepare(ret, template->child.launcher, -1, &ends, error) < 0 ||
        (files >= 0 && px_branch_copy_workspace(&template->how, files, &ret->workspace, error) < 0)) {
        px_child_done(ret);
        return -1;
    }
    px_family_begin_birth(family);
    int result = take_test(template, ret, &ends, ret_late, error);
    px_family_end_births(family);
    bool taken = result == 0;
    if (result == 0)
        result = complete_test(template, ret, error);
    if (result < 0) {
        px_child_kill(&template->child, false);
        end(template, ret);
        if (!taken)
            px_branch_end_strangers(&template->child);
    }
    return result;
}

/* True if the kernel held the test until it was let run. The event has long come when the test has ended. */
static bool went(const struct px_template *template)
{
    struct px_family_event event;
    struct pollfd polled = {template->control, POLLIN, 0};
    return px_poll(&polled, 1, TEST_END_MS) > 0 &&
           px_recv(template->control, &event, sizeof event, 0) == sizeof event && event.magic == PX_LAUNCH_MAGIC &&
           event.type == PX_FAMILY_WENT && event.went;
}

int px_template_end_test(struct px_template *template, struct px_child *test, pyexec_error *error)
{
    end(template, test);
    if (!test->ended)
        return px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the process of the test does not end");
    if (order_swap(template, -1, error) < 0)
        return -1;
    if (went(template))
        return 0;
    px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the process of the test ended, or ran code, while it was held");
    return px_error_hint(error, "Code in the solution has changed how it is forked.");
}
