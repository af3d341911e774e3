/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/serve_function.h"

px_serve_fn cli_serve_function(pyexec_error *error)
{
    (void)error;
    return px_serve_run;
}
