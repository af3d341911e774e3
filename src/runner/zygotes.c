/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/zygotes.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/retry.h"
#include "base/thread.h"

#define PRELOAD_TIMEOUT_MS 30000
#define HANG_TIMEOUT_MS 10000               /* limit for everything that a zygote does within milliseconds */
#define ZYGOTE_RETRY_NS INT64_C(1000000000) /* pause after a start in the background that failed */
#define EXIT_TIMEOUT_MS 5000                /* time from the end of its socket to the supervisor's report */
#define ZYGOTES_MAX 64
/* All children of one zygote have the same address layout and the same heap, so no zygote should live as long as
 * the host. Starting one costs as much as about thirty runs. */
#define CLONES_MAX 10000

struct zygote {
    pthread_mutex_t lock; /* one request and its answer at a time */
    int socket;           /* -1: not started, or dead. Written with the lock held, read without it */
    int pidfd;
    unsigned clones;
    bool replaced;         /* an earlier process of this zygote existed */
    uint64_t memory_bytes; /* memory of its own when it was ready */
};

struct px_zygotes {
    struct px_launcher *launcher;
    struct px_counters *counters;
    char *python;
    char *python_bin;
    const struct px_environment *env; /* or NULL */
    int env_lock;                     /* keeps its folder from being removed; -1: not locked */
    bool isolate_site;
    enum px_network network;
    int certificates[2], certificate_count; /* for PX_NETWORK_NAMES; the caller owns them */
    struct px_strings preloads;             /* of the environment, then `asked` */
    struct px_strings asked;                /* preload_imports of the policy */
    px_layers allow_missing, missing;
    struct px_launcher_options ids;
    struct px_zygote_ready ready; /* error of the first start */
    size_t count;
    struct zygote items[ZYGOTES_MAX];
    unsigned next;
    uint32_t slot;
    uint32_t displays; /* see px_zygotes_expect_displays() */
    pthread_t grower;
    bool grown;  /* there is a thread to join; only the thread that sets `growing` writes it */
    int growing; /* the thread still runs */
    int64_t grow_after_ns;
};

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

/* Ends the zygote by a signal. Closing its socket may not be enough, because a process that the host forked may
 * have a copy. */
static void end_zygote(struct zygote *zygote)
{
    if (zygote->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, zygote->pidfd, SIGKILL, NULL, 0);
    px_close_fd(&zygote->pidfd);
    int socket = __atomic_exchange_n(&zygote->socket, -1, __ATOMIC_RELAXED);
    px_close_fd(&socket);
    zygote->clones = 0;
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
    px_error_set(error, PYEXEC_PYTHON_UNSUPPORTED, "python_bin: '%s' %s%s%s%s", zygotes->python,
                 hangs ? "hangs at start" : "does not start as a Python interpreter", how, colon, text);
    return px_error_hint(error,
                         "pyexec needs a working CPython 3.8 or later, with the GIL: try "
                         "`%s -I -S -c pass`.",
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
    int64_t deadline = deadline_after(zygotes->preloads.count ? PRELOAD_TIMEOUT_MS : HANG_TIMEOUT_MS);
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
        end_zygote(zygote);
        return -1;
    }
    __atomic_store_n(&zygote->memory_bytes, ready.private_bytes, __ATOMIC_RELAXED);
    __atomic_fetch_or(&zygotes->missing, ready.missing, __ATOMIC_RELAXED);
    if (!zygotes->ready.magic)
        zygotes->ready = ready;
    return 0;
}

/* The caller holds the zygote's lock. When a start finds that a layer is refused, the next start goes without it
 * if that is allowed. A zygote that was killed is started again once. */
static int start_one(struct px_zygotes *zygotes, struct zygote *zygote, pyexec_error *error)
{
    for (bool tried_again = false;;) {
        bool again = false;
        px_layers before = px_zygotes_missing(zygotes);
        int result = try_start(zygotes, zygote, &again, error);
        px_layers found = px_zygotes_missing(zygotes) & ~before;
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

static enum px_network network_of(const struct px_policy *policy)
{
    return policy->allowed_hosts.count  ? PX_NETWORK_NAMES
           : policy->disable_networking ? PX_NETWORK_NONE
                                        : PX_NETWORK_HOST;
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

static int take_preloads(struct px_zygotes *zygotes, const struct px_policy *policy)
{
    const struct px_environment *env = policy->env;
    const struct px_strings *asked = &policy->preload_imports;
    for (size_t i = 0; env && i < env->preload_count; i++)
        if (px_strings_add(&zygotes->preloads, env->preloads[i], strlen(env->preloads[i])) < 0)
            return -1;
    for (size_t i = 0; i < asked->count; i++)
        if (px_strings_add(&zygotes->preloads, asked->items[i], strlen(asked->items[i])) < 0 ||
            px_strings_add(&zygotes->asked, asked->items[i], strlen(asked->items[i])) < 0)
            return -1;
    return 0;
}

int px_zygotes_new(struct px_launcher *launcher, const struct px_policy *policy, const char *python, size_t wanted,
                   px_layers allow_missing, const struct px_launcher_options *ids, const int *certificates,
                   struct px_counters *counters, struct px_zygotes **ret, pyexec_error *error)
{
    struct px_zygotes *zygotes = calloc(1, sizeof *zygotes);
    if (!zygotes)
        return px_error_oom(error);
    zygotes->launcher = launcher;
    zygotes->counters = counters;
    zygotes->allow_missing = allow_missing;
    zygotes->missing = px_launcher_missing(launcher);
    zygotes->ids = *ids;
    zygotes->count = wanted < 1 ? 1 : wanted > ZYGOTES_MAX ? ZYGOTES_MAX : wanted;
    for (size_t i = 0; i < zygotes->count; i++) {
        zygotes->items[i].socket = zygotes->items[i].pidfd = -1;
        pthread_mutex_init(&zygotes->items[i].lock, NULL);
    }
    zygotes->isolate_site = px_policy_isolates(policy);
    zygotes->env = px_environment_ref(policy->env);
    zygotes->network = network_of(policy);
    while (certificates && zygotes->network == PX_NETWORK_NAMES && zygotes->certificate_count < 2 && *certificates >= 0)
        zygotes->certificates[zygotes->certificate_count++] = *certificates++;
    zygotes->env_lock = -1;
    zygotes->python = strdup(python);
    zygotes->python_bin = strdup(policy->python_bin);
    int result = zygotes->python && zygotes->python_bin ? 0 : px_error_oom(error);
    if (result == 0 && take_preloads(zygotes, policy) < 0)
        result = px_error_oom(error);
    if (result < 0) {
        px_zygotes_free(zygotes);
        return -1;
    }
    *ret = zygotes;
    return 0;
}

int px_zygotes_start(struct px_zygotes *zygotes, pyexec_error *error)
{
    struct zygote *first = &zygotes->items[0];
    if (zygotes->env && px_environment_lock(zygotes->env, &zygotes->env_lock, error) < 0)
        return -1;
    pthread_mutex_lock(&first->lock);
    int result = first->socket < 0 ? start_one(zygotes, first, error) : 0;
    pthread_mutex_unlock(&first->lock);
    return result < 0 ? -1 : check_by_name(zygotes, error);
}

void px_zygotes_free(struct px_zygotes *zygotes)
{
    if (!zygotes)
        return;
    if (zygotes->grown)
        pthread_join(zygotes->grower, NULL);
    for (size_t i = 0; i < zygotes->count; i++) {
        end_zygote(&zygotes->items[i]);
        pthread_mutex_destroy(&zygotes->items[i].lock);
    }
    px_strings_done(&zygotes->preloads);
    px_strings_done(&zygotes->asked);
    free(zygotes->python);
    free(zygotes->python_bin);
    px_close_fd(&zygotes->env_lock);
    px_environment_unref(zygotes->env);
    free(zygotes);
}

bool px_zygotes_by_name(const struct px_zygotes *zygotes)
{
    return zygotes->network == PX_NETWORK_NAMES;
}

bool px_zygotes_match(const struct px_zygotes *zygotes, const struct px_policy *policy)
{
    const struct px_environment *own = zygotes->env, *wanted = policy->env;
    bool same = own && wanted ? px_environment_same(own, wanted)
                              : own == wanted && strcmp(zygotes->python_bin, policy->python_bin) == 0;
    if (!same || zygotes->isolate_site != px_policy_isolates(policy) || zygotes->network != network_of(policy) ||
        zygotes->asked.count != policy->preload_imports.count)
        return false;
    for (size_t i = 0; i < zygotes->asked.count; i++)
        if (strcmp(zygotes->asked.items[i], policy->preload_imports.items[i]) != 0)
            return false;
    return true;
}

const struct px_environment *px_zygotes_environment(const struct px_zygotes *zygotes)
{
    return zygotes->env;
}

const char *px_zygotes_python(const struct px_zygotes *zygotes)
{
    return zygotes->python;
}

const struct px_zygote_ready *px_zygotes_ready(const struct px_zygotes *zygotes)
{
    return &zygotes->ready;
}

uint64_t px_zygotes_memory(const struct px_zygotes *zygotes)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < zygotes->count; i++)
        if (__atomic_load_n(&zygotes->items[i].socket, __ATOMIC_RELAXED) >= 0)
            bytes += __atomic_load_n(&zygotes->items[i].memory_bytes, __ATOMIC_RELAXED);
    return bytes;
}

struct px_counters *px_zygotes_counters(const struct px_zygotes *zygotes)
{
    return zygotes->counters;
}

px_layers px_zygotes_missing(const struct px_zygotes *zygotes)
{
    return __atomic_load_n(&zygotes->missing, __ATOMIC_RELAXED);
}

static void *grow(void *argument)
{
    struct px_zygotes *zygotes = argument;
    for (size_t i = 0; i < zygotes->count; i++) {
        struct zygote *zygote = &zygotes->items[i];
        pyexec_error ignored; /* a request that finds no free zygote tries again */
        pthread_mutex_lock(&zygote->lock);
        if (zygote->socket < 0 && start_one(zygotes, zygote, &ignored) < 0)
            zygotes->grow_after_ns = px_now_ns() + ZYGOTE_RETRY_NS;
        pthread_mutex_unlock(&zygote->lock);
    }
    __atomic_store_n(&zygotes->growing, 0, __ATOMIC_RELEASE);
    return NULL;
}

static bool are_complete(const struct px_zygotes *zygotes)
{
    for (size_t i = 0; i < zygotes->count; i++)
        if (__atomic_load_n(&zygotes->items[i].socket, __ATOMIC_RELAXED) < 0)
            return false;
    return true;
}

void px_zygotes_grow(struct px_zygotes *zygotes)
{
    if (are_complete(zygotes) || __atomic_exchange_n(&zygotes->growing, 1, __ATOMIC_ACQ_REL))
        return;
    if (zygotes->grown)
        pthread_join(zygotes->grower, NULL);
    zygotes->grown = px_now_ns() >= zygotes->grow_after_ns && px_thread_create(&zygotes->grower, grow, zygotes) == 0;
    if (!zygotes->grown)
        __atomic_store_n(&zygotes->growing, 0, __ATOMIC_RELEASE);
}

/* Returns a zygote that lives and is free, with its lock held. If none is free, waits for the next one in turn. */
static struct zygote *acquire(struct px_zygotes *zygotes)
{
    unsigned turn = __atomic_fetch_add(&zygotes->next, 1, __ATOMIC_RELAXED);
    struct zygote *first = NULL;
    for (size_t i = 0; i < zygotes->count; i++) {
        struct zygote *zygote = &zygotes->items[(turn + i) % zygotes->count];
        if (__atomic_load_n(&zygote->socket, __ATOMIC_RELAXED) < 0)
            continue;
        first = first ? first : zygote;
        if (pthread_mutex_trylock(&zygote->lock) == 0)
            return zygote;
    }
    first = first ? first : &zygotes->items[0];
    pthread_mutex_lock(&first->lock);
    return first;
}

void px_cloned_close(struct px_cloned *cloned)
{
    px_close_fd(&cloned->pidfd);
    px_close_fd(&cloned->workspace);
    px_close_fd(&cloned->listener);
}

enum exchanged {
    ANSWERED,
    GONE,   /* the zygote did not read the request: another zygote can get the same descriptors */
    LOST,   /* the zygote read the request and did not answer: a child may hold the descriptors */
    UNREAD, /* the same, because the host can't receive the answer; with errno */
};

/* The caller holds the zygote's lock. */
static enum exchanged exchange(struct zygote *zygote, const struct px_clone_request *request, const int *fds,
                               size_t count, struct px_clone_reply *ret, struct px_cloned *ret_fds)
{
    int fds_received[PX_CLONE_FDS] = {-1, -1, -1};
    size_t received;
    *ret_fds = (struct px_cloned){-1, -1, -1};
    if (px_send_fds(zygote->socket, request, sizeof *request, fds, count) < 0)
        return GONE;
    errno = 0;
    if (!await_readable(zygote->socket, deadline_after(HANG_TIMEOUT_MS)))
        return errno == ENOMEM ? UNREAD : LOST; /* poll(2) */
    ssize_t n = px_receive_fds(zygote->socket, ret, sizeof *ret, fds_received, PX_CLONE_FDS, &received);
    if (n == sizeof *ret && ret->magic == PX_LAUNCH_MAGIC) {
        size_t next = 0;
        if (request->op != PX_CLONE_WORKSPACE)
            ret_fds->pidfd = fds_received[next++];
        if (request->workspace == PX_WORKSPACE_NEW)
            ret_fds->workspace = fds_received[next++];
        ret_fds->listener = fds_received[next];
        return ANSWERED;
    }
    int saved = errno;
    px_close_fds(fds_received, PX_CLONE_FDS);
    errno = saved;
    if (n >= 0)
        return LOST;
    /* The kernel reports a reset if the socket was closed with unread data, and otherwise its end
     * (unix_release_sock() in net/unix/af_unix.c). */
    return saved == ECONNRESET ? GONE : UNREAD;
}

void px_zygotes_expect_displays(struct px_zygotes *zygotes)
{
    __atomic_store_n(&zygotes->displays, 1, __ATOMIC_RELAXED);
}

int px_zygotes_clone(struct px_zygotes *zygotes, struct px_clone_request *request, const int *fds, size_t count,
                     struct px_clone_reply *ret, struct px_cloned *ret_fds, bool *ret_lost, pyexec_error *error)
{
    *ret_lost = false;
    request->magic = PX_LAUNCH_MAGIC;
    request->displays = __atomic_load_n(&zygotes->displays, __ATOMIC_RELAXED);
    request->slot = __atomic_fetch_add(&zygotes->slot, 1, __ATOMIC_RELAXED);
    /* All zygotes may have died unnoticed. Give up only if a zygote that was started for this very
     * request ends at once too. */
    for (int started = 0; started < 2;) {
        struct zygote *zygote = acquire(zygotes);
        bool was_gone = zygote->socket < 0;
        int result = was_gone ? start_one(zygotes, zygote, error) : 0;
        enum exchanged exchanged = ANSWERED;
        if (result == 0)
            exchanged = exchange(zygote, request, fds, count, ret, ret_fds);
        int saved = errno;
        if (exchanged != ANSWERED || (result == 0 && ++zygote->clones >= CLONES_MAX))
            end_zygote(zygote);
        pthread_mutex_unlock(&zygote->lock);
        started += was_gone;
        if (result < 0)
            return -1;
        if (exchanged == UNREAD)
            return px_error_errno(error, PYEXEC_INTERNAL, saved, "the host can't receive the zygote's answer");
        if (exchanged == LOST) {
            *ret_lost = true;
            return px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "the zygote ended before it answered");
        }
        if (exchanged == GONE)
            continue;
        if (ret->error.code != PYEXEC_OK) {
            px_cloned_close(ret_fds);
            *error = ret->error;
            return -1;
        }
        px_count(&zygotes->counters->forks, 1);
        return 0;
    }
    return px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "the zygote ended twice in a row");
}
