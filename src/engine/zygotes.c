#include "engine/zygotes.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"

#define READY_TIMEOUT_MS 30000
#define HANG_TIMEOUT_MS 10000       /* without preloads */
#define ZYGOTES_MAX 64

struct zygote {
    pthread_mutex_t lock;       /* one request and its answer at a time */
    int socket;                 /* -1: not started, or dead; written under the lock, looked at
                                 * without it */
    pid_t pid;
    struct px_zygote_ready ready;
};

struct px_zygotes {
    struct px_launcher *launcher;
    char *python;
    char *python_bin;
    bool isolate_site, network;
    struct px_strings preloads;
    px_layers allow_missing, missing;
    struct px_launcher_options ids;
    size_t count;
    struct zygote items[ZYGOTES_MAX];
    unsigned next;
    uint32_t slot;
    pthread_t grower;
    int grown;                  /* 0 not yet, 1 asked for */
};

/* It ended before it was Python: a layer that the launcher could not try. Marks it as missing. */
static int layer_refused(struct px_zygotes *zygotes, enum px_layer layer, const char *text,
                         pyexec_error *error)
{
    const struct px_layer_info *info = px_layer_info(layer);
    __atomic_fetch_or(&zygotes->missing, PX_LAYER_BIT(layer), __ATOMIC_RELAXED);
    px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE,
                 "this kernel or container refuses the layer '%s' (%s): %s", info->name,
                 info->gives, text);
    return px_error_hint(error, "%s. Or run with less protection: --allow-missing %s.",
                         info->remedy, info->name);
}

static int zygote_failed(struct px_zygotes *zygotes, pid_t pid, int log, const char *what,
                         pyexec_error *error)
{
    char text[700] = "";
    off_t end = lseek(log, 0, SEEK_END);
    ssize_t n = end > 0 ? pread(log, text, sizeof text - 1, end > 600 ? end - 600 : 0) : 0;
    text[n > 0 ? n : 0] = '\0';
    while (n > 0 && text[n - 1] == '\n')
        text[--n] = '\0';
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ')
            *at = ' ';
    struct px_launch_event event;
    char how[64] = "";
    int known = px_launcher_await_exit(zygotes->launcher, pid, 100, &event);
    int layer = known == 0 && event.code == CLD_EXITED ? event.status - PX_ZYGOTE_EXIT_LAYER : -1;
    if (layer >= 0 && layer < PX_LAYER_COUNT)
        return layer_refused(zygotes, (enum px_layer)layer, text, error);
    if (known == 0)
        snprintf(how, sizeof how, " (%s %d)", event.code == CLD_EXITED ? "exit status" : "signal",
                 event.status);
    px_error_set(error, PYEXEC_PYTHON_UNSUPPORTED, "python_bin: '%s' %s%s%s%s", zygotes->python,
                 what, how, text[0] ? ": " : "", text);
    return px_error_hint(error, "pyexec needs CPython 3.8 or later, with the GIL and working: try "
                                "`%s -I -S -c pass`.", zygotes->python);
}

/* Sends the start message and waits for "ready". */
static int greet(struct px_zygotes *zygotes, struct zygote *zygote, int socket, int log,
                 pyexec_error *error)
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
    };
    struct px_buffer px_auto_buffer names = {0};
    for (size_t i = 0; i < zygotes->preloads.count; i++)
        px_buffer_add(&names, zygotes->preloads.items[i], strlen(zygotes->preloads.items[i]) + 1);
    start.preload_bytes = (uint32_t)names.length;
    if (names.length >= PX_ZYGOTE_PRELOAD_MAX)
        return px_error_set(error, PYEXEC_INVALID_POLICY, "preload_imports: longer than %d bytes",
                            PX_ZYGOTE_PRELOAD_MAX);
    int timeout = zygotes->preloads.count ? READY_TIMEOUT_MS : HANG_TIMEOUT_MS;
    struct pollfd polled = {socket, POLLIN, 0};
    if (px_send_fds(socket, &start, sizeof start, NULL, 0) == 0 &&
        (!names.length || px_send_fds(socket, names.data, names.length, NULL, 0) == 0) &&
        poll(&polled, 1, timeout) == 0)
        return zygote_failed(zygotes, zygote->pid, log, "hangs at start", error);
    ssize_t n = px_receive_fds(socket, &zygote->ready, sizeof zygote->ready, NULL, 0, NULL);
    if (n != sizeof zygote->ready || zygote->ready.magic != PX_LAUNCH_MAGIC)
        return zygote_failed(zygotes, zygote->pid, log, "does not start as a Python", error);
    if (zygote->ready.error.code != PYEXEC_OK) {
        *error = zygote->ready.error;
        return -1;
    }
    return 0;
}

static int try_start(struct px_zygotes *zygotes, struct zygote *zygote, pyexec_error *error)
{
    px_auto_fd int socket = -1, log = -1;
    px_layers missing = 0;
    if (px_launcher_start_zygote(zygotes->launcher, zygotes->python, zygotes->isolate_site,
                                 zygotes->network, px_zygotes_missing(zygotes), &socket, &log,
                                 &zygote->pid, &missing, error) < 0)
        return -1;
    __atomic_fetch_or(&zygotes->missing, missing, __ATOMIC_RELAXED);
    if (greet(zygotes, zygote, socket, log, error) < 0)
        return -1;
    __atomic_fetch_or(&zygotes->missing, zygote->ready.missing, __ATOMIC_RELAXED);
    px_launcher_forget(zygotes->launcher, zygote->pid);
    __atomic_store_n(&zygote->socket, TAKE_FD(socket), __ATOMIC_RELAXED);
    return 0;
}

/* Call with the zygote's lock held. What a try finds refused, the next goes without, if allowed. */
static int start_one(struct px_zygotes *zygotes, struct zygote *zygote, pyexec_error *error)
{
    for (;;) {
        px_layers before = px_zygotes_missing(zygotes);
        int result = try_start(zygotes, zygote, error);
        px_layers found = px_zygotes_missing(zygotes) & ~before;
        if (result == 0 || error->code != PYEXEC_SANDBOX_UNAVAILABLE || !found ||
            found & ~zygotes->allow_missing)
            return result;
    }
}

int px_zygotes_new(struct px_launcher *launcher, const struct px_policy *policy,
                   const char *python, size_t wanted, px_layers allow_missing,
                   const struct px_launcher_options *ids, struct px_zygotes **ret,
                   pyexec_error *error)
{
    struct px_zygotes *zygotes = calloc(1, sizeof *zygotes);
    if (!zygotes)
        return px_error_oom(error);
    zygotes->launcher = launcher;
    zygotes->allow_missing = allow_missing;
    zygotes->missing = px_launcher_missing(launcher);
    zygotes->ids = *ids;
    zygotes->count = wanted < 1 ? 1 : wanted > ZYGOTES_MAX ? ZYGOTES_MAX : wanted;
    for (size_t i = 0; i < zygotes->count; i++) {
        zygotes->items[i].socket = -1;
        pthread_mutex_init(&zygotes->items[i].lock, NULL);
    }
    zygotes->isolate_site = policy->isolate_site;
    zygotes->network = !policy->disable_networking;
    zygotes->python = strdup(python);
    zygotes->python_bin = strdup(policy->python_bin);
    int result = zygotes->python && zygotes->python_bin ? 0 : px_error_oom(error);
    for (size_t i = 0; result == 0 && i < policy->preload_imports.count; i++)
        if (px_strings_add(&zygotes->preloads, policy->preload_imports.items[i],
                           strlen(policy->preload_imports.items[i])) < 0)
            result = px_error_oom(error);
    if (result == 0)
        result = start_one(zygotes, &zygotes->items[0], error);
    if (result < 0) {
        px_zygotes_free(zygotes);
        return -1;
    }
    *ret = zygotes;
    return 0;
}

void px_zygotes_free(struct px_zygotes *zygotes)
{
    if (!zygotes)
        return;
    if (zygotes->grown)
        pthread_join(zygotes->grower, NULL);
    for (size_t i = 0; i < zygotes->count; i++) {
        px_close_fd(&zygotes->items[i].socket);
        pthread_mutex_destroy(&zygotes->items[i].lock);
    }
    px_strings_done(&zygotes->preloads);
    free(zygotes->python);
    free(zygotes->python_bin);
    free(zygotes);
}

bool px_zygotes_match(const struct px_zygotes *zygotes, const struct px_policy *policy)
{
    if (zygotes->isolate_site != policy->isolate_site ||
        zygotes->network == policy->disable_networking ||
        strcmp(zygotes->python_bin, policy->python_bin) != 0 ||
        zygotes->preloads.count != policy->preload_imports.count)
        return false;
    for (size_t i = 0; i < zygotes->preloads.count; i++)
        if (strcmp(zygotes->preloads.items[i], policy->preload_imports.items[i]) != 0)
            return false;
    return true;
}

const char *px_zygotes_python(const struct px_zygotes *zygotes)
{
    return zygotes->python;
}

const struct px_zygote_ready *px_zygotes_ready(const struct px_zygotes *zygotes)
{
    return &zygotes->items[0].ready;
}

px_layers px_zygotes_missing(const struct px_zygotes *zygotes)
{
    return __atomic_load_n(&zygotes->missing, __ATOMIC_RELAXED);
}

static void *grow(void *argument)
{
    struct px_zygotes *zygotes = argument;
    for (size_t i = 1; i < zygotes->count; i++) {
        struct zygote *zygote = &zygotes->items[i];
        pyexec_error ignored;       /* the next request that finds none free tries again */
        pthread_mutex_lock(&zygote->lock);
        if (zygote->socket < 0)
            start_one(zygotes, zygote, &ignored);
        pthread_mutex_unlock(&zygote->lock);
    }
    return NULL;
}

void px_zygotes_grow(struct px_zygotes *zygotes)
{
    if (zygotes->count < 2 || __atomic_exchange_n(&zygotes->grown, 1, __ATOMIC_ACQ_REL))
        return;
    if (pthread_create(&zygotes->grower, NULL, grow, zygotes) != 0)
        __atomic_store_n(&zygotes->grown, 0, __ATOMIC_RELEASE);
}

/* A live zygote that is free, locked; else the next in turn, waiting for it. */
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

/* The answer, or -1 when the zygote is gone. Call with its lock held. */
static int exchange(struct zygote *zygote, const struct px_clone_request *request, const int *fds,
                    size_t count, struct px_clone_reply *ret, int ret_fds[2])
{
    ret_fds[0] = ret_fds[1] = -1;
    if (px_send_fds(zygote->socket, request, sizeof *request, fds, count) < 0)
        return -1;
    ssize_t n = px_receive_fds(zygote->socket, ret, sizeof *ret, ret_fds, 2, NULL);
    if (n == sizeof *ret && ret->magic == PX_LAUNCH_MAGIC)
        return 0;
    px_close_fds(ret_fds, 2);
    return -1;
}

int px_zygotes_clone(struct px_zygotes *zygotes, struct px_clone_request *request, const int *fds,
                     size_t count, struct px_clone_reply *ret, int ret_fds[2],
                     pyexec_error *error)
{
    request->magic = PX_LAUNCH_MAGIC;
    request->slot = __atomic_fetch_add(&zygotes->slot, 1, __ATOMIC_RELAXED);
    for (int attempt = 0; attempt < 2; attempt++) {
        struct zygote *zygote = acquire(zygotes);
        int result = zygote->socket < 0 ? start_one(zygotes, zygote, error) : 0;
        bool gone = false;
        if (result == 0) {
            gone = exchange(zygote, request, fds, count, ret, ret_fds) < 0;
            if (gone)
                close(__atomic_exchange_n(&zygote->socket, -1, __ATOMIC_RELAXED));
        }
        pthread_mutex_unlock(&zygote->lock);
        if (result < 0)
            return -1;
        if (gone)
            continue;
        if (ret->error.code != PYEXEC_OK) {
            px_close_fds(ret_fds, 2);
            *error = ret->error;
            return -1;
        }
        return 0;
    }
    return px_error_set(error, PYEXEC_SANDBOX_UNAVAILABLE, "the zygote ended twice in a row");
}
