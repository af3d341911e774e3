/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a set of zygotes: zygotes.c has the set and its clones, zygote_start.c how one of them starts. */
#ifndef PX_RUNNER_ZYGOTES_PRIVATE_H
#define PX_RUNNER_ZYGOTES_PRIVATE_H

#include <pthread.h>

#include "runner/zygotes.h"

#define ZYGOTES_MAX 64
#define ZYGOTE_HANG_TIMEOUT_MS 10000 /* limit for everything that a zygote does within milliseconds */

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

/* The caller holds the zygote's lock. Starts its process. When a start finds that a layer is refused, the next start goes without it
 * if that is allowed. A zygote that was killed is started again once. */
int px_zygote_start_process(struct px_zygotes *zygotes, struct zygote *zygote, pyexec_error *error);

/* Ends the zygote by a signal. Closing its socket may not be enough, because a process that the host forked may
 * have a copy. */
void px_zygote_end_process(struct zygote *zygote);

bool px_zygote_await_readable(const struct zygote *zygote);

#endif
