/* SPDX-License-Identifier: Apache-2.0 */
#include "executor/zygote_kinds.h"

#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "environments/environment.h"
#include "executor/host_memory.h"

#define PART_OF_MEMORY 4 /* without zygote_memory, kinds may take a quarter of the machine's memory */
#define MEMORY_LEAST (256u << 20)
#define DESCRIPTORS_OF_A_KIND \
    24 /* of the host: two zygotes, two waiting children, the environment's lock, and some reserve */
#define COUNT_LEAST 8
#define FULL_POOLS 8 /* so many kinds in use can have pools of the full size; more kinds share as many children */
#define POOL_LEAST 2 /* children for each shape, however many kinds there are */
#define CHECK_NS INT64_C(1000000000)

uint64_t px_kinds_memory_max(const struct px_host *host)
{
    struct px_host_memory memory;
    if (host->zygote_memory)
        return (uint64_t)host->zygote_memory;
    px_host_memory_read(&memory);
    return memory.total_bytes / PART_OF_MEMORY < MEMORY_LEAST ? MEMORY_LEAST : memory.total_bytes / PART_OF_MEMORY;
}

void px_kinds_init(struct px_kinds *kinds, const struct px_host *host)
{
    struct rlimit files;
    *kinds = (struct px_kinds){.memory_max = px_kinds_memory_max(host), .count_max = SIZE_MAX};
    kinds->pool_size = (size_t)host->pool_size;
    kinds->pool_idle_ns = host->pool_idle_ms * PX_NS_PER_MS;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY) {
        kinds->count_max = (size_t)files.rlim_cur / 2 / DESCRIPTORS_OF_A_KIND;
        if (kinds->count_max < COUNT_LEAST)
            kinds->count_max = COUNT_LEAST;
    }
}

static void end_kind(struct px_zygote_group *kind)
{
    px_pool_free(kind->pool);
    px_zygotes_free(kind->zygotes);
    free(kind);
}

size_t px_kinds_end_removed(struct px_zygote_group *removed)
{
    size_t count = 0;
    for (struct px_zygote_group *next; removed; removed = next, count++) {
        next = removed->next;
        end_kind(removed);
    }
    return count;
}

void px_kinds_ended(struct px_kinds *kinds, size_t count)
{
    kinds->ending -= count;
}

void px_kinds_end_all(struct px_kinds *kinds)
{
    px_kinds_end_removed(kinds->first);
    kinds->first = NULL;
    kinds->count = 0;
}

bool px_kinds_busy(const struct px_kinds *kinds)
{
    for (const struct px_zygote_group *kind = kinds->first; kind; kind = kind->next)
        if (kind->users)
            return true;
    return kinds->ending > 0;
}

/* Takes it out of the list. It still has users, or the caller puts it into the list of removed kinds. */
static void unlink_kind(struct px_kinds *kinds, struct px_zygote_group *kind)
{
    struct px_zygote_group **at = &kinds->first;
    while (*at != kind)
        at = &(*at)->next;
    *at = kind->next;
    kind->next = NULL;
    kind->removed = true;
    kinds->count--;
    /* Its users count as an end in progress: the launcher must wait for them. */
    kinds->ending++;
}

static void remove_kind(struct px_kinds *kinds, struct px_zygote_group *kind, struct px_zygote_group **removed)
{
    if (!kind->removed)
        unlink_kind(kinds, kind);
    kind->next = *removed;
    *removed = kind;
}

/* ---- Memory ---- */

static uint64_t memory_of(const struct px_kinds *kinds)
{
    uint64_t bytes = 0;
    for (const struct px_zygote_group *kind = kinds->first; kind; kind = kind->next)
        bytes += px_zygotes_memory(kind->zygotes);
    return bytes;
}

static struct px_zygote_group *least_recently_used(const struct px_kinds *kinds, size_t *ret_idle)
{
    struct px_zygote_group *oldest = NULL;
    *ret_idle = 0;
    for (struct px_zygote_group *kind = kinds->first; kind; kind = kind->next) {
        if (kind->users)
            continue;
        ++*ret_idle;
        if (!oldest || kind->used < oldest->used)
            oldest = kind;
    }
    return oldest;
}

/* Removes kinds that nobody uses until the rest is within the bounds. */
static void trim(struct px_kinds *kinds, struct px_zygote_group **removed)
{
    uint64_t bytes = memory_of(kinds);
    size_t idle;
    struct px_zygote_group *oldest = least_recently_used(kinds, &idle);
    while (oldest && (bytes > kinds->memory_max || idle > kinds->count_max)) {
        bytes -= px_zygotes_memory(oldest->zygotes);
        remove_kind(kinds, oldest, removed);
        oldest = least_recently_used(kinds, &idle);
    }
}

/* ---- Pools ---- */

/* Gives each pool its part of the waiting children. Kinds that were not used for some time have none, and do not count. */
static void share_pools(struct px_kinds *kinds, int64_t now)
{
    size_t active = 0;
    for (const struct px_zygote_group *kind = kinds->first; kind; kind = kind->next)
        active += kind->users || now - kind->used_ns < kinds->pool_idle_ns;
    size_t size = active <= FULL_POOLS ? kinds->pool_size : FULL_POOLS * kinds->pool_size / active;
    if (size < POOL_LEAST)
        size = POOL_LEAST < kinds->pool_size ? POOL_LEAST : kinds->pool_size;
    for (const struct px_zygote_group *kind = kinds->first; kind; kind = kind->next)
        if (kind->pool)
            px_pool_set_size(kind->pool, size);
    kinds->shared_ns = now;
}

/* ---- Use ---- */

/* Done once a second: warm zygotes must not be used after the interpreter was replaced or packages were
 * installed. */
static bool is_fresh(struct px_zygote_group *kind, int64_t now)
{
    if (!kind->stale && now - kind->checked_ns > CHECK_NS) {
        struct px_python_stamp stamp;
        px_python_stamp_take(px_zygotes_python(kind->zygotes), &stamp);
        kind->stale = memcmp(&stamp, &kind->stamp, sizeof stamp) != 0;
        kind->checked_ns = now;
    }
    return !kind->stale;
}

/* Environments that were updated or removed: no call will ask for these kinds again, and they keep the old files from being
 * removed. */
static void remove_outdated(struct px_kinds *kinds, struct px_zygote_group **removed)
{
    for (struct px_zygote_group *kind = kinds->first, *next; kind; kind = next) {
        next = kind->next;
        const struct px_environment *environment = px_zygotes_environment(kind->zygotes);
        if (!environment || px_environment_is_current(environment))
            continue;
        kind->stale = true;
        if (!kind->users)
            remove_kind(kinds, kind, removed);
    }
}

void px_kinds_use(struct px_kinds *kinds, struct px_zygote_group *kind)
{
    kind->users++;
    kind->used = ++kinds->uses;
    kind->used_ns = px_now_ns();
}

struct px_zygote_group *px_kinds_find(struct px_kinds *kinds, const struct px_policy *policy,
                                      struct px_zygote_group **removed)
{
    int64_t now = px_now_ns();
    if (now - kinds->shared_ns > CHECK_NS) {
        remove_outdated(kinds, removed);
        share_pools(kinds, now);
    }
    for (struct px_zygote_group *kind = kinds->first, *next; kind; kind = next) {
        next = kind->next;
        if (!px_zygotes_match(kind->zygotes, policy))
            continue;
        if (kind->state == PX_KIND_STARTING || is_fresh(kind, now))
            return kind;
        if (!kind->users)
            remove_kind(kinds, kind, removed);
    }
    return NULL;
}

static int too_much(const struct px_kinds *kinds, uint64_t bytes, pyexec_error *error)
{
    px_error_set(error, PYEXEC_OVERLOADED,
                 "zygote_memory: runs or sessions use %zu different environments, interpreters or preload sets, whose "
                 "zygotes take %" PRIu64 " MiB, and %" PRIu64 " MiB are allowed",
                 kinds->count, bytes >> 20, kinds->memory_max >> 20);
    return px_error_hint(error, "Try again when some of them have ended, or raise [host] zygote_memory.");
}

struct px_zygote_group *px_kinds_add(struct px_kinds *kinds, struct px_zygotes *zygotes,
                                     struct px_zygote_group **removed, pyexec_error *error)
{
    trim(kinds, removed);
    uint64_t bytes = memory_of(kinds);
    if (bytes > kinds->memory_max) {
        too_much(kinds, bytes, error);
        return NULL;
    }
    struct px_zygote_group *kind = calloc(1, sizeof *kind);
    if (!kind) {
        px_error_oom(error);
        return NULL;
    }
    kind->zygotes = zygotes;
    px_kinds_use(kinds, kind);
    kind->next = kinds->first;
    kinds->first = kind;
    kinds->count++;
    return kind;
}

void px_kinds_ready(struct px_kinds *kinds, struct px_zygote_group *kind, struct px_pool *pool,
                    const struct px_python_stamp *stamp, struct px_zygote_group **removed)
{
    kind->state = PX_KIND_READY;
    kind->pool = pool;
    kind->stamp = *stamp;
    kind->checked_ns = px_now_ns();
    trim(kinds, removed);
    share_pools(kinds, kind->checked_ns);
}

void px_kinds_failed(struct px_kinds *kinds, struct px_zygote_group *kind, const pyexec_error *error)
{
    kind->state = PX_KIND_FAILED;
    kind->error = *error;
    unlink_kind(kinds, kind);
}

void px_kinds_release(struct px_kinds *kinds, struct px_zygote_group *kind, struct px_zygote_group **removed)
{
    if (--kind->users)
        return;
    if (kind->removed || kind->stale)
        remove_kind(kinds, kind, removed);
    else
        trim(kinds, removed);
}
