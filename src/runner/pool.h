/* SPDX-License-Identifier: Apache-2.0 */
/* Children that wait, locked and warmed, for the next run of their shape. One thread per pool refills it in the
 * background. Children are made only after a shape has been asked for twice, so a program that runs one script
 * pays nothing. Thread-safe. */
#ifndef PX_RUNNER_POOL_H
#define PX_RUNNER_POOL_H

#include "runner/child.h"

struct px_pool;

/* Keeps `size` children for each shape. A shape that is not asked for during `idle_ms` loses its children, and a child
 * that has waited as long serves the next run. */
int px_pool_new(struct px_launcher *launcher, struct px_zygotes *zygotes, size_t size, int64_t idle_ms,
                struct px_pool **ret, pyexec_error *error);
void px_pool_free(struct px_pool *pool);

/* Changes the number of children for each shape, up to the size that it was made with. Those that are too many end. */
void px_pool_set_size(struct px_pool *pool, size_t size);

/* Takes a waiting child, which the caller then owns: the newest that is locked. Returns false if there is none.
 * *ret_locked: its LOCKED was read; otherwise it is the first packet on its channel. */
bool px_pool_take(struct px_pool *pool, const struct px_clone_request *shape, struct px_child *ret, bool *ret_locked);

/* Lets the pool refill. Called after the run, so that refilling takes no CPU time from it. If the pool has enough children, it begins
 * a little later. */
void px_pool_refill(struct px_pool *pool);

/* Returns how many children wait now. */
size_t px_pool_ready(struct px_pool *pool);

#endif
