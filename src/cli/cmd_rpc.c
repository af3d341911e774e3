/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec rpc: JSON-RPC on standard input and output, for language clients. */
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cli_signals.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/server_heap.h"
#include "cli/settings.h"
#include "rpc/rpc.h"
#include "telemetry/telemetry.h"

struct rpc_options {
    bool ignore_signals;
    bool drain;
};

static const struct cli_option rows[] = {
    {"ignore-signals", 0, NULL,
     "Ignore SIGINT, SIGTERM and SIGHUP: it stops only at the end of its input or at the request shutdown. For a "
     "client that gets these signals too.",
     CLI_INTO(struct rpc_options, ignore_signals)},
    {"drain", 0, NULL,
     "At the end of input, wait for the requests in progress and send their responses. Without it they are cancelled.",
     CLI_INTO(struct rpc_options, drain)},
};

/* The client sends the policy. Where traces go is for whoever starts this program: it has the environment. */
static struct px_telemetry *start_telemetry(void)
{
    pyexec_error error;
    struct px_telemetry *telemetry = NULL;
    px_auto(px_telemetry_config_done) struct px_telemetry_config config = {0};
    const struct px_config into = {.telemetry = &config};
    if (px_telemetry_config_init(&config, &error) < 0 || px_config_environment(environ, &into, &error) < 0 ||
        px_telemetry_start(&config, cli_telemetry_say, NULL, &telemetry, &error) < 0)
        cli_telemetry_say(NULL, "traces can't be sent", error.message);
    return telemetry;
}

/* The sections [env] and [egress], for a client that does not send them. A configuration file that can't be read is no reason to fail. */
static json_t *find_sections(void)
{
    pyexec_error error;
    px_auto(px_env_config_done) struct px_env_config env = {0};
    px_auto(px_egress_config_done) struct px_egress_config egress = {0};
    const struct px_config into = {.env = &env, .egress = &egress};
    if (px_env_config_init(&env, &error) < 0 || px_egress_config_init(&egress, &error) < 0 ||
        (px_config_load_into(NULL, &into, &error) < 0 && px_config_environment(environ, &into, &error) < 0))
        return NULL;
    return json_pack("{s:o, s:o}", "env", px_env_config_to_json(&env), "egress", px_egress_config_to_json(&egress));
}

/* px_rpc_opened_fn */
static int attach(void *telemetry, pyexec_executor *executor, pyexec_error *error)
{
    return px_telemetry_attach(telemetry, executor, error);
}

static int run(const struct cli_arguments *arguments, void *target)
{
    const struct rpc_options *options = target;
    (void)arguments;
    cli_heap_for_server();
    px_auto_fd int stop = options->ignore_signals ? -1 : cli_signals_for_server();
    if (options->ignore_signals)
        cli_signals_ignore();
    struct px_telemetry *telemetry = start_telemetry();
    px_auto_json json_t *sections = find_sections();
    int status = px_rpc_serve(STDIN_FILENO, STDOUT_FILENO, stop, options->drain, sections, attach, telemetry);
    px_telemetry_stop(telemetry);
    return cli_server_status(status);
}

const struct cli_command cmd_rpc = {
    .name = "rpc",
    .summary = "JSON-RPC 2.0 on standard input and output, one message on each line",
    .description =
        "Serves one language client: initialize {protocol: 1, policy, session, host, env, egress}, then execute_once, execute, "
        "interrupt, cancel, create_session, close_session, close_all, list_sessions, list_environments, list_files, read_file, "
        "write_file, delete_file, doctor, stats, ping and shutdown. The session_policy of an execute is for the "
        "session that the call makes; it is ignored if the session exists. policy_defaults has defaults for both "
        "policies; values beyond a ceiling are lowered. An execute with silent: true is not counted. With stream: "
        "true, output and displays come as notifications `output` and `display` too. With tools, the server sends "
        "requests `tool_call`, which the client answers (docs/rpc.md). Requests run concurrently and are answered "
        "by id. It stops at the end of its input and at SIGINT, SIGTERM and SIGHUP (not with --ignore-signals), and "
        "cancels the runs in progress. With --drain, it waits for them at the end of its input.",
    .options = rows,
    .option_count = PX_COUNT(rows),
    .options_size = sizeof(struct rpc_options),
    .run = run,
};
