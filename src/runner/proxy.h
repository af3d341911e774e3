/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy of runs with allowed_hosts: the program pyexec-egress, one for each executor, and what it is told about runs
 * (protocol/egress.h). It starts when the first such run comes, and again when it has ended and another run comes. Thread-safe. */
#ifndef PX_RUNNER_PROXY_H
#define PX_RUNNER_PROXY_H

#include "policy/config.h"
#include "policy/policy.h"
#include "policy/secrets.h"
#include "result/result.h"
#include "runner/child.h"

struct px_proxy;
struct px_proxy_run;
struct px_run_context;

struct px_proxy_options {
    const struct px_egress_config *config;
    const struct px_secret_sources *secrets;
    uint32_t run_uid, uid_count; /* the ids of runs, which the program must not have */
};

/* Makes it, without its process. The configuration must live as long. NULL when there is no memory. */
struct px_proxy *px_proxy_new(const struct px_proxy_options *options);
/* Ends the process. No run may use it. NULL is allowed. */
void px_proxy_free(struct px_proxy *proxy);

/* Starts the process if it does not run. Returns 0, or -1 with `error`. */
int px_proxy_start(struct px_proxy *proxy, pyexec_error *error);

/* A memory file of the authorities that runs trust, which lives as long as the proxy. -1 with `error`. */
int px_proxy_certificates(struct px_proxy *proxy, pyexec_error *error);

/* The same with the authority of the proxy: for runs with secrets. The process must have been started. -1 with `error`. */
int px_proxy_secret_certificates(struct px_proxy *proxy, pyexec_error *error);

/* Lets the proxy serve this child, whose script has not begun, or has had calls before. Starts the process if needed. */
int px_proxy_open(struct px_proxy *proxy, struct px_child *child, const struct px_run_context *context,
                  pyexec_error *error);

/* The variables (NAME=VALUE) of the run's environment: placeholders of its secrets. */
const struct px_strings *px_proxy_variables(const struct px_proxy_run *run);

/* Called at the end of a run or call: puts into the result what the script asked the proxy for, refusals as denials. With `last`,
 * the child's connections end first. */
void px_proxy_report(struct px_child *child, bool last, pyexec_result *result, struct px_counters *counters);

/* The child has ended. Sets it to NULL; NULL is allowed. */
void px_proxy_close(struct px_proxy_run **run);

#endif
