/* SPDX-License-Identifier: Apache-2.0 */
/* The member `packages` of a request that runs code: names of packages, for which the run gets an environment (package_builds.h).
 *
 * What a caller may ask for: [env] allow_requests, or the key of this name in the line of its token. The environment is allowed for this
 * request alone; a session keeps the one of its first call. */
#ifndef PX_SERVE_PACKAGES_H
#define PX_SERVE_PACKAGES_H

#include "base/json.h"
#include "pyexec.h"

struct px_http_request;
struct px_env_config;

/* Checks the names in allow_requests, when the server starts. */
int px_packages_check_config(const struct px_env_config *env, pyexec_error *error);

/* Takes `packages` out of the body, and checks them. */
int px_packages_take(struct px_http_request *request, json_t *body, pyexec_error *error);

/* Waits until the environment is there, and sets it for the run. Gives the request's turn back if it must wait. When the request is
 * cancelled meanwhile, it returns 0 as well: then the execution ends at once. */
int px_packages_prepare(struct px_http_request *request, pyexec_request *run, pyexec_error *error);

/* The same for a request that makes a session: replaces its policy (or NULL) and its ceiling. If there is a session with this id, they
 * stay as they are. Cancelled: -1 with shutting_down. */
int px_packages_prepare_session(struct px_http_request *request, json_t **policy, json_t **ceiling,
                                pyexec_error *error);

#endif
