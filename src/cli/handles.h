/* SPDX-License-Identifier: Apache-2.0 */
/* Handles of the library that are freed at the end of their scope: cli_auto_result pyexec_result *r. */
#ifndef PX_CLI_HANDLES_H
#define PX_CLI_HANDLES_H

#include "base/cleanup.h"
#include "pyexec.h"

static inline void cli_drop_executor(pyexec_executor **executor)
{
    pyexec_executor_free(*executor);
}

static inline void cli_drop_request(pyexec_request **request)
{
    pyexec_request_free(*request);
}

static inline void cli_drop_result(pyexec_result **result)
{
    pyexec_result_free(*result);
}

#define cli_auto_executor px_auto(cli_drop_executor)
#define cli_auto_request px_auto(cli_drop_request)
#define cli_auto_result px_auto(cli_drop_result)

#endif
