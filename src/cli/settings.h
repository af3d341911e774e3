/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults < configuration file < environment < flags, for the policy and the host. */
#ifndef PX_CLI_SETTINGS_H
#define PX_CLI_SETTINGS_H

#include "cli/options.h"
#include "policy/config.h"
#include "policy/policy.h"

struct cli_settings {
    struct px_policy policy;
    struct px_host host;
};

/* The caller zeroes it, and calls cli_settings_done in every case. */
int cli_settings_load(struct cli_settings *settings, const struct cli_arguments *arguments, pyexec_error *error);
void cli_settings_done(struct cli_settings *settings);

/* Both as JSON texts for pyexec_executor_new(); the caller frees them. It fails only when there is no memory. */
int cli_settings_json(const struct cli_settings *settings, char **ret_policy, char **ret_host, pyexec_error *error);

#endif
