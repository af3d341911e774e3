/* SPDX-License-Identifier: Apache-2.0 */
/* What SandboxFusion's routes share. */
#ifndef PX_SERVE_FUSION_H
#define PX_SERVE_FUSION_H

#include <stdbool.h>

#include "base/json.h"
#include "serve/dialect.h"

/* Answers 422 in the form of FastAPI. `member` is the name of a member of the body, such as "config.language", or NULL. Always
 * returns false. */
bool px_fusion_refuse(struct px_http_request *request, const char *member, const char *type, const char *message);

/* Returns the policy of a run with these limits; megabytes 0: the caller's own. A limit above the caller's ceiling is lowered
 * to it. NULL when there is no memory. */
json_t *px_fusion_policy(struct px_http_request *request, double seconds, double megabytes);

#endif
