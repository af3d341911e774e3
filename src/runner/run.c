/* SPDX-License-Identifier: Apache-2.0 */
/* A run as its calling thread drives it.
 *
 *   channel   ⇄ the child    run message out; LOCKED, denials, result in: hostile bytes
 *   streams   ← the child    stdout and stderr: hostile bytes, kept up to the policy's caps
 *   pidfd     the child      readable at its end; signals go through it
 *   input     → the child    stdin, when it is fed from a descriptor of the caller
 *   wake      ← any thread   interrupt and cancel
 *
 * Two steps end a run that reached its limit: a signal that the guest turns into an exception,
 * and GRACE_MS later SIGKILL. Python handles a signal only between two instructions. A signal
 * that comes after the last instruction and before the system call that waits would be lost, so
 * more signals (nudges) follow it. Facts come from the kernel; what the child says is bounded, and
 * it can lie only about itself. */
#include "runner/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/retry.h"
#include "runner/pool.h"
#include "runner/proxy.h"
#include "runner/run_message.h"
#include "runner/run_private.h"
#include "runner/trace.h"
#include "runner/workspace.h"

#define GRACE_MS 500     /* docs/results.md, Limits have two steps */
#define NUDGE_FIRST_MS 5 /* the first pause; each further pause is twice as long */
#define NEVER INT64_MAX

/* Signals sent before LOCKED are lost (PyOS_AfterFork_Child clears them). Remember them; on_locked() sends
 * them. */
static void send_stop(struct run *run, int signal, int64_t now)
{
    if (!run->result->claims.locked)
        return;
    if (run->awaits_ready) {
        run->unsent_stop = signal;
        return;
    }
    run->child.stopped = true;
    px_child_signal(&run->child, signal);
    run->nudge_wait_ns = NUDGE_FIRST_MS * PX_NS_PER_MS;
    run->nudge_ns = now + run->nudge_wait_ns;
}

static void nudge(struct run *run, int64_t now)
{
    px_child_signal(&run->child, PX_SIGNAL_NUDGE);
    run->nudge_wait_ns *= 2;
    run->nudge_ns = now + run->nudge_wait_ns;
}

static void begin_stop(struct run *run, enum px_stop_cause cause, int signal, int64_t now)
{
    if (run->ending.cause < cause)
        run->ending.cause = cause;
    send_stop(run, signal, now);
    if (run->hard_ns == NEVER || run->hard_ns > now + GRACE_MS * PX_NS_PER_MS)
        run->hard_ns = now + GRACE_MS * PX_NS_PER_MS;
    run->soft_ns = run->cpu_check_ns = NEVER;
}

/* Counts all bytes, keeps those below the cap, and passes the kept part on at once. */
static void take_output(struct run *run, int which, const char *bytes, size_t length)
{
    struct px_stream *stream = &run->result->streams[which];
    const pyexec_request *request = run->context->request;
    size_t cap = px_run_stream_cap(run, which), room = cap - stream->text.length;
    size_t kept = length < room ? length : room;
    stream->bytes += length;
    if (kept < length)
        stream->truncated = true;
    px_buffer_add(&stream->text, bytes, kept);
    if (kept && request->output && request->output(request->output_data, which + 1, bytes, kept))
        pyexec_request_cancel(run->context->request);
}

/* Call this with errno set. A failure of the host ends the run as an error. */
static void receive_failed(struct run *run)
{
    if (!run->receive_errno)
        run->receive_errno = errno;
}

/* Reads the available bytes. Returns false when the stream has ended. */
static bool drain(struct run *run, int which, size_t at_most)
{
    size_t total = 0;
    while (total < at_most) {
        ssize_t n = px_read(run->child.streams[which], run->block, sizeof run->block);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0)
            receive_failed(run);
        if (n <= 0)
            return false;
        take_output(run, which, run->block, (size_t)n);
        total += (size_t)n;
    }
    return true;
}

static void drain_all(struct run *run)
{
    /* Reads at most what the pipe can hold, because a child that is still alive may continue to write. */
    for (int which = 0; which < 2; which++)
        if (run->child.streams[which] >= 0 && !drain(run, which, 2 << 20))
            px_close_fd(&run->child.streams[which]);
}

static void note_cpu_before(struct run *run)
{
    int64_t used = px_child_cpu_ns(&run->child);
    run->ending.cpu_before_ns = used > 0 ? used : 0;
}

/* The time of the script starts at LOCKED, because the set-up does not count. The child sent the time itself
 * before it ran any code of the caller, since this thread may read the message much later. A child that waited was
 * locked long before: its time started, and its CPU time was noted, when the run was sent. */
static void on_locked(struct run *run)
{
    const struct px_child_result *claims = &run->result->claims;
    int64_t now = px_now_ns();
    if (!run->pooled) {
        int64_t ago = px_clock_ns(CLOCK_REALTIME) - (int64_t)claims->locked_real_ns;
        /* A negative or too large value means that the clock was set in between. */
        if (ago >= 0 && ago <= now - run->started_ns)
            run->started_ns = now - ago;
        run->ending.cpu_before_ns = (int64_t)claims->locked_cpu_ns;
    }
    px_run_context_watch(run->context, &run->child, run->ending.cpu_before_ns);
    if (run->ending.cause == PX_STOP_CAUSE_CANCEL) {
        run->hard_ns = NEVER;
        begin_stop(run, PX_STOP_CAUSE_CANCEL, SIGINT, now);
        return;
    }
    if (run->interrupted)
        send_stop(run, SIGINT, now);
    run->soft_ns = run->started_ns + run->context->policy->timeout_ms * PX_NS_PER_MS;
    run->hard_ns = NEVER;
    if (run->cpu_limit_ns != NEVER)
        run->cpu_check_ns = now + run->cpu_limit_ns / run->processors;
}

static void on_ready(struct run *run)
{
    run->awaits_ready = false;
    if (run->unsent_stop)
        send_stop(run, run->unsent_stop, px_now_ns());
}

/* Output that was written before a display or a call may still be in a pipe. It is passed on first. */
static void pass_on_output(struct run *run)
{
    for (int which = 0; which < 2; which++)
        if (run->child.streams[which] >= 0 && !drain(run, which, 1 << 20))
            px_run_context_end_stream(run->context, &run->child, which);
}

/* Shows the displays that have come since the last call of this function. */
static void show_displays(struct run *run, size_t shown)
{
    const struct px_displays *displays = &run->result->claims.displays;
    const pyexec_request *request = run->context->request;
    if ((!request->display && !request->display_object) || shown == displays->count)
        return;
    pass_on_output(run);
    for (size_t i = shown; i < displays->count && !run->ending.protocol; i++) {
        struct px_buffer px_auto_buffer text = {0};
        if (request->display)
            px_display_write(&displays->items[i], &text);
        if (!px_buffer_ok(&text))
            run->ending.protocol = px_no_memory;
        else if (px_request_show(request, &displays->items[i], &text))
            pyexec_request_cancel(run->context->request);
    }
}

/* Takes packets from the channel. Returns -1 when there will be no more. */
static int read_channel(struct run *run)
{
    struct px_child_result *claims = &run->result->claims;
    /* Not on the stack: a thread would keep all these pages for as long as its script waits. */
    char *packet = run->block;
    _Static_assert(sizeof run->block >= PX_PACKET_MAX, "a packet must fit");
    while (!claims->done) {
        /* There is no control buffer, so the kernel drops descriptors that a child sends. */
        ssize_t n = px_receive_packet(run->child.channel, packet, PX_PACKET_MAX, MSG_TRUNC | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n < 0)
            receive_failed(run);
        if (n <= 0)
            return -1;
        bool locked = claims->locked;
        size_t shown = claims->displays.count;
        if ((size_t)n > PX_PACKET_MAX)
            run->ending.protocol = "a packet that is too long";
        else
            px_child_result_parse(claims, packet, (size_t)n, &run->ending.protocol);
        if (run->ending.protocol)
            return -1;
        if (!locked && claims->locked)
            on_locked(run);
        if (run->awaits_ready && claims->ready)
            on_ready(run);
        if (run->context->request->output && claims->tools.first)
            pass_on_output(run);
        if (run->tools.calls && (run->ending.protocol = px_tool_calls_take(run->tools.calls, &claims->tools)))
            return -1;
        show_displays(run, shown);
        if (run->ending.protocol)
            return -1;
    }
    run->ending.protocol = px_child_result_check(claims);
    return -1;
}

static void check_cpu(struct run *run, int64_t now)
{
    int64_t used = px_child_cpu_ns(&run->child) - run->ending.cpu_before_ns;
    int64_t left = run->cpu_limit_ns - used;
    if (left <= 0) {
        begin_stop(run, PX_STOP_CAUSE_CPU, PX_SIGNAL_CPU, now);
        return;
    }
    int64_t wait = left / run->processors;
    run->cpu_check_ns = now + (wait < PX_NS_PER_MS ? PX_NS_PER_MS : wait);
}

static void keep_deadlines(struct run *run, int64_t now)
{
    if (now >= run->hard_ns) {
        run->ending.killed_by_us = true;
        run->hard_ns = NEVER;
        px_child_signal(&run->child, SIGKILL);
        return;
    }
    if (now >= run->nudge_ns)
        nudge(run, now);
    if (now >= run->context->wait_until_ns && run->tools.calls && px_tool_calls_only_wait(run->tools.calls) &&
        !run->cancelled) {
        run->cancelled = true;
        begin_stop(run, PX_STOP_CAUSE_CANCEL, SIGINT, now);
    }
    if (now >= run->soft_ns)
        begin_stop(run, PX_STOP_CAUSE_TIMEOUT, PX_SIGNAL_TIMEOUT, now);
    else if (now >= run->cpu_check_ns)
        check_cpu(run, now);
}

static void take_stop(struct run *run)
{
    pyexec_request *request = run->context->request;
    bool woken = px_wake_take(request->wake);
    int how = atomic_exchange(&request->stop, PX_STOP_NONE);
    if (!woken && how == PX_STOP_NONE)
        return;
    /* Cancels only once. A caller that has gone reports it again with each output, and a second signal at the end
     * of the call would interrupt the session's next call. */
    if (how == PX_STOP_CANCEL && !run->cancelled) {
        run->cancelled = true;
        begin_stop(run, PX_STOP_CAUSE_CANCEL, SIGINT, px_now_ns());
    } else if (how == PX_STOP_INTERRUPT) {
        run->interrupted = true;
        send_stop(run, SIGINT, px_now_ns());
    }
}

static int poll_timeout(const struct run *run, int64_t now)
{
    int64_t next = run->soft_ns < run->hard_ns ? run->soft_ns : run->hard_ns;
    next = next < run->cpu_check_ns ? next : run->cpu_check_ns;
    next = next < run->nudge_ns ? next : run->nudge_ns;
    int64_t tools = px_run_tools_next(&run->tools);
    next = next < tools ? next : tools;
    next = run->rest.until_ns > now && run->rest.until_ns < next ? run->rest.until_ns : next;
    if (next == NEVER)
        return -1;
    return next <= now ? 0 : (int)((next - now + PX_NS_PER_MS - 1) / PX_NS_PER_MS);
}

static void read_stream(struct run *run, int which, int64_t now)
{
    int fd = run->child.streams[which];
    uint64_t before = run->result->streams[which].bytes;
    if (fd < 0)
        return;
    if (drain(run, which, sizeof run->block))
        px_output_rest_after(&run->rest, which, fd, run->result->streams[which].bytes - before, now);
    else
        px_run_context_end_stream(run->context, &run->child, which);
}

/* Reads the streams that had output when they were polled. What one wrote that rested then comes before the output of the other. */
static void read_streams(struct run *run, const bool ready[2], int64_t polled_ns)
{
    int64_t now = px_now_ns();
    if (!ready[0] && !ready[1])
        return;
    int first = px_output_rests(&run->rest, 1, polled_ns) ? 1 : 0, second = 1 - first;
    if (ready[first] || px_output_rests(&run->rest, first, polled_ns))
        read_stream(run, first, now);
    if (ready[second])
        read_stream(run, second, now);
}

/* Serves the child until it has ended or sent its whole result. */
static void serve(struct run *run)
{
    struct px_child *child = &run->child;
    for (;;) {
        bool want_input = child->input >= 0 && !run->input.held;
        bool unsent = px_run_tools_has_unsent(&run->tools);
        int64_t now = px_now_ns();
        struct pollfd polled[] = {
            {child->channel, unsent ? POLLIN | POLLOUT : POLLIN, 0},
            {px_output_rests(&run->rest, 0, now) ? -1 : child->streams[0], POLLIN, 0},
            {px_output_rests(&run->rest, 1, now) ? -1 : child->streams[1], POLLIN, 0},
            {child->pidfd, POLLIN, 0},
            {run->context->request->wake, POLLIN, 0},
            {want_input ? run->context->request->input_fd : -1, POLLIN, 0},
            {child->input >= 0 && run->input.held ? child->input : -1, POLLOUT, 0},
        };
        if (px_poll(polled, PX_COUNT(polled), poll_timeout(run, now)) < 0) {
            receive_failed(run);
            return;
        }
        if (polled[0].revents & ~POLLOUT && read_channel(run) < 0) {
            if (run->result->claims.done || run->ending.protocol)
                return;
            /* The child closed the channel but may still run. Wait for its exit or a limit. */
            px_close_fd(&child->channel);
        }
        read_streams(run, (const bool[]){polled[1].revents, polled[2].revents}, now);
        if (run->receive_errno)
            return;
        if (polled[4].revents)
            take_stop(run);
        if (polled[5].revents || polled[6].revents)
            px_input_feed_move(&run->input, run->context->request->input_fd, &child->input, polled[5].revents,
                               polled[6].revents);
        if (polled[3].revents) {
            if (child->channel >= 0)
                read_channel(run);
            return;
        }
        now = px_now_ns();
        run->ending.protocol = px_run_tools_serve(&run->tools, child, &run->result->claims, now, &run->soft_ns);
        if (run->ending.protocol)
            return;
        keep_deadlines(run, now);
    }
}

/* A child from the pool, or a new one. */
static int get_child(struct run *run, const struct px_child_options *options, pyexec_error *error)
{
    const struct px_run_context *context = run->context;
    struct px_clone_request shape;
    px_auto_fd int mount = -1;
    int folder = -1;
    px_child_shape(&shape, options);
    if (shape.workspace == PX_WORKSPACE_GIVEN) {
        if (px_child_open_workspace(context->launcher, options, &folder, &mount, error) < 0)
            return -1;
    } else if (context->pool && px_pool_take(context->pool, &shape, &run->child, &run->result->claims.locked)) {
        run->pooled = true;
        return 0;
    }
    if (px_child_start(&run->child, context->launcher, context->zygotes, &shape, mount, folder, error) < 0)
        return -1;
    px_child_open_facts(&run->child);
    return 0;
}

/* Runs the script: from putting the files into the workspace to collecting the last fact. */
static int drive(struct run *run, const struct px_child_options *options, pyexec_error *error)
{
    const struct px_run_context *context = run->context;
    const struct px_policy *policy = context->policy;
    struct px_snapshot before = {0};
    if (px_child_put_files(&run->child, context->request, error) < 0)
        return -1;
    int result = 0;
    /* Nothing is in the new workspace of a single run but these files. */
    if (run->child.workspace >= 0 && (run->session || context->request->workspace || context->request->file_count))
        result = px_snapshot_take(run->child.workspace, &before, error);
    if (result == 0 && run->pooled)
        note_cpu_before(run);
    if (result == 0 && context->proxy)
        result = px_proxy_open(context->proxy, &run->child, context, error);
    if (result == 0)
        result = px_run_tools_begin(&run->tools, context, run->result, error);
    if (result == 0) {
        run->sent = context->request->sent = true;
        run->awaits_ready = options->drop_stop;
        run->child.stopped = false;
        result = px_run_message_send(&run->child, options, error);
    }
    if (result == 0) {
        run->processors = context->processors;
        run->cpu_limit_ns =
            policy->cpu_time_seconds == PX_NONE ? NEVER : policy->cpu_time_seconds * INT64_C(1000000000);
        run->started_ns = px_now_ns();
        run->soft_ns = run->cpu_check_ns = run->nudge_ns = NEVER;
        run->hard_ns = run->started_ns + PX_SETUP_TIMEOUT_MS * PX_NS_PER_MS;
        if (run->result->claims.locked)
            on_locked(run);
        serve(run);
        px_run_context_watch(run->context, NULL, 0);
        px_run_tools_end(&run->tools, run->result);
        drain_all(run);
        px_run_collect_facts(run);
        px_proxy_report(&run->child, !run->session, run->result, px_zygotes_counters(context->zygotes));
        px_trace_ran(context->request->trace, run->started_ns);
        result = px_run_collect_files(run, &before, error);
    }
    px_run_tools_end(&run->tools, run->result);
    px_snapshot_done(&before);
    return result;
}

static struct run *new_run(const struct px_run_context *context, pyexec_error *error)
{
    struct run *run = malloc(sizeof *run);
    if (run) {
        /* The blocks need no zeroing: they are read only where they were written before. */
        memset(run, 0, offsetof(struct run, input.block));
        run->result = px_result_new();
    }
    if (!run || !run->result) {
        free(run);
        px_error_oom(error);
        return NULL;
    }
    run->context = context;
    if (context->tools)
        px_zygotes_expect_displays(context->zygotes); /* now: a run with tools may take long */
    run->result->claims.displays.max_count = (uint64_t)context->policy->max_displays;
    run->result->claims.displays.max_bytes = (uint64_t)context->policy->max_display_bytes;
    run->child.ended = true;
    run->child.status = run->child.pidfd = run->child.channel = run->child.input = run->child.workspace = -1;
    run->child.listener = -1;
    run->child.streams[0] = run->child.streams[1] = -1;
    return run;
}

int px_run_once(const struct px_run_context *context, pyexec_result **ret, pyexec_error *error)
{
    const pyexec_request *request = context->request;
    struct px_child_options options = {
        .policy = context->policy,
        .request = request,
        .workspace_path = request->workspace ? request->workspace : "/workspace",
        .filename = "<cell>",
        .tools = context->tools,
    };
    struct run *run = new_run(context, error);
    if (!run)
        return -1;
    int result = get_child(run, &options, error);
    if (result == 0) {
        px_trace_cloned(request->trace, run->pooled);
        result = drive(run, &options, error);
    }
    px_child_done(&run->child);
    if (context->pool)
        px_pool_refill(context->pool);
    return px_run_finish(run, result, ret, error);
}

int px_run_call(const struct px_run_context *context, struct px_call *call, pyexec_result **ret, bool *ret_alive,
                pyexec_error *error)
{
    char filename[32] = "<cell>";
    if (call->filename)
        snprintf(filename, sizeof filename, "%s", call->filename);
    else if (call->number)
        snprintf(filename, sizeof filename, "<cell %llu>", (unsigned long long)call->number);
    struct px_child_options options = {
        .policy = context->policy,
        .request = context->request,
        .workspace_path = call->workspace_path,
        .filename = filename,
        .tools = context->tools,
        .session = true,
        .kind = call->kind,
        .later = call->later,
        .drop_stop = call->child->stopped,
    };
    struct run *run = new_run(context, error);
    if (!run)
        return -1;
    run->child = *call->child;
    if (call->only_call)
        run->child.workspace = -1;
    run->session = true;
    if (call->locked) {
        run->pooled = run->result->claims.locked = true;
        /* Discards what threads wrote and packets that arrived between calls. Such a packet can only be an attack. */
        px_child_discard_output(&run->child);
    } else {
        px_trace_cloned(context->request->trace, false);
    }
    int result = drive(run, &options, error);
    px_close_fd(&run->child.input);
    run->child.workspace = call->child->workspace;
    *call->child = run->child;
    call->threads_left = run->threads > 1;
    call->cpu_ns = run->ending.cpu_ns;
    *ret_alive = run->sent
                     ? !run->receive_errno && !run->child.ended && run->result->claims.done && !run->ending.protocol
                     : call->locked; /* refused before it began */
    return px_run_finish(run, result, ret, error);
}
