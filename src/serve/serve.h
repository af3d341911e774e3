/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server of `pyexec serve`, as a module that the program loads when asked to serve: the
 * other commands start without its libraries.
 *
 * The module has one function. It returns when the server has drained after SIGTERM or SIGINT,
 * or -1 when it could not start. */
#ifndef PX_SERVE_SERVE_H
#define PX_SERVE_SERVE_H

#include "policy/config.h"
#include "policy/policy.h"
#include "pyexec.h"

struct px_serve_options {
    const char *executor_json;      /* for pyexec_executor_open() */
    const struct px_policy *policy; /* the same as in executor_json */
    const struct px_serve_config *config;
    int64_t max_concurrent; /* runs that use the CPUs at once; 0: twice the number of CPUs */
    int64_t max_asleep;     /* runs beside them that sleep */
    int64_t queue_length;
    int64_t max_sessions; /* of one principal; 0: no limit */
};

#define PX_SERVE_SYMBOL "px_serve_run"
typedef int (*px_serve_fn)(const struct px_serve_options *options, pyexec_error *error);
PYEXEC_API int px_serve_run(const struct px_serve_options *options, pyexec_error *error);

#endif
