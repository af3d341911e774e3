/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server of `pyexec serve`, as a module that the program loads only for this command: the other commands
 * start without its libraries. The module has one function. It returns 0 when the server has stopped after SIGTERM
 * or SIGINT, or -1 when it could not start. */
#ifndef PX_SERVE_SERVE_H
#define PX_SERVE_SERVE_H

#include "policy/config.h"
#include "policy/policy.h"
#include "pyexec.h"

struct px_fleet;
struct px_node_figures;

struct px_serve_options {
    json_t *executor;               /* for pyexec_executor_open_object() */
    const struct px_policy *policy; /* the policy that is also in `executor` */
    const struct px_serve_config *config;
    const struct px_mcp_config *mcp;
    const struct px_telemetry_config *telemetry;
    const struct px_env_config *env;
    const char *config_file; /* the configuration that was named, or NULL */
    int64_t max_concurrent;  /* runs that use the CPUs at once; 0: twice the number of CPUs */
    int64_t max_asleep;      /* runs that sleep, in addition to these */
    int64_t queue_length;
    int64_t execution_ttl_ms; /* how long a detached execution is kept after its end */
    int64_t max_executions;   /* detached, of one principal */
    int64_t max_sessions;     /* sessions of one principal; 0: no limit */
    /* For `pyexec worker`: a UNIX socket that listens, whose only client is trusted and says who its callers are, in the header
     * Pyexec-Principal. 0: none. */
    int worker_socket;
    const char *node;                      /* the node's name in ids of executions; NULL: the host's name */
    const struct px_node_figures *figures; /* what `pyexec-worker` counts, for /metrics; NULL: this is not a node */
    /* For `pyexec serve --nats`: the nodes that run the code (fleet.h). Then this server runs none, and `executor` is not used. NULL:
     * none. */
    struct px_fleet *fleet;
};

#define PX_SERVE_SYMBOL "px_serve_run"
typedef int (*px_serve_fn)(const struct px_serve_options *options, pyexec_error *error);
PYEXEC_API int px_serve_run(const struct px_serve_options *options, pyexec_error *error);

#endif
