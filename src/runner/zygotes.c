/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/zygotes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/thread.h"
#include "runner/zygotes_private.h"

#define ZYGOTE_RETRY_NS INT64_C(1000000000) /* pause after a start in the background that failed */
/* All children of one zygote have the same address layout and the same heap, so no zygote should live as long as
 * the host. Starting one costs as much as about thirty runs. */
#define CLONES_MAX 10000

static enum px_network network_of(const struct px_policy *policy)
{
    return policy->allowed_hosts.count  ? PX_NETWORK_NAMES
           : policy->disable_networking ? PX_NETWORK_NONE
                                        : PX_NETWORK_HOST;
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
    int result = first->socket < 0 ? px_zygote_start_process(zygotes, first, error) : 0;
    pthread_mutex_unlock(&first->lock);
    return result;
}

void px_zygotes_free(struct px_zygotes *zygotes)
{
    if (!zygotes)
        return;
    if (zygotes->grown)
        pthread_join(zygotes->grower, NULL);
    for (size_t i = 0; i < zygotes->count; i++) {
        px_zygote_end_process(&zygotes->items[i]);
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
        if (zygote->socket < 0 && px_zygote_start_process(zygotes, zygote, &ignored) < 0)
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
    if (!px_zygote_await_readable(zygote))
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
        int result = was_gone ? px_zygote_start_process(zygotes, zygote, error) : 0;
        enum exchanged exchanged = ANSWERED;
        if (result == 0)
            exchanged = exchange(zygote, request, fds, count, ret, ret_fds);
        int saved = errno;
        if (exchanged != ANSWERED || (result == 0 && ++zygote->clones >= CLONES_MAX))
            px_zygote_end_process(zygote);
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
