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
    struct px_telemetry_config telemetry;
    struct px_cli_config cli;
    struct px_env_config env;
    struct px_egress_config egress;
};

/* Finds the environment that the policy names, if it names one, and takes its limits into the policy: for commands that use
 * the policy's values themselves. */
int cli_settings_find_environment(struct cli_settings *settings, pyexec_error *error);

/* The caller zeroes it, and calls cli_settings_done in every case. */
int cli_settings_load(struct cli_settings *settings, const struct cli_arguments *arguments, pyexec_error *error);
void cli_settings_done(struct cli_settings *settings);

/* The flags of a command are stronger than the section [cli]. NULL: the flag was not given. */
int cli_settings_choose_server(struct cli_settings *settings, const char *server, const char *token_file,
                               pyexec_error *error);

/* Returns a new object for pyexec_executor_open_object(), or NULL with an error. `session` may be NULL. */
json_t *cli_settings_config(const struct cli_settings *settings, const struct px_session_config *session,
                            pyexec_error *error);

/* Creates an executor with these settings. `session` may be NULL. */
int cli_settings_open(const struct cli_settings *settings, const struct px_session_config *session,
                      pyexec_executor **ret, pyexec_error *error);

/* Says on standard error what happens with traces (px_telemetry_log_fn). */
void cli_telemetry_say(void *closure, const char *event, const char *detail);

/* Calls pyexec_doctor_object() with these settings. */
int cli_settings_examine(const struct cli_settings *settings, bool selftest, json_t **ret, pyexec_error *error);

/* The file of MCP servers that a flag names. Its path may be relative to the working directory; a path in the
 * configuration is absolute. NULL: the flag was not given. */
int cli_mcp_servers(struct px_mcp_config *mcp, const char *path, pyexec_error *error);

#endif
