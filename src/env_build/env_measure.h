/* SPDX-License-Identifier: Apache-2.0 */
/* What the packages of an environment need: each import runs in a sandbox of its own, with wide limits, through the public API. */
#ifndef PX_ENV_BUILD_ENV_MEASURE_H
#define PX_ENV_BUILD_ENV_MEASURE_H

#include "base/json.h"
#include "pyexec.h"

struct env_measure {
    const char *python;    /* the interpreter of the virtual environment */
    const json_t *imports; /* top-level modules */
    const json_t *host;    /* settings of the executor, or NULL */
    void (*say)(void *closure, const char *line);
    void *closure;
};

/* `ret_measured`: an array of {import, ms, address_space_bytes, threads, memory_bytes, error}. `ret_limits`: an object of the
 * policy's limits with which all of these imports work, where the policy's defaults are too low. -1: no script can run here. */
int env_measure_imports(const struct env_measure *measure, json_t **ret_measured, json_t **ret_limits,
                        pyexec_error *error);

/* Starts a warm parent with these modules. *ret: the memory that they take in each warm parent, and how long they take to load.
 * -1: they can't be preloaded, and why. */
struct env_preload_cost {
    int64_t memory_bytes;
    double ms;
};
int env_measure_preload(const struct env_measure *measure, const json_t *preload, struct env_preload_cost *ret,
                        pyexec_error *error);

#endif
