/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of zygotes of an executor: one for each interpreter (or environment), preload set, site and network. A kind is started
 * at its first use. Kinds that nobody uses stay warm, the most recently used ones, as long as all kinds together take no more
 * memory than [host] zygote_memory.
 *
 * The functions want the executor's lock held, except where they say otherwise. Ending a kind waits for its threads, so it
 * is done without the lock: the functions that remove kinds put them into a list, for px_kinds_end_removed(). */
#ifndef PX_EXECUTOR_ZYGOTE_KINDS_H
#define PX_EXECUTOR_ZYGOTE_KINDS_H

#include <stdbool.h>

#include "policy/config.h"
#include "runner/interpreter.h"
#include "runner/pool.h"
#include "runner/zygotes.h"

enum px_kind_state {
    PX_KIND_STARTING, /* its first zygote is being started: others that need it wait */
    PX_KIND_READY,
    PX_KIND_FAILED, /* it is no longer in the list; those who waited get its error */
};

struct px_zygote_group {
    struct px_zygote_group *next;
    enum px_kind_state state;
    pyexec_error error; /* of PX_KIND_FAILED */
    struct px_zygotes *zygotes;
    struct px_pool *pool;         /* NULL when [host] pool_size is 0, and until it is ready */
    unsigned users;               /* runs and sessions that are using it */
    uint64_t used;                /* number of its last use */
    int64_t used_ns;              /* time of its last use */
    struct px_python_stamp stamp; /* stamp of the interpreter's files when it was started */
    int64_t checked_ns;           /* when the files were last compared with the stamp */
    bool stale;                   /* the files have changed: no other run may use these zygotes */
    bool removed;                 /* it is no longer in the list */
};

struct px_kinds {
    struct px_zygote_group *first;
    size_t count;
    size_t ending; /* kinds that are removed and not yet ended */
    uint64_t uses; /* counts the uses of all kinds */
    uint64_t memory_max;
    size_t count_max; /* of kinds that nobody uses; the limit of open files sets it */
    size_t pool_size;
    int64_t pool_idle_ns;
    int64_t shared_ns; /* when the pools last got their sizes */
};

/* Returns zygote_memory, or what it stands for on this machine. */
uint64_t px_kinds_memory_max(const struct px_host *host);

/* Takes the bounds from the configuration, the machine's memory and this process's limit of open files. */
void px_kinds_init(struct px_kinds *kinds, const struct px_host *host);

/* The kind for this policy, also if it is being started, or NULL. Removes kinds whose files have changed. */
struct px_zygote_group *px_kinds_find(struct px_kinds *kinds, const struct px_policy *policy,
                                      struct px_zygote_group **removed);
/* Adds a new kind with one user, which is being started. Removes the least recently used ones while the kinds take too much memory. NULL
 * with an error when the kinds in use alone take too much, or when there is no memory. Takes ownership of `zygotes` if it succeeds. */
struct px_zygote_group *px_kinds_add(struct px_kinds *kinds, struct px_zygotes *zygotes,
                                     struct px_zygote_group **removed, pyexec_error *error);
void px_kinds_use(struct px_kinds *kinds, struct px_zygote_group *kind);
/* The end of a start: ready, or failed with `error`. */
void px_kinds_ready(struct px_kinds *kinds, struct px_zygote_group *kind, struct px_pool *pool,
                    const struct px_python_stamp *stamp, struct px_zygote_group **removed);
void px_kinds_failed(struct px_kinds *kinds, struct px_zygote_group *kind, const pyexec_error *error);
void px_kinds_release(struct px_kinds *kinds, struct px_zygote_group *kind, struct px_zygote_group **removed);

/* True while somebody uses a kind, or one is being ended. */
bool px_kinds_busy(const struct px_kinds *kinds);

/* Ends the kinds of the list. Call it without the lock, and tell px_kinds_ended() their number afterwards. */
size_t px_kinds_end_removed(struct px_zygote_group *removed);
void px_kinds_ended(struct px_kinds *kinds, size_t count);

/* Ends all kinds. None may be busy. */
void px_kinds_end_all(struct px_kinds *kinds);

#endif
