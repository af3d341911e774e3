/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of the `pyexec` program.
 *
 * To add one: a file cmd_NAME.c that defines its row, its row here and in main.c's table.
 * Help, man page and shell completion follow from the row; tests/tree/test_package.py checks them. */
#ifndef PX_CLI_COMMANDS_H
#define PX_CLI_COMMANDS_H

#include "cli/options.h"

/* Exit statuses of pyexec itself. Otherwise `run` exits with the status of the script. */
enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_UNSAFE = 1,       /* doctor: a required layer is missing or leaks */
    CLI_EXIT_GONE = 1,         /* mcp, rpc: the client is gone */
    CLI_EXIT_DEAD_LETTERS = 1, /* batch: some tasks have no result */
    CLI_EXIT_FAILED = 125,     /* pyexec itself failed */
    CLI_EXIT_PIPE = 141,       /* nobody reads standard output; the same status as after SIGPIPE */
};

struct cli_command {
    const char *name;
    const char *summary;     /* one line; NULL: not listed (tools of the build) */
    const char *description; /* for --help and the man page */
    const char *operands;    /* "[FILE | -]", or NULL */
    size_t max_operands;
    const struct cli_option *options;
    size_t option_count;
    size_t options_size;   /* the size of the struct that the rows of the options point into */
    bool policy_flags;     /* it takes the policy's flags, --config and --allow-missing */
    bool policy_reference; /* --help prints px_policy_describe_help() instead of the rows */
    /* Returns the exit status. `options` is the filled struct of options_size bytes. */
    int (*run)(const struct cli_arguments *arguments, void *options);
};

extern const struct cli_command cmd_run, cmd_repl, cmd_serve, cmd_worker, cmd_batch, cmd_fleet, cmd_mcp, cmd_rpc,
    cmd_policy, cmd_env, cmd_doctor, cmd_bench, cmd_tools, cmd_completion, cmd_manpage;

/* The table in main.c, with the hidden commands. */
const struct cli_command *const *cli_commands(size_t *ret_count);

#endif
