/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec run: one script in a fresh sandbox. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/cli_signals.h"
#include "cli/commands.h"
#include "cli/handles.h"
#include "cli/print.h"
#include "cli/run_command.h"
#include "telemetry/telemetry.h"

static const struct cli_option run_rows[] = {
    {"code", 'c', "CODE", "The script itself.", CLI_INTO(struct run_options, code)},
    {"json", 0, NULL, "Print the result object on one line; the exit status is 0 whenever there is one.",
     CLI_INTO(struct run_options, json)},
    {"env", 0, "K=V", "Set an environment variable of the script.", CLI_INTO(struct run_options, env)},
    {"file", 0, "HOST[:NAME]", "Put a copy of a file into the workspace (needs --files read or full).",
     CLI_INTO(struct run_options, files)},
    {"output", 0, "DIR", "Write the files that the script made or changed below this folder (needs --files full).",
     CLI_INTO(struct run_options, output)},
    {"return-files", 0, "GLOB",
     "With --output or --json: return the contents of changed files that match (default with --output: all).",
     CLI_INTO(struct run_options, return_files)},
    {"working-dir", 0, "REL", "Folder of the workspace to start in, made if missing.",
     CLI_INTO(struct run_options, working_dir)},
    {"workspace", 0, "DIR", "Work in this folder of the host instead of in memory. Absolute; never removed.",
     CLI_INTO(struct run_options, workspace)},
    {"input", 0, "NAME=JSON", "Set a variable of the script first, as in --input n=5 or --input 'name=\"Ada\"'.",
     CLI_INTO(struct run_options, inputs)},
    {"inputs", 0, "FILE", "Set variables from a file with a JSON object.", CLI_INTO(struct run_options, inputs_file)},
    {"value-json", 0, "TABLES", "The last value as JSON, tables as `records` or `split`: printed instead of its repr.",
     CLI_INTO(struct run_options, value_json)},
    {"save-display", 0, "DIR",
     "Write the displays of the script as files display-1.png … into this folder; no file is overwritten.",
     CLI_INTO(struct run_options, save_display)},
    {"server", 0, "ADDRESS",
     "Run it through a `pyexec serve` that already runs: unix:/PATH, http://HOST:PORT, or default for its default socket; none: "
     "run it here, whatever [cli] server says.",
     CLI_INTO(struct run_options, server)},
    {"token-file", 0, "FILE", "With --server: a file with the token for that server. Absolute.",
     CLI_INTO(struct run_options, token_file)},
    {"with", 0, "PACKAGE",
     "Run it with this package, and what it needs, in an environment that is made at the first use (docs/environments.md), with --server "
     "by the server, if its operator allows the package. May be repeated. Packages that the script itself lists (PEP 723) are added.",
     CLI_INTO(struct run_options, with)},
};

/* One run needs only one zygote. */
static int new_executor(struct cli_settings *settings, pyexec_executor **ret, pyexec_error *error)
{
    settings->host.zygotes = 1;
    return cli_settings_open(settings, NULL, ret, error);
}

static int print_json(const struct run_outcome *outcome)
{
    px_auto_buffer struct px_buffer line = {.failed = !outcome->json};
    px_buffer_add_string(&line, outcome->json ? outcome->json : "");
    px_buffer_add_byte(&line, '\n');
    return cli_print(&line);
}

int run_report(const struct run_options *options, struct run_stream *stream, const struct run_outcome *outcome,
               int terminated, pyexec_error *error)
{
    int status = options->json ? print_json(outcome) : run_output(stream, outcome, terminated);
    if (options->output && run_files_write(options->output, outcome, error) < 0)
        return cli_fail(error);
    if (options->save_display && run_displays_save(options->save_display, outcome, error) < 0)
        return cli_fail(error);
    return status;
}

static int execute(pyexec_executor *executor, pyexec_request *request, const struct run_options *options,
                   pyexec_error *error)
{
    cli_auto_result pyexec_result *result = NULL;
    px_auto(run_stream_done) struct run_stream stream = {0};
    px_auto(run_outcome_done) struct run_outcome outcome = {0};
    if (!options->json) {
        pyexec_request_set_output(request, run_stream_write, &stream);
        pyexec_request_set_display_object(request, run_display_write, &stream);
    }
    cli_signals_hold(request);
    int executed = pyexec_execute_once(executor, request, &result, error);
    cli_signals_release();
    if (executed < 0 || run_outcome_of_result(&outcome, result, error) < 0)
        return cli_fail_as(options->json, error);
    if (options->json)
        outcome.json = pyexec_result_json(result);
    return run_report(options, &stream, &outcome, cli_signals_terminated(), error);
}

static void drop_telemetry(struct px_telemetry **telemetry)
{
    px_telemetry_stop(*telemetry);
}

static int run(const struct cli_arguments *arguments, void *target)
{
    const struct run_options *options = target;
    pyexec_error error;
    px_auto(cli_settings_done) struct cli_settings settings = {0};
    px_auto(env_script_done) struct env_script script = {0};
    px_auto(drop_telemetry) struct px_telemetry *telemetry = NULL; /* it must outlive the executor */
    cli_auto_executor pyexec_executor *executor = NULL;
    cli_auto_request pyexec_request *request = pyexec_request_new();
    if (!request)
        px_error_exhausted(&error, errno, "can't make the request");
    if (!request || cli_settings_load(&settings, arguments, &error) < 0 ||
        cli_settings_choose_server(&settings, options->server, options->token_file, &error) < 0 ||
        run_input(request, arguments, options, &settings, &error) < 0 ||
        run_packages_read(&settings, options, request, &script, &error) < 0)
        return cli_fail_as(options->json, &error);
    if (settings.cli.server) {
        bool alone = false;
        const struct run_call call = {options, arguments, request, &script};
        int status = run_on_server(&call, &settings, &alone, &error);
        if (!alone)
            return status;
    }
    if (run_packages_make(&settings, options, &script, &error) < 0)
        return cli_fail_as(options->json, &error);
    cli_signals_catch_pipe();
    pyexec_request_set_traceparent(request, getenv("TRACEPARENT"), getenv("TRACESTATE"));
    if (new_executor(&settings, &executor, &error) < 0 ||
        px_telemetry_start(&settings.telemetry, cli_telemetry_say, NULL, &telemetry, &error) < 0 ||
        px_telemetry_attach(telemetry, executor, &error) < 0)
        return cli_fail_as(options->json, &error);
    return execute(executor, request, options, &error);
}

const struct cli_command cmd_run = {
    .name = "run",
    .summary = "run a script in a fresh sandbox",
    .description = "Runs one script: CODE, a FILE, or standard input (-, and the default when it is not a "
                   "terminal). Its output comes as it is written; the value of a last expression follows, as "
                   "Python's prompt would print it. If the code does not come from standard input, the script can "
                   "read it. Ctrl-C interrupts the script, a second Ctrl-C ends it.",
    .operands = "[FILE | -]",
    .max_operands = 1,
    .options = run_rows,
    .option_count = PX_COUNT(run_rows),
    .options_size = sizeof(struct run_options),
    .policy_flags = true,
    .run = run,
};
