/* SPDX-License-Identifier: Apache-2.0 */
/* The server with its settings, for `pyexec serve` and for `pyexec worker`. */
#ifndef PX_CLI_SERVE_COMMAND_H
#define PX_CLI_SERVE_COMMAND_H

#include "cli/options.h"
#include "cli/settings.h"

struct px_fleet;
struct px_node_figures;

/* The flags of the server. */
struct cli_serve_flags {
    struct cli_list listen, metrics;
    const char *token_file, *log_format, *audit_log, *state_dir, *mcp_servers;
    bool no_playground;
    bool e2b, dify_sandbox, sandbox_fusion;
};

#define CLI_METRICS_OPTION(type, member) \
    { \
        "metrics", 0, "ADDRESS", \
            "Also serves /metrics, /healthz and /readyz there, and nothing else, without a token: unix:/PATH or HOST:PORT.", \
            CLI_INTO(type, member) \
    }

struct cli_serve {
    struct cli_settings settings;
    struct px_session_config session;
    struct px_serve_config config;
    struct px_mcp_config mcp;
    const char *config_file; /* the one that was named, or NULL */
};

/* The caller zeroes it, and calls cli_serve_done() in every case. */
int cli_serve_load(struct cli_serve *serve, const struct cli_arguments *arguments, const struct cli_serve_flags *flags,
                   pyexec_error *error);
void cli_serve_done(struct cli_serve *serve);

/* What stands between the server and its callers, or the code: members of struct px_serve_options. */
struct cli_serve_below {
    int worker_socket;
    const char *node;
    const struct px_node_figures *figures;
    struct px_fleet *fleet;
};

/* Serves until a signal ends it. */
int cli_serve_run(const struct cli_serve *serve, const struct cli_serve_below *below, pyexec_error *error);

#endif
