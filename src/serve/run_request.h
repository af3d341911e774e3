/* SPDX-License-Identifier: Apache-2.0 */
/* A run for a request, on whichever route the request came. */
#ifndef PX_SERVE_RUN_REQUEST_H
#define PX_SERVE_RUN_REQUEST_H

#include "policy/policy.h"
#include "pyexec.h"

struct px_http_request;

/* Executes `run`, in the request's session if it has one. The caller's ceiling limits it, it is cancelled with the
 * request, and it is counted and logged. Call this once for a request, from its route's `serve` in the schedule of
 * runs. Returns 0 with *ret, which the caller frees and which has its JSON; or -1 when the host failed. */
int px_run_request(struct px_http_request *request, pyexec_request *run, pyexec_result **ret, pyexec_error *error);

/* Verifies a solution (pyexec_verify_object()), with the same limits and records; the tests count as runs. */
int px_run_request_verify(struct px_http_request *request, pyexec_request *run, struct json_t *object, char **ret,
                          pyexec_error *error);

/* Checks whether the caller may run code. It may not while too many bytes of its answers wait to be read.
 * px_run_request() checks this itself. Returns 0, or -1 with PYEXEC_OVERLOADED. */
int px_run_request_check(struct px_http_request *request, pyexec_error *error);

/* Returns the policy of the caller's runs: the server's policy, lowered to the caller's ceiling. The caller of
 * this function frees *ret in every case. */
int px_run_request_policy(struct px_http_request *request, struct px_policy *ret, pyexec_error *error);

/* Adds a span for the NATS message that carried the request. Does nothing if the request did not come through a worker, or if
 * this server sends no spans. The worker has written into a header when the message arrived, its size, the node, the subject and
 * the queue group. Returns 0, or -1 when there is no memory. */
int px_run_request_take_message(const struct px_http_request *request, pyexec_request *run, pyexec_error *error);

/* Holds the MCP servers whose tools the caller's runs may call; *ret is NULL if there are none. */
struct px_principal_servers;
int px_run_request_servers(struct px_http_request *request, struct px_principal_servers **ret, pyexec_error *error);

#endif
