/* SPDX-License-Identifier: Apache-2.0 */
/* Where the HTTP server is: in the module pyexec_serve.so (serve_module.c), or in a static program itself (serve_inside.c). */
#ifndef PX_CLI_SERVE_FUNCTION_H
#define PX_CLI_SERVE_FUNCTION_H

#include "serve/serve.h"

/* Returns the server, or NULL with `error`. */
px_serve_fn cli_serve_function(pyexec_error *error);

#endif
