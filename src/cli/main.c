/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec: the table of commands, the program's own options, and the call of the command. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/retry.h"
#include "base/spelling.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/print.h"
#include "mcp_client/mcp_client.h"

static const struct cli_command *const commands[] = {
    &cmd_run,    &cmd_repl, &cmd_serve, &cmd_worker, &cmd_batch, &cmd_fleet,      &cmd_mcp,     &cmd_rpc,
    &cmd_policy, &cmd_env,  &cmd_tools, &cmd_doctor, &cmd_bench, &cmd_completion, &cmd_manpage,
};

const struct cli_command *const *cli_commands(size_t *ret_count)
{
    *ret_count = PX_COUNT(commands);
    return commands;
}

static const struct cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < PX_COUNT(commands); i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

/* Opens /dev/null for each of the descriptors 0 to 2 that is closed, so that no file, socket or pipe that is
 * opened later is taken for a standard stream. Standard output is opened so that it can't be written to: a
 * command that prints then fails (EBADF) and loses nothing silently. */
static int open_standard_streams(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            px_open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY, 0) != fd)
            return -1;
    return 0;
}

static int unknown_command(const char *name)
{
    struct px_spelling nearest = {.wanted = name};
    for (size_t i = 0; i < PX_COUNT(commands); i++)
        if (commands[i]->summary)
            px_spelling_offer(&nearest, commands[i]->name);
    pyexec_error error;
    px_error_set(&error, PYEXEC_INVALID_REQUEST, "unknown command '%s'", name);
    if (nearest.best)
        px_error_hint(&error, "Did you mean `pyexec %s`?", nearest.best);
    else if (access(name, R_OK) == 0)
        px_error_hint(&error, "To run a script: pyexec run %s", name);
    else
        px_error_hint(&error, "`pyexec --help` lists the commands.");
    return cli_fail(&error);
}

static int print_command_help(const struct cli_command *command)
{
    px_auto_buffer struct px_buffer out = {0};
    cli_help_command(command, &out);
    return cli_print(&out);
}

static int print_program_help(void)
{
    px_auto_buffer struct px_buffer out = {0};
    cli_help_program(&out);
    return cli_print(&out);
}

static int print_version(void)
{
    px_auto_buffer struct px_buffer out = {0};
    px_buffer_printf(&out, "pyexec %s\n", pyexec_version());
    return cli_print(&out);
}

static int run_command(const struct cli_command *command, int argc, char **argv)
{
    pyexec_error error;
    struct cli_arguments arguments = {0};
    px_auto_free void *options = calloc(1, command->options_size + 1);
    if (!options) {
        px_error_oom(&error);
        return cli_fail(&error);
    }
    int status;
    if (cli_parse(command, argc, argv, &arguments, options, &error) < 0)
        status = cli_fail(&error);
    else if (arguments.help && command->summary)
        status = print_command_help(command);
    else
        status = command->run(&arguments, options);
    cli_parse_done(command, &arguments, options);
    return status;
}

/* The program itself as a command, with the name of the command as its operand. */
struct program_options {
    bool version;
};
static const struct cli_option program_options[] = {
    {"version", 'V', NULL, "Print the version.", CLI_INTO(struct program_options, version)},
};
static const struct cli_command program = {
    .name = "",
    .max_operands = 2,
    .options = program_options,
    .option_count = PX_COUNT(program_options),
};

/* `pyexec --help`, `--version`, `help [COMMAND]`. */
static int run_program(int argc, char **argv)
{
    pyexec_error error;
    struct cli_arguments arguments = {0};
    struct program_options options = {0};
    int parsed = cli_parse(&program, argc, argv, &arguments, &options, &error);
    px_auto_free const char **operands = arguments.operands.items;
    if (parsed < 0)
        return cli_fail(&error);
    if (options.version)
        return print_version();
    if (arguments.operands.count < 2)
        return print_program_help();
    const struct cli_command *command = find_command(operands[1]);
    return command && command->summary ? print_command_help(command) : unknown_command(operands[1]);
}

/* A run may open as many files as this program, minus a reserve. Each of them takes five descriptors here. */
static void raise_open_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    raise_open_files();
    if (open_standard_streams() < 0)
        return CLI_EXIT_FAILED;
    if (argc < 2) {
        cli_say("no command given", "`pyexec --help` lists the commands; "
                                    "try `pyexec run -c 'sum(range(10))'`.");
        return CLI_EXIT_FAILED;
    }
    if (argv[1][0] == '-' || strcmp(argv[1], "help") == 0)
        return run_program(argc - 1, argv + 1);
    /* Only pyexec starts this command. Its arguments are the command of a server, not options of pyexec. */
    if (strcmp(argv[1], "mcp-keeper") == 0)
        return px_client_keeper(argc - 2, argv + 2);
    const struct cli_command *command = find_command(argv[1]);
    return command ? run_command(command, argc - 2, argv + 2) : unknown_command(argv[1]);
}
