/* SPDX-License-Identifier: Apache-2.0 */
/* A run on behalf of a request, whichever route it came by. */
#ifndef PX_SERVE_RUN_REQUEST_H
#define PX_SERVE_RUN_REQUEST_H

#include "policy/policy.h"
#include "pyexec.h"

struct px_http_request;

/* Executes `run`, in the request's session if it has one: bounded by the caller's ceiling, cancelled
 * with the request, counted, and logged. Once for a request, from its route's `serve` in the schedule
 * of runs. 0: *ret is to be freed, and has its JSON; -1: it failed on the host's side. */
int px_run_request(struct px_http_request *request, pyexec_request *run, pyexec_result **ret, pyexec_error *error);

/* Whether its caller may have one more run: not while too much of what it was answered waits for it to
 * be read. px_run_request() asks by itself. -1: PYEXEC_OVERLOADED. */
int px_run_request_check(struct px_http_request *request, pyexec_error *error);

/* What the caller's runs have: the server's policy, lowered to its ceiling. *ret is to be freed in any case. */
int px_run_request_policy(struct px_http_request *request, struct px_policy *ret, pyexec_error *error);

#endif
