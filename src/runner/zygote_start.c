/* SPDX-License-Identifier: Apache-2.0 */
/* The start of a zygote: its messages, and what it means when it ends before it is ready. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/python_versions.h"
#include "base/retry.h"
#include "runner/interpreter.h"
#include "runner/zygotes_private.h"

#define PRELOAD_TIMEOUT_MS 30000
#define EXIT_TIMEOUT_MS 5000 /* time from the end of its socket to the supervisor's report */

static int64_t deadline_after(int timeout_ms)
{
    return px_now_ns() + timeout_ms * INT64_C(1000000);
}

static bool await_readable(int fd, int64_t deadline)
{
    struct pollfd polled = {fd, POLLIN, 0};
    int64_t left = (deadline - px_now_ns() + 999999) / 1000000;
    return px_poll(&polled, 1, left > 0 ? (int)left : 0) > 0;
}

void px_zygote_end_process(struct zygote *zygote)
{
    if (zygote->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, zygote->pidfd, SIGKILL, NULL, 0);
    px_close_fd(&zygote->pidfd);
    int socket = __atomic_exchange_n(&zygote->socket, -1, __ATOMIC_RELAXED);
    px_close_fd(&socket);
    zygote->clones = 0;
}

bool px_zygote_await_readable(const struct zygote *zygote)
{
    return await_readable(zygote->socket, deadline_after(ZYGOTE_HANG_TIMEOUT_MS));
}

/* Returns the last part of what the interpreter wrote to its standard error, on one line. */
static void read_log(int log, char *text, size_t size)
{
    off_t end = lseek(log, 0, SEEK_END);
    ssize_t n = end > 0 ? px_pread(log, text, size - 1, end > 600 ? end - 600 : 0) : 0;
    text[n > 0 ? n : 0] = '\0';
    while (n > 0 && text[n - 1] == '\n')
        text[--n] = '\0';
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ')
            *at = ' ';
}

/* The process ended before it was Python, because the launcher could not make a layer. Marks the layer as missing. */
static int layer_refused(struct px_zygotes *zygotes, enum px_layer layer, const char *text, pyexec_error *error)
{
    const struct px_layer_info *info = px_layer_info(layer);
    __atomic_fetch_or(&zygotes->missing, PX_LAYER_BIT(layer), __ATOMIC_RELAXED);
    px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "this kernel or container refuses the layer '%s' (%s): %s",
                 info->name, info->gives, text);
    return px_error_hint(error, "%s. Or run with less protection: --allow-missing %s.", info->remedy, info->name);
}

/* True for signals that a process gets because of what it did itself. */
static bool is_fault(int signal)
{
    return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE || signal == SIGABRT ||
           signal == SIGTRAP || signal == SIGSYS;
}

/* True, with `error`, if the zygote ended for a reason that is neither the interpreter's nor the preload's.
 * `again`: another start may succeed. */
static bool ended_otherwise(struct px_zygotes *zygotes, const struct px_launch_event *event, const char *preload,
                            const char *text, bool *again, pyexec_error *error)
{
    if (event->code != CLD_EXITED) {
        *again = !is_fault(event->status);
        if (!*again || preload)
            return false;
        px_error_set(error, PYEXEC_OVERLOADED, "the interpreter was killed (signal %d) while it started",
                     event->status);
        px_error_hint(error, "The kernel's OOM killer or another process ends it: see the kernel's "
                             "log (dmesg), and give the machine or its cgroup more memory.");
        return true;
    }
    int layer = event->status - PX_ZYGOTE_EXIT_LAYER;
    int sys_errno = event->status - PX_ZYGOTE_EXIT_EXHAUSTED;
    if (preload)
        return false;
    if (layer >= 0 && layer < PX_LAYER_COUNT)
        layer_refused(zygotes, (enum px_layer)layer, text, error);
    else if (px_errno_exhausted(sys_errno))
        px_error_exhausted(error, sys_errno, "can't start the interpreter");
    else if (event->status == PX_ZYGOTE_EXIT_SETUP)
        px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "can't start the interpreter: %s", text);
    else
        return false;
    return true;
}

/* Reports a start that failed. `preload` is the module that was being imported, or NULL. `again`: another start
 * may succeed. */
static int start_failed(struct px_zygotes *zygotes, struct px_launched_zygote *launched, const char *preload,
                        bool hangs, bool *again, pyexec_error *error)
{
    char text[700], how[64] = "";
    struct px_launch_event event;
    read_log(launched->log, text, sizeof text);
    if (!hangs) {
        int known = px_launcher_await_exit(zygotes->launcher, launched->pid, EXIT_TIMEOUT_MS, &event);
        launched->pid = 0;
        if (known < 0)
            return px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "the supervisor ended while an interpreter started");
        if (ended_otherwise(zygotes, &event, preload, text, again, error))
            return -1;
        snprintf(how, sizeof how, " (%s %d)", event.code == CLD_EXITED ? "exit status" : "signal", event.status);
    }
    const char *colon = text[0] ? ": " : "", *site = zygotes->isolate_site ? "-I -S" : "-I";
    if (preload) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "preload_imports: importing '%s' %s%s%s%s", preload,
                     hangs ? "does not end within 30 s" : "ends the interpreter", how, colon, text);
        return px_error_hint(error,
                             "Remove it from preload_imports, or see what it does: "
                             "%s %s -c 'import %s'.",
                             zygotes->python, site, preload);
    }
    if (!hangs && event.code == CLD_EXITED && event.status == PX_ZYGOTE_EXIT_UNSUPPORTED)
        return px_python_refused(zygotes->python, text, error);
    px_error_set(error, PYEXEC_PYTHON_UNSUPPORTED, "python_bin: '%s' %s%s%s%s", zygotes->python,
                 hangs ? "hangs at start" : "does not start as a Python interpreter", how, colon, text);
    return px_error_hint(error, "pyexec needs a working " PX_PYTHON_VERSIONS ": try `%s -I -S -c pass`.",
                         zygotes->python);
}

static bool huge_on_advice(void)
{
    char text[128];
    return px_read_small_file(AT_FDCWD, "/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text) >= 0 &&
           strstr(text, "[madvise]");
}

/* Sends the start message. */
static int greet(struct px_zygotes *zygotes, int socket, pyexec_error *error)
{
    struct px_zygote_start start = {
        .magic = PX_LAUNCH_MAGIC,
        .isolate_site = zygotes->isolate_site,
        .network = zygotes->network,
        .missing = px_zygotes_missing(zygotes),
        .allow_missing = zygotes->allow_missing,
        .privileged = px_launcher_privileged(zygotes->launcher),
        .run_uid = zygotes->ids.run_uid,
        .run_gid = zygotes->ids.run_gid,
        .run_uid_count = zygotes->ids.run_uid_count,
        .huge_on_advice = huge_on_advice(),
    };
    struct px_buffer px_auto_buffer names = {0};
    for (size_t i = 0; i < zygotes->preloads.count; i++)
        px_buffer_add(&names, zygotes->preloads.items[i], strlen(zygotes->preloads.items[i]) + 1);
    start.preload_bytes = (uint32_t)names.length;
    if (names.length >= PX_ZYGOTE_PRELOAD_MAX)
        return px_error_set(error, PYEXEC_INVALID_POLICY, "preload_imports: longer than %d bytes",
                            PX_ZYGOTE_PRELOAD_MAX);
    if (px_send_fds(socket, &start, sizeof start, zygotes->certificates, (size_t)zygotes->certificate_count) == 0 &&
        (!names.length || px_send_fds(socket, names.data, names.length, NULL, 0) == 0))
        return 0;
    /* If the zygote has ended, the caller finds out why when it waits for the answer. Any other failure must be reported
     * here: the zygote does not know of it and would wait for this message, and the caller for the answer. */
    return errno == EPIPE || errno == ECONNRESET ? 0 : px_error_exhausted(error, errno, "can't start the interpreter");
}

/* Waits for "ready", and records which preload is being imported. */
static int await_ready(struct px_zygotes *zygotes, struct px_launched_zygote *launched, struct px_zygote_ready *ret,
                       bool *again, pyexec_error *error)
{
    union {
        struct px_zygote_loading loading;
        struct px_zygote_ready ready;
    } message;
    const char *preload = NULL;
    int64_t deadline = deadline_after(zygotes->preloads.count ? PRELOAD_TIMEOUT_MS : ZYGOTE_HANG_TIMEOUT_MS);
    for (;;) {
        if (!await_readable(launched->socket, deadline))
            return start_failed(zygotes, launched, preload, true, again, error);
        ssize_t n = px_receive_fds(launched->socket, &message, sizeof message, NULL, 0, NULL);
        if (n == sizeof message.loading && message.loading.magic == PX_LAUNCH_MAGIC &&
            message.loading.index < zygotes->preloads.count) {
            preload = zygotes->preloads.items[message.loading.index];
            continue;
        }
        if (n != sizeof message.ready || message.ready.magic != PX_LAUNCH_MAGIC)
            return start_failed(zygotes, launched, preload, false, again, error);
        if (message.ready.error.code != PYEXEC_OK) {
            *error = message.ready.error;
            return -1;
        }
        *ret = message.ready;
        return 0;
    }
}

static int try_start(struct px_zygotes *zygotes, struct zygote *zygote, bool *again, pyexec_error *error)
{
    struct px_launched_zygote launched;
    struct px_zygote_ready ready;
    if (px_launcher_start_zygote(zygotes->launcher, zygotes->python, zygotes->isolate_site, zygotes->network,
                                 px_zygotes_missing(zygotes), &launched, error) < 0)
        return -1;
    __atomic_fetch_or(&zygotes->missing, launched.missing, __ATOMIC_RELAXED);
    int result = greet(zygotes, launched.socket, error);
    if (result == 0)
        result = await_ready(zygotes, &launched, &ready, again, error);
    if (launched.pid) /* otherwise another thread has asked for its exit already */
        px_launcher_forget(zygotes->launcher, launched.pid);
    px_close_fd(&launched.log);
    zygote->pidfd = launched.pidfd;
    __atomic_store_n(&zygote->socket, launched.socket, __ATOMIC_RELAXED);
    if (result < 0) {
        px_zygote_end_process(zygote);
        return -1;
    }
    __atomic_store_n(&zygote->memory_bytes, ready.private_bytes, __ATOMIC_RELAXED);
    __atomic_fetch_or(&zygotes->missing, ready.missing, __ATOMIC_RELAXED);
    if (!zygotes->ready.magic)
        zygotes->ready = ready;
    return 0;
}

/* Without one of these the names would not be all that a script can reach, or it could not trust a server. */
static int check_by_name(const struct px_zygotes *zygotes, pyexec_error *error)
{
    static const enum px_layer needed[] = {PX_LAYER_USER_NAMESPACE, PX_LAYER_NETWORK_NAMESPACE,
                                           PX_LAYER_MOUNT_NAMESPACE, PX_LAYER_PRIVILEGES, PX_LAYER_SECCOMP};
    for (size_t i = 0; i < PX_COUNT(needed); i++) {
        const struct px_layer_info *info = px_layer_info(needed[i]);
        if (zygotes->network != PX_NETWORK_NAMES || !(px_zygotes_missing(zygotes) & PX_LAYER_BIT(needed[i])))
            continue;
        px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE,
                     "allowed_hosts: the network by name needs the layer '%s' (%s), which is missing here", info->name,
                     info->gives);
        return px_error_hint(error, "%s. Or leave allowed_hosts out.", info->remedy);
    }
    return 0;
}

int px_zygote_start_process(struct px_zygotes *zygotes, struct zygote *zygote, pyexec_error *error)
{
    for (bool tried_again = false;;) {
        bool again = false;
        px_layers before = px_zygotes_missing(zygotes);
        int result = try_start(zygotes, zygote, &again, error);
        px_layers found = px_zygotes_missing(zygotes) & ~before;
        if (result == 0 && check_by_name(zygotes, error) < 0) {
            px_zygote_end_process(zygote);
            return -1;
        }
        if (result == 0) {
            px_count(&zygotes->counters->zygote_starts, 1);
            px_count(&zygotes->counters->zygote_restarts, zygote->replaced);
            zygote->replaced = true;
            return 0;
        }
        if (again && !tried_again) {
            tried_again = true;
            continue;
        }
        if (error->code != PYEXEC_SANDBOX_UNAVAILABLE || !found || found & ~zygotes->allow_missing)
            return result;
    }
}
