/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec mcp: a Model Context Protocol server on standard input and output. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/cli_signals.h"
#include "cli/commands.h"
#include "cli/handles.h"
#include "cli/print.h"
#include "cli/server_heap.h"
#include "cli/settings.h"
#include "mcp/mcp.h"
#include "telemetry/telemetry.h"

struct mcp_options {
    const char *servers;
};

static const struct cli_option mcp_rows[] = {
    {"mcp-servers", 0, "FILE",
     "Other MCP servers, {\"mcpServers\": {...}}, whose tools scripts call as modules. They run with your rights, outside "
     "of the sandbox.",
     CLI_INTO(struct mcp_options, servers)},
};

static int open_executor(const struct cli_arguments *arguments, struct cli_settings *settings,
                         struct px_mcp_config *mcp, pyexec_executor **ret, pyexec_error *error)
{
    px_auto(px_session_config_done) struct px_session_config session = {0};
    const struct px_config into = {.session = &session, .mcp = mcp};
    if (cli_settings_load(settings, arguments, error) < 0 || cli_settings_find_environment(settings, error) < 0 ||
        px_session_config_init(&session, error) < 0 || px_config_load_into(arguments->config, &into, error) < 0 ||
        px_session_config_check(&session, error) < 0)
        return -1;
    return cli_settings_open(settings, &session, ret, error);
}

static int run(const struct cli_arguments *arguments, void *target)
{
    pyexec_error error;
    px_auto(cli_settings_done) struct cli_settings settings = {0};
    cli_auto_executor pyexec_executor *executor = NULL;
    px_auto_fd int stop = cli_signals_for_server();
    const struct mcp_options *options = target;
    px_auto(px_mcp_config_done) struct px_mcp_config mcp = {0};
    cli_heap_for_server();
    struct px_telemetry *telemetry = NULL;
    int status = px_mcp_config_init(&mcp, &error);
    if (status == 0)
        status = open_executor(arguments, &settings, &mcp, &executor, &error);
    if (status == 0)
        status = px_telemetry_start(&settings.telemetry, cli_telemetry_say, NULL, &telemetry, &error);
    if (status == 0)
        status = px_telemetry_attach(telemetry, executor, &error);
    if (status == 0)
        status = cli_mcp_servers(&mcp, options->servers, &error);
    if (status == 0)
        status =
            px_mcp_stdio(executor, &settings.policy, &settings.host, &mcp, STDIN_FILENO, STDOUT_FILENO, stop, &error);
    pyexec_executor_free(TAKE_PTR(executor));
    px_telemetry_stop(telemetry);
    return status < 0 ? cli_fail(&error) : cli_server_status(status);
}

const struct cli_command cmd_mcp = {
    .name = "mcp",
    .summary = "MCP server on standard input and output, for agents",
    .description =
        "Serves one client of the Model Context Protocol, revisions 2024-11-05 to 2026-07-28: the tools run_python, "
        "interrupt, reset_session, list_files, read_file, write_file, get_execution and cancel_execution. Scripts "
        "get the policy that is given here, and a call can't ask for more. Keys of [session], [host], [mcp] and "
        "[telemetry] are taken from the configuration file and the environment. It stops at the end of its input and "
        "at SIGINT, SIGTERM and SIGHUP. `pyexec serve` has the same at POST /mcp. With --mcp-servers (or [mcp] "
        "servers) scripts also call the tools of other MCP servers, so that one call runs a program over many tools.",
    .options = mcp_rows,
    .option_count = PX_COUNT(mcp_rows),
    .options_size = sizeof(struct mcp_options),
    .policy_flags = true,
    .run = run,
};
