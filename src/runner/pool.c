/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/pool.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/retry.h"
#include "base/thread.h"

#define SHAPES_MAX 4
#define SIZE_MAX_PER_SHAPE 256
#define FILLED_FROM 2                     /* the request for a shape after which the pool makes children of it */
#define QUIET_NS INT64_C(1000000)         /* pause before a child is made while the pool has enough */
#define POOL_RETRY_NS INT64_C(1000000000) /* pause after a clone that failed */

struct waiting {
    struct px_child child;
    int64_t since_ns;
    int64_t cloned_real_ns; /* by the clock that the child reads too */
    bool locked;            /* its LOCKED was read */
};

struct pool_shape {
    struct px_clone_request key;
    struct waiting *children; /* the oldest first */
    size_t count;
    uint64_t asked;
    int64_t last_ns;
};

struct px_pool {
    struct px_launcher *launcher;
    struct px_zygotes *zygotes;
    size_t made_for; /* children that each shape has room for */
    size_t size;     /* children that it keeps for each shape now */
    int64_t idle_ns;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closing;
    int64_t not_before_ns;
    bool crowded; /* the last child waited for a CPU while it set itself up */
    bool drained; /* a run found no locked child, and the pool has not been full since */
    struct pool_shape shapes[SHAPES_MAX];
    pthread_t filler;
};

static void empty(struct pool_shape *shape)
{
    for (size_t i = 0; i < shape->count; i++)
        px_child_done(&shape->children[i].child);
    shape->count = 0;
}

static void remove_child(struct pool_shape *shape, size_t place)
{
    shape->count--;
    memmove(&shape->children[place], &shape->children[place + 1], (shape->count - place) * sizeof *shape->children);
}

/* Returns a shape that needs children, or NULL if all have enough or none is asked for. *ret_when: when to ask again.
 * While more than half of the children wait, a new one is made a little later: the end of the last run and the threads that its
 * caller must wake to pass on the answer get the CPUs first. */
static struct pool_shape *hungry(struct px_pool *pool, int64_t now, int64_t *ret_when)
{
    *ret_when = INT64_MAX;
    if (now < pool->not_before_ns)
        return NULL;
    for (size_t i = 0; i < SHAPES_MAX; i++) {
        struct pool_shape *shape = &pool->shapes[i];
        if (shape->asked < FILLED_FROM || shape->count >= pool->size || now - shape->last_ns >= pool->idle_ns)
            continue;
        int64_t when = 2 * shape->count > pool->size ? shape->last_ns + QUIET_NS : now;
        if (when <= now)
            return shape;
        *ret_when = when < *ret_when ? when : *ret_when;
    }
    return NULL;
}

/* Ends the oldest children of shapes that have more than the pool may keep now. */
static void shrink(struct px_pool *pool)
{
    for (size_t i = 0; i < SHAPES_MAX; i++) {
        struct pool_shape *shape = &pool->shapes[i];
        while (shape->count > pool->size) {
            px_child_done(&shape->children[0].child);
            remove_child(shape, 0);
        }
    }
}

/* Ends children that have waited too long. Returns when to check again, or INT64_MAX. */
static int64_t expire(struct px_pool *pool, int64_t now)
{
    int64_t next = now < pool->not_before_ns ? pool->not_before_ns : INT64_MAX;
    for (size_t i = 0; i < SHAPES_MAX; i++) {
        struct pool_shape *shape = &pool->shapes[i];
        if (!shape->count)
            continue;
        int64_t end = shape->last_ns + pool->idle_ns;
        if (end <= now)
            empty(shape);
        else if (end < next)
            next = end;
    }
    return next;
}

static void wait_until(struct px_pool *pool, int64_t when)
{
    if (when == INT64_MAX) {
        pthread_cond_wait(&pool->changed, &pool->lock);
        return;
    }
    px_cond_wait_until(&pool->changed, &pool->lock, when);
}

/* Reads the LOCKED of children that have sent it. The CPU time that a child used shows how long the rest of its set-up
 * took: if it had to wait for half as long as it ran, others need the CPUs. */
static void read_locked(struct px_pool *pool, struct pool_shape *shape)
{
    for (size_t i = 0; i < shape->count; i++) {
        struct waiting *one = &shape->children[i];
        struct px_locked locked;
        if (one->locked || !px_child_read_locked(&one->child, &locked))
            continue;
        one->locked = true;
        pool->crowded = locked.real_ns - one->cloned_real_ns > locked.cpu_ns + locked.cpu_ns / 2;
    }
}

/* Clones one child, without the lock. Warming costs about half as much CPU time as a run, and makes the run faster by
 * less. So a child is warmed only while a CPU has nothing else to do. Each locked child says how long it waited for a CPU. Under load
 * this alone is misleading, because children that got a CPU at once are locked first. So children are also not warmed while runs take
 * children faster than they are made. */
static void add_child(struct px_pool *pool, struct pool_shape *shape)
{
    enum { PATIENCE_MS = 20 };
    struct px_clone_request key = shape->key;
    struct px_child child;
    pyexec_error ignored; /* ignore the error here; the next run that clones directly reports it */
    key.warm = !pool->crowded && !pool->drained;
    uint64_t asked = shape->asked;
    pthread_mutex_unlock(&pool->lock);
    int failed = px_child_start(&child, pool->launcher, pool->zygotes, &key, -1, -1, &ignored);
    int64_t since = px_now_ns(), cloned_real = px_clock_ns(CLOCK_REALTIME);
    if (!failed)
        px_child_open_facts(&child);
    pthread_mutex_lock(&pool->lock);
    bool hurry = shape->asked != asked;
    pthread_mutex_unlock(&pool->lock);
    /* While nobody asks, one child sets itself up after the other, so that they do not wait for each other. */
    struct pollfd polled = {failed ? -1 : child.channel, POLLIN, 0};
    if (!failed && !hurry)
        (void)!px_poll(&polled, 1, PATIENCE_MS);
    pthread_mutex_lock(&pool->lock);
    key.warm = 0;
    bool wanted = !failed && !pool->closing && shape->count < pool->size && memcmp(&shape->key, &key, sizeof key) == 0;
    if (failed)
        pool->not_before_ns = px_now_ns() + POOL_RETRY_NS;
    if (wanted) {
        shape->children[shape->count++] =
            (struct waiting){.child = child, .since_ns = since, .cloned_real_ns = cloned_real};
        px_count(&px_zygotes_counters(pool->zygotes)->pool_refills, 1);
        read_locked(pool, shape);
    } else {
        px_child_done(&child);
    }
}

static void *fill(void *argument)
{
    struct px_pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    while (!pool->closing) {
        int64_t now = px_now_ns();
        int64_t later, expiry;
        shrink(pool);
        struct pool_shape *shape = hungry(pool, now, &later);
        if (shape) {
            add_child(pool, shape);
            continue;
        }
        if (later == INT64_MAX)
            pool->drained = false;
        expiry = expire(pool, now);
        wait_until(pool, later < expiry ? later : expiry);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static void release(struct px_pool *pool)
{
    for (size_t i = 0; i < SHAPES_MAX; i++)
        free(pool->shapes[i].children);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

int px_pool_new(struct px_launcher *launcher, struct px_zygotes *zygotes, size_t size, int64_t idle_ms,
                struct px_pool **ret, pyexec_error *error)
{
    struct px_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return px_error_oom(error);
    pool->launcher = launcher;
    pool->zygotes = zygotes;
    pool->size = pool->made_for = size > SIZE_MAX_PER_SHAPE ? SIZE_MAX_PER_SHAPE : size;
    pool->idle_ns = idle_ms * PX_NS_PER_MS;
    px_cond_init(&pool->changed);
    pthread_mutex_init(&pool->lock, NULL);
    for (size_t i = 0; i < SHAPES_MAX; i++)
        if (!(pool->shapes[i].children = calloc(pool->made_for, sizeof(struct waiting)))) {
            release(pool);
            return px_error_oom(error);
        }
    int failed = px_thread_create(&pool->filler, fill, pool);
    if (failed) {
        release(pool);
        return px_error_exhausted(error, failed, "can't start a thread");
    }
    *ret = pool;
    return 0;
}

void px_pool_set_size(struct px_pool *pool, size_t size)
{
    pthread_mutex_lock(&pool->lock);
    if (size > pool->made_for)
        size = pool->made_for;
    bool changes = size != pool->size;
    pool->size = size;
    if (changes)
        pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
}

void px_pool_free(struct px_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    pthread_join(pool->filler, NULL);
    for (size_t i = 0; i < SHAPES_MAX; i++)
        empty(&pool->shapes[i]);
    release(pool);
}

/* Returns the place of the shape, or the place of the shape that was last asked for the longest time ago. */
static struct pool_shape *find_shape(struct px_pool *pool, const struct px_clone_request *key)
{
    struct pool_shape *oldest = &pool->shapes[0];
    for (size_t i = 0; i < SHAPES_MAX; i++) {
        struct pool_shape *shape = &pool->shapes[i];
        if (shape->asked && memcmp(&shape->key, key, sizeof *key) == 0)
            return shape;
        if (shape->last_ns < oldest->last_ns)
            oldest = shape;
    }
    empty(oldest);
    oldest->key = *key;
    oldest->asked = 0;
    return oldest;
}

/* Returns the place of the child for the next run, or -1. The newest child that is locked is the one whose memory is
 * still in the CPU's caches. A child that has waited for `age_ns` goes first, so that none waits for ever while newer
 * ones serve. If none is locked yet, the oldest will be the first. */
static ptrdiff_t choose(struct px_pool *pool, struct pool_shape *shape)
{
    if (!shape->count)
        return -1;
    read_locked(pool, shape);
    if (px_now_ns() - shape->children[0].since_ns < pool->idle_ns)
        for (size_t i = shape->count; i-- > 0;)
            if (shape->children[i].locked)
                return (ptrdiff_t)i;
    return 0;
}

/* Takes out the child of this place. Returns false, and ends it, if it has died while it waited. */
static bool take(struct pool_shape *shape, size_t place, struct px_child *ret, bool *ret_locked)
{
    struct px_child child = shape->children[place].child;
    *ret_locked = shape->children[place].locked;
    remove_child(shape, place);
    if (!px_child_alive(&child)) {
        px_child_done(&child);
        return false;
    }
    *ret = child;
    return true;
}

bool px_pool_take(struct px_pool *pool, const struct px_clone_request *key, struct px_child *ret, bool *ret_locked)
{
    bool found = false;
    pthread_mutex_lock(&pool->lock);
    struct pool_shape *shape = find_shape(pool, key);
    shape->asked++;
    shape->last_ns = px_now_ns();
    for (ptrdiff_t place; !found && (place = choose(pool, shape)) >= 0;)
        found = take(shape, (size_t)place, ret, ret_locked);
    if (shape->asked > FILLED_FROM && !(found && *ret_locked))
        pool->drained = true;
    pthread_mutex_unlock(&pool->lock);
    struct px_counters *counters = px_zygotes_counters(pool->zygotes);
    px_count(found ? &counters->pool_hits : &counters->pool_misses, 1);
    return found;
}

void px_pool_refill(struct px_pool *pool)
{
    pthread_cond_signal(&pool->changed);
}

size_t px_pool_ready(struct px_pool *pool)
{
    size_t count = 0;
    pthread_mutex_lock(&pool->lock);
    for (size_t i = 0; i < SHAPES_MAX; i++)
        count += pool->shapes[i].count;
    pthread_mutex_unlock(&pool->lock);
    return count;
}
