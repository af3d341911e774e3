/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec completion bash|zsh|fish: prints a completion script, made from the tables of options. Used when
 * pyexec is installed; the help does not list it. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "policy/policy.h"

/* One option as the three shells need it. */
struct entry {
    const char *name;
    char letter;
    const char *argument; /* NULL: a switch */
    const char *meaning;
};

typedef void (*entry_fn)(struct px_buffer *out, const char *command, const struct entry *entry);

static void each_row(struct px_buffer *out, const char *command, const struct cli_option *rows, size_t count,
                     entry_fn fn)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i].meaning)
            fn(out, command, &(struct entry){rows[i].name, rows[i].letter, rows[i].argument, rows[i].meaning});
}

static void each_policy_flag(struct px_buffer *out, const char *command, entry_fn fn)
{
    size_t count = 0;
    const struct px_flag_alias *flags = px_policy_flag_aliases(&count);
    for (size_t i = 0; i < count; i++)
        fn(out, command, &(struct entry){flags[i].name, 0, flags[i].argument, flags[i].meaning});
    for (enum px_policy_field field = 0; field < PX_FIELD_COUNT; field++) {
        const struct px_field_info *info = px_policy_field_info(field);
        char flag[CLI_FLAG_MAX];
        fn(out, command, &(struct entry){cli_policy_flag(info, flag), 0, cli_policy_argument(info), info->meaning});
    }
}

static void each_entry(struct px_buffer *out, const struct cli_command *command, entry_fn fn)
{
    size_t count;
    each_row(out, command->name, command->options, command->option_count, fn);
    const struct cli_option *rows = cli_common_options(&count);
    each_row(out, command->name, rows, count, fn);
    if (!command->policy_flags)
        return;
    rows = cli_settings_options(&count);
    each_row(out, command->name, rows, count, fn);
    each_policy_flag(out, command->name, fn);
}

typedef void (*command_fn)(struct px_buffer *out, const struct cli_command *command);

static void each_command(struct px_buffer *out, command_fn fn)
{
    size_t count;
    const struct cli_command *const *commands = cli_commands(&count);
    for (size_t i = 0; i < count; i++)
        if (commands[i]->summary)
            fn(out, commands[i]);
}

/* Which values an argument has, by its name. */
enum values { VALUES_FREE, VALUES_FILE, VALUES_FOLDER, VALUES_CHOICE };

static enum values values_of(const char *argument)
{
    if (strchr(argument, '|'))
        return VALUES_CHOICE;
    if (strcmp(argument, "FILE") == 0 || strncmp(argument, "HOST", 4) == 0)
        return VALUES_FILE;
    return strcmp(argument, "DIR") == 0 ? VALUES_FOLDER : VALUES_FREE;
}

/* "none|read|full" with spaces between. */
static void add_choices(struct px_buffer *out, const char *argument)
{
    for (; *argument; argument++)
        px_buffer_add_byte(out, *argument == '|' ? ' ' : *argument);
}

/* Writes text inside single quotes, for each of the shells. `special`: other characters that need a backslash there. */
static void add_quoted(struct px_buffer *out, const char *text, const char *special)
{
    for (; *text; text++) {
        if (*text == '\'') {
            px_buffer_add_string(out, "'\\''");
            continue;
        }
        if (strchr(special, *text))
            px_buffer_add_byte(out, '\\');
        px_buffer_add_byte(out, *text);
    }
}

/* bash */

static void bash_value(struct px_buffer *out, const char *command, const struct entry *entry)
{
    if (!entry->argument)
        return;
    px_buffer_printf(out, "        %s:--%s", command, entry->name);
    if (entry->letter)
        px_buffer_printf(out, "|%s:-%c", command, entry->letter);
    px_buffer_add_string(out, ") ");
    switch (values_of(entry->argument)) {
    case VALUES_CHOICE:
        px_buffer_add_string(out, "COMPREPLY=($(compgen -W '");
        add_choices(out, entry->argument);
        px_buffer_add_string(out, "' -- \"$cur\"))");
        break;
    case VALUES_FILE:
        px_buffer_add_string(out, "COMPREPLY=($(compgen -f -- \"$cur\"))");
        break;
    case VALUES_FOLDER:
        px_buffer_add_string(out, "COMPREPLY=($(compgen -d -- \"$cur\"))");
        break;
    case VALUES_FREE:
        px_buffer_add_string(out, "COMPREPLY=()");
        break;
    }
    px_buffer_add_string(out, "; return ;;\n");
}

static void bash_values(struct px_buffer *out, const struct cli_command *command)
{
    each_entry(out, command, bash_value);
}

static void bash_flag(struct px_buffer *out, const char *command, const struct entry *entry)
{
    (void)command;
    px_buffer_printf(out, " --%s", entry->name);
}

static void bash_flags(struct px_buffer *out, const struct cli_command *command)
{
    px_buffer_printf(out, "        %s) words='", command->name);
    each_entry(out, command, bash_flag);
    px_buffer_add_string(out, "' ;;\n");
}

static void command_name(struct px_buffer *out, const struct cli_command *command)
{
    px_buffer_printf(out, " %s", command->name);
}

static void add_bash(struct px_buffer *out)
{
    px_buffer_add_string(out, "# bash completion for pyexec; made by `pyexec completion bash`.\n"
                              "_pyexec()\n{\n"
                              "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                              "    local command=${COMP_WORDS[1]} words=\n"
                              "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                              "        COMPREPLY=($(compgen -W '--help --version help");
    each_command(out, command_name);
    px_buffer_add_string(out, "' -- \"$cur\"))\n        return\n    fi\n"
                              "    case $command:$prev in\n");
    each_command(out, bash_values);
    px_buffer_add_string(out, "    esac\n    case $command in\n        help) words='");
    each_command(out, command_name);
    px_buffer_add_string(out, "' ;;\n");
    each_command(out, bash_flags);
    px_buffer_add_string(out, "    esac\n"
                              "    if [[ $cur == -* || $command == help ]]; then\n"
                              "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                              "    elif [ \"$command\" = run ]; then\n"
                              "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                              "    fi\n"
                              "}\n"
                              "complete -o filenames -F _pyexec pyexec\n");
}

/* zsh */

static void zsh_command(struct px_buffer *out, const struct cli_command *command)
{
    px_buffer_printf(out, "        '%s:", command->name);
    add_quoted(out, command->summary, ":");
    px_buffer_add_string(out, "'\n");
}

/* "--code=" or "-c", with everything that belongs to it. */
static void zsh_spelling(struct px_buffer *out, const char *flag, const struct entry *entry)
{
    px_buffer_printf(out, "            '*%s[", flag);
    add_quoted(out, entry->meaning, "[]:");
    px_buffer_add_byte(out, ']');
    if (entry->argument) {
        px_buffer_add_byte(out, ':');
        add_quoted(out, entry->argument, ":");
        px_buffer_add_byte(out, ':');
        switch (values_of(entry->argument)) {
        case VALUES_CHOICE:
            px_buffer_add_byte(out, '(');
            add_choices(out, entry->argument);
            px_buffer_add_byte(out, ')');
            break;
        case VALUES_FILE:
            px_buffer_add_string(out, "_files");
            break;
        case VALUES_FOLDER:
            px_buffer_add_string(out, "_files -/");
            break;
        case VALUES_FREE:
            break;
        }
    }
    px_buffer_add_string(out, "' \\\n");
}

static void zsh_option(struct px_buffer *out, const char *command, const struct entry *entry)
{
    (void)command;
    char flag[CLI_FLAG_MAX + 4];
    snprintf(flag, sizeof flag, "--%s%s", entry->name, entry->argument ? "=" : "");
    zsh_spelling(out, flag, entry);
    if (entry->letter) {
        snprintf(flag, sizeof flag, "-%c%s", entry->letter, entry->argument ? "+" : "");
        zsh_spelling(out, flag, entry);
    }
}

static void zsh_options(struct px_buffer *out, const struct cli_command *command)
{
    px_buffer_printf(out, "    %s)\n        _arguments \\\n", command->name);
    each_entry(out, command, zsh_option);
    px_buffer_printf(out, "            %s\n        ;;\n", command->operands ? "'*:script:_files'" : "");
}

static void add_zsh(struct px_buffer *out)
{
    px_buffer_add_string(out, "#compdef pyexec\n"
                              "# zsh completion for pyexec; made by `pyexec completion zsh`.\n"
                              "local -a commands\n"
                              "if (( CURRENT == 2 )); then\n    commands=(\n");
    each_command(out, zsh_command);
    px_buffer_add_string(out, "    )\n    _describe command commands\n    return\nfi\n"
                              "local command=$words[2]\nshift words\n(( CURRENT-- ))\n"
                              "case $command in\n");
    each_command(out, zsh_options);
    px_buffer_add_string(out, "esac\n");
}

/* fish */

static void fish_option(struct px_buffer *out, const char *command, const struct entry *entry)
{
    px_buffer_printf(out, "complete -c pyexec -n '__fish_seen_subcommand_from %s' -l %s", command, entry->name);
    if (entry->letter)
        px_buffer_printf(out, " -s %c", entry->letter);
    if (entry->argument) {
        switch (values_of(entry->argument)) {
        case VALUES_CHOICE:
            px_buffer_add_string(out, " -x -a '");
            add_choices(out, entry->argument);
            px_buffer_add_byte(out, '\'');
            break;
        case VALUES_FILE:
        case VALUES_FOLDER:
            px_buffer_add_string(out, " -r -F");
            break;
        case VALUES_FREE:
            px_buffer_add_string(out, " -x");
            break;
        }
    }
    px_buffer_add_string(out, " -d '");
    for (const char *c = entry->meaning; *c; c++) {
        if (*c == '\'' || *c == '\\')
            px_buffer_add_byte(out, '\\');
        px_buffer_add_byte(out, *c);
    }
    px_buffer_add_string(out, "'\n");
}

static void fish_command(struct px_buffer *out, const struct cli_command *command)
{
    px_buffer_printf(out, "complete -c pyexec -n __fish_use_subcommand -f -a %s -d '%s'\n", command->name,
                     command->summary);
    if (!command->operands)
        px_buffer_printf(out, "complete -c pyexec -n '__fish_seen_subcommand_from %s' -f\n", command->name);
    each_entry(out, command, fish_option);
}

static void add_fish(struct px_buffer *out)
{
    px_buffer_add_string(out, "# fish completion for pyexec; made by `pyexec completion fish`.\n");
    each_command(out, fish_command);
}

static const struct {
    const char *name;
    void (*add)(struct px_buffer *out);
} shells[] = {{"bash", add_bash}, {"zsh", add_zsh}, {"fish", add_fish}};

static int run(const struct cli_arguments *arguments, void *options)
{
    (void)options;
    const char *name = arguments->operands.count ? arguments->operands.items[0] : "";
    for (size_t i = 0; i < PX_COUNT(shells); i++)
        if (strcmp(shells[i].name, name) == 0) {
            px_auto_buffer struct px_buffer out = {0};
            shells[i].add(&out);
            return cli_print(&out);
        }
    pyexec_error error;
    px_error_set(&error, PYEXEC_INVALID_REQUEST, "completion: unknown shell '%s'", name);
    px_error_hint(&error, "Write `pyexec completion bash`, zsh or fish.");
    return cli_fail(&error);
}

const struct cli_command cmd_completion = {
    .name = "completion",
    .operands = "bash|zsh|fish",
    .max_operands = 1,
    .run = run,
};
