/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/spelling.h"
#include "base/wrap.h"
#include "policy/policy.h"

#define MEANING_COLUMN 30

const struct cli_exit_row cli_exit_rows[] = {
    {"0", "the script ended normally (with --json: a result was obtained)", "run"},
    {"0", "it did its work, or was told to stop", "repl serve mcp rpc policy bench"},
    {"0", "all required layers hold", "doctor"},
    {"1", "an uncaught exception, or a limit that Python saw", "run"},
    {"1", "a required layer is missing or leaks", "doctor"},
    {"1", "the client is gone", "mcp rpc"},
    {"N", "the script called sys.exit(N)", "run"},
    {"N", "exit(N) was typed", "repl"},
    {"124", "the script ran into its time limit", "run"},
    {"125", "pyexec itself failed; message and hint are on standard error", NULL},
    {"128+N", "signal N ended the script's process, or told pyexec itself to end (SIGTERM: 143)", "run"},
    {"141", "the reader of pyexec's standard output has closed it", NULL},
    {NULL, NULL, NULL},
};

static void pad(struct px_buffer *out, size_t count)
{
    while (count--)
        px_buffer_add_byte(out, ' ');
}

void cli_help_wrap(struct px_buffer *out, size_t indent, const char *text)
{
    px_auto_buffer struct px_buffer prefix = {0};
    pad(&prefix, indent);
    px_wrap(out, px_buffer_shown(&prefix), text);
}

/* "  NAME    meaning", the meaning on the next line when the name is too long. */
static void add_row(struct px_buffer *out, const char *name, const char *meaning)
{
    px_buffer_printf(out, "  %s", name);
    size_t column = 2 + strlen(name);
    if (column + 2 > MEANING_COLUMN) {
        px_buffer_add_byte(out, '\n');
        column = 0;
    }
    pad(out, MEANING_COLUMN - column);
    cli_help_wrap(out, MEANING_COLUMN, meaning);
}

void cli_help_option(const struct cli_option *option, struct px_buffer *out)
{
    if (option->letter)
        px_buffer_printf(out, "-%c, ", option->letter);
    px_buffer_printf(out, "--%s", option->name);
    if (option->argument)
        px_buffer_printf(out, " %s", option->argument);
}

static void add_options(struct px_buffer *out, const struct cli_option *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!rows[i].meaning)
            continue;
        px_auto_buffer struct px_buffer name = {0};
        cli_help_option(&rows[i], &name);
        add_row(out, px_buffer_shown(&name), rows[i].meaning);
    }
}

void cli_help_synopsis(const struct cli_command *command, struct px_buffer *out)
{
    px_buffer_printf(out, "pyexec %s%s", command->name, command->policy_flags ? " [policy flags]" : "");
    for (size_t i = 0; i < command->option_count; i++) {
        const struct cli_option *option = &command->options[i];
        if (!option->meaning)
            continue;
        if (option->letter)
            px_buffer_printf(out, " [-%c", option->letter);
        else
            px_buffer_printf(out, " [--%s", option->name);
        if (option->argument)
            px_buffer_printf(out, " %s", option->argument);
        px_buffer_add_string(out, option->kind == CLI_LIST ? "]..." : "]");
    }
    if (command->operands)
        px_buffer_printf(out, " %s", command->operands);
}

/* Longer defaults are shown by `pyexec policy` only. */
#define DEFAULT_MAX 24

static void add_policy_flags(struct px_buffer *out)
{
    size_t count = 0;
    const struct px_flag_alias *flags = px_policy_flag_aliases(&count);
    px_buffer_add_string(out, "\nPolicy, in short:\n");
    for (size_t i = 0; i < count; i++) {
        px_auto_buffer struct px_buffer name = {0};
        px_buffer_printf(&name, "--%s", flags[i].name);
        if (flags[i].argument)
            px_buffer_printf(&name, " %s", flags[i].argument);
        add_row(out, px_buffer_shown(&name), flags[i].meaning);
    }
    px_buffer_add_string(out, "\nPolicy, in full (--no-NAME for false, \"none\" for no limit):\n");
    for (enum px_policy_field field = 0; field < PX_FIELD_COUNT; field++) {
        const struct px_field_info *info = px_policy_field_info(field);
        char flag[CLI_FLAG_MAX];
        const char *argument = cli_policy_argument(info);
        px_auto_buffer struct px_buffer name = {0}, meaning = {0};
        px_buffer_printf(&name, "--%s%s%s", cli_policy_flag(info, flag), argument ? " " : "", argument ? argument : "");
        px_buffer_add_string(&meaning, info->meaning);
        if (*info->default_text && strlen(info->default_text) <= DEFAULT_MAX)
            px_buffer_printf(&meaning, " Default: %s.", info->default_text);
        add_row(out, px_buffer_shown(&name), px_buffer_shown(&meaning));
    }
}

static void add_exit_statuses(struct px_buffer *out, const char *command)
{
    px_buffer_add_string(out, "\nExit status:\n");
    for (const struct cli_exit_row *row = cli_exit_rows; row->meaning; row++) {
        if (row->commands && !px_word_is_listed(row->commands, command))
            continue;
        px_buffer_printf(out, "  %-7s", row->status);
        cli_help_wrap(out, 9, row->meaning);
    }
}

void cli_help_command(const struct cli_command *command, struct px_buffer *out)
{
    px_auto_buffer struct px_buffer synopsis = {0};
    cli_help_synopsis(command, &synopsis);
    px_buffer_add_string(out, "Usage: ");
    cli_help_wrap(out, 7, px_buffer_shown(&synopsis));
    px_buffer_add_byte(out, '\n');
    cli_help_wrap(out, 0, command->description);
    px_buffer_add_string(out, "\nOptions:\n");
    add_options(out, command->options, command->option_count);
    size_t count;
    if (command->policy_flags) {
        const struct cli_option *rows = cli_settings_options(&count);
        add_options(out, rows, count);
    }
    const struct cli_option *rows = cli_common_options(&count);
    add_options(out, rows, count);
    if (command->policy_reference) {
        px_buffer_add_byte(out, '\n');
        px_policy_describe_help(out);
    } else if (command->policy_flags) {
        add_policy_flags(out);
    }
    add_exit_statuses(out, command->name);
}

void cli_help_program(struct px_buffer *out)
{
    px_buffer_add_string(out, "Usage: pyexec COMMAND [options]\n"
                              "       pyexec --help | --version\n\n"
                              "Runs untrusted Python in a fresh, kernel-isolated process.\n\n"
                              "Commands:\n");
    size_t count;
    const struct cli_command *const *commands = cli_commands(&count);
    for (size_t i = 0; i < count; i++)
        if (commands[i]->summary)
            px_buffer_printf(out, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
    px_buffer_add_string(out, "\n`pyexec COMMAND --help` says more about each.\n"
                              "Try: pyexec run -c 'sum(range(10))'\n");
}
