/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAPI 3.1 document, from the route table and the policy's. */
#ifndef PX_SERVE_OPENAPI_H
#define PX_SERVE_OPENAPI_H

#include "pyexec.h"

/* JSON text for free(), or NULL. The defaults of the policy are the executor's. */
char *px_openapi_make(pyexec_executor *executor);

#endif
