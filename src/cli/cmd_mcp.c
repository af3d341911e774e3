/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec mcp: a Model Context Protocol server on standard input and output. */
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

static int open_executor(const struct cli_arguments *arguments, struct cli_settings *settings, pyexec_executor **ret,
                         pyexec_error *error)
{
    px_auto(px_session_config_done) struct px_session_config session = {0};
    const struct px_config into = {.session = &session};
    if (cli_settings_load(settings, arguments, error) < 0 || px_session_config_init(&session, error) < 0 ||
        px_config_load_into(arguments->config, &into, error) < 0 || px_session_config_check(&session, error) < 0)
        return -1;
    px_auto_free char *text =
        px_json_take_text(json_pack("{s:o, s:o, s:o}", "policy", px_policy_to_json(&settings->policy), "host",
                                    px_host_to_json(&settings->host), "session", px_session_config_to_json(&session)));
    return text ? pyexec_executor_open(text, ret, error) : px_error_oom(error);
}

static int run(const struct cli_arguments *arguments, void *target)
{
    pyexec_error error;
    px_auto(cli_settings_done) struct cli_settings settings = {0};
    cli_auto_executor pyexec_executor *executor = NULL;
    px_auto_fd int stop = cli_signals_for_server();
    (void)target;
    cli_heap_for_server();
    int status = open_executor(arguments, &settings, &executor, &error);
    if (status == 0)
        status = px_mcp_stdio(executor, &settings.policy, STDIN_FILENO, STDOUT_FILENO, stop, &error);
    return status < 0 ? cli_fail(&error) : cli_server_status(status);
}

const struct cli_command cmd_mcp = {
    .name = "mcp",
    .summary = "MCP server on standard input and output, for agents",
    .description = "Serves one client of the Model Context Protocol, revisions 2024-11-05 to 2026-07-28: the tools "
                   "run_python, interrupt, reset_session, list_files, read_file and write_file. The policy given here "
                   "is what scripts have and the most that a call may ask for. Keys of [session] and [host] are taken "
                   "from the configuration file and the environment. The end of input ends it, and so do SIGINT, "
                   "SIGTERM and SIGHUP. `pyexec serve` has the same at POST /mcp.",
    .policy_flags = true,
    .run = run,
};
