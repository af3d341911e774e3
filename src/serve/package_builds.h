/* SPDX-License-Identifier: Apache-2.0 */
/* Environments that are made for the packages of requests: one process `pyexec env cached` for each list of packages, and few at the
 * same time. The name of an environment follows from its packages, so nothing has to be remembered about it.
 *
 *   the environment is there                           nothing is started
 *   nobody makes it                                    this thread starts the process, and waits for it
 *   another thread makes it                            this thread waits for that one, and gets the same answer
 *
 * The process has the server's rights, and runs outside of any sandbox; only names and versions of allowed packages get here
 * (packages.h). It is killed when the last request that waits for it is cancelled, when the deadline is over, and when the server
 * dies. What a killed one leaves in the store is removed by the next one (env_build/env_store.h). */
#ifndef PX_SERVE_PACKAGE_BUILDS_H
#define PX_SERVE_PACKAGE_BUILDS_H

#include <stdbool.h>
#include <stdint.h>

#include "environments/environment_names.h"
#include "serve/log.h"
#include "serve/metrics.h"
#include "serve/serve.h"

#define PX_BUILD_NAME_SIZE (PX_ENVIRONMENT_NAME_MAX + 1)

enum px_build_outcome { PX_BUILD_FOUND, PX_BUILD_MADE, PX_BUILD_FAILED, PX_BUILD_CANCELLED, PX_BUILD_OUTCOMES };
extern const char *const px_build_outcome_names[PX_BUILD_OUTCOMES];

struct px_builds;

/* `options` and `log` must live longer. */
int px_builds_new(const struct px_serve_options *options, struct px_log *log, struct px_builds **ret,
                  pyexec_error *error);
/* No thread may be in px_builds_get() any more. NULL does nothing. */
void px_builds_free(struct px_builds *builds);

/* What one request wants. */
struct px_build_wish {
    const char *packages;                  /* requirements in their one spelling, sorted, a line for each */
    bool (*is_cancelled)(void *closure);   /* called now and then */
    void (*before_waiting)(void *closure); /* called before the thread waits for anything */
    void *closure;
};

/* Finds or makes the environment; `ret_name` gets its name, or "". PX_BUILD_FAILED: `error` says why. PX_BUILD_CANCELLED: the request was cancelled
 * before it was there. */
enum px_build_outcome px_builds_get(struct px_builds *builds, const struct px_build_wish *wish,
                                    char ret_name[PX_BUILD_NAME_SIZE], pyexec_error *error);

/* True if this is the name of the environment for these packages. */
bool px_builds_is_of(const struct px_builds *builds, const char *packages, const char *name);

struct px_build_counts {
    uint64_t outcomes[PX_BUILD_OUTCOMES];
    unsigned building, waiting; /* processes, and requests that wait */
};
void px_builds_count(struct px_builds *builds, struct px_build_counts *ret);
/* How long the processes took. */
struct px_histogram *px_builds_durations(struct px_builds *builds);

#endif
