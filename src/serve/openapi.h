/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAPI 3.1 document, from the route table and the policy's. */
#ifndef PX_SERVE_OPENAPI_H
#define PX_SERVE_OPENAPI_H

#include "policy/policy.h"

/* JSON text for free(), or NULL. The policy has the defaults of requests. */
char *px_openapi_make(const struct px_policy *policy);

#endif
