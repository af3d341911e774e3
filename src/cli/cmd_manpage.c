/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec manpage: makes pyexec.1 from the tables, for the build; the help does not list it. */
#include <string.h>

#include "base/cleanup.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/print.h"
#include "policy/policy.h"

/* Escapes text for roff: dashes that a reader can copy, backslashes, and dots and quotes at the start of a line. Long lists
 * may be broken after a comma. */
static void add_text(struct px_buffer *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        px_buffer_add_string(out, "\\&");
    for (; *text; text++) {
        if (*text == '-')
            px_buffer_add_string(out, "\\-");
        else if (*text == '\\')
            px_buffer_add_string(out, "\\e");
        else
            px_buffer_add_byte(out, *text);
        if (*text == ',' && text[1] && text[1] != ' ')
            px_buffer_add_string(out, "\\:");
    }
}

static void add_line(struct px_buffer *out, const char *text)
{
    add_text(out, text);
    px_buffer_add_byte(out, '\n');
}

static void add_item(struct px_buffer *out, const char *term, const char *meaning)
{
    px_buffer_add_string(out, ".TP\n.B ");
    add_line(out, term);
    add_line(out, meaning);
}

static void add_options(struct px_buffer *out, const struct cli_option *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!rows[i].meaning)
            continue;
        px_auto_buffer struct px_buffer term = {0};
        cli_help_option(&rows[i], &term);
        add_item(out, px_buffer_shown(&term), rows[i].meaning);
    }
}

static void add_flag(struct px_buffer *out, const char *name, const char *argument, const char *meaning,
                     const char *default_text)
{
    px_auto_buffer struct px_buffer term = {0}, text = {0};
    px_buffer_printf(&term, "--%s%s%s", name, argument ? " " : "", argument ? argument : "");
    px_buffer_add_string(&text, meaning);
    if (default_text && *default_text)
        px_buffer_printf(&text, " Default: %s.", default_text);
    add_item(out, px_buffer_shown(&term), px_buffer_shown(&text));
}

static void add_policy_flags(struct px_buffer *out)
{
    px_buffer_add_string(out, ".SH POLICY FLAGS\n");
    add_line(out, "Booleans are --NAME, --NAME=false or --no-NAME; \"none\" means no limit. "
                  "Durations are integers with ms, s, m or h, or seconds; sizes are bytes, or numbers with "
                  "K, M or G, always powers of 1024.");
    size_t count = 0;
    const struct px_flag_alias *flags = px_policy_flag_aliases(&count);
    for (size_t i = 0; i < count; i++)
        add_flag(out, flags[i].name, flags[i].argument, flags[i].meaning, NULL);
    for (enum px_policy_field field = 0; field < PX_FIELD_COUNT; field++) {
        const struct px_field_info *info = px_policy_field_info(field);
        char flag[CLI_FLAG_MAX];
        add_flag(out, cli_policy_flag(info, flag), cli_policy_argument(info), info->meaning, info->default_text);
    }
}

static void add_command(struct px_buffer *out, const struct cli_command *command)
{
    px_auto_buffer struct px_buffer synopsis = {0};
    cli_help_synopsis(command, &synopsis);
    px_buffer_printf(out, ".SS %s\n", command->name);
    px_buffer_add_string(out, ".B ");
    add_line(out, px_buffer_shown(&synopsis));
    px_buffer_add_string(out, ".PP\n");
    add_line(out, command->description);
    add_options(out, command->options, command->option_count);
}

static void add_commands(struct px_buffer *out)
{
    size_t count;
    const struct cli_command *const *commands = cli_commands(&count);
    px_buffer_add_string(out, ".SH COMMANDS\n");
    for (size_t i = 0; i < count; i++)
        if (commands[i]->summary)
            add_command(out, commands[i]);
    px_buffer_add_string(out, ".SS Options of every command\n");
    const struct cli_option *rows = cli_common_options(&count);
    add_options(out, rows, count);
    rows = cli_settings_options(&count);
    add_options(out, rows, count);
}

static void add_tail(struct px_buffer *out)
{
    px_buffer_add_string(out, ".SH EXIT STATUS\n");
    for (const struct cli_exit_row *row = cli_exit_rows; row->meaning; row++) {
        px_auto_buffer struct px_buffer meaning = {0};
        px_buffer_printf(&meaning, "%s%s%s", row->commands ? row->commands : "", row->commands ? ": " : "",
                         row->meaning);
        add_item(out, row->status, px_buffer_shown(&meaning));
    }
    px_buffer_add_string(out, ".SH FILES\n");
    add_item(
        out, "/etc/pyexec/pyexec.conf",
        "The configuration: sections [policy], [session], [host], [serve], [mcp], [telemetry], [cli], [env], [egress] and [nats]. A key is the name "
        "of the flag with '_' in place of '-'. The file is read when it exists and --config is not given.");
    px_buffer_add_string(out, ".SH ENVIRONMENT\n");
    add_item(out,
             "PYEXEC_POLICY_KEY, PYEXEC_SESSION_KEY, PYEXEC_HOST_KEY, PYEXEC_SERVE_KEY, PYEXEC_MCP_KEY, "
             "PYEXEC_TELEMETRY_KEY, PYEXEC_CLI_KEY, PYEXEC_ENV_KEY, PYEXEC_EGRESS_KEY, PYEXEC_NATS_KEY",
             "Keys of the configuration, as in PYEXEC_POLICY_TIMEOUT=5s. They override the file, and flags override "
             "them.");
    add_item(out, "NO_COLOR", "No colours.");
    px_buffer_add_string(out, ".SH EXAMPLES\n.EX\n");
    add_line(out, "pyexec run -c 'sum(range(10))'");
    add_line(out, "pyexec run --timeout 30s --files full --file data.csv --output out script.py");
    add_line(out, "echo 'print(6 * 7)' | pyexec run --json");
    add_line(out, "pyexec run --input 'xs=[1, 2, 6]' --value-json records -c '{\"mean\": sum(xs) / len(xs)}'");
    add_line(out, "pyexec serve --listen unix:/tmp/pyexec.sock");
    add_line(out, "pyexec doctor");
    px_buffer_add_string(out, ".EE\n");
}

static int run(const struct cli_arguments *arguments, void *options)
{
    (void)arguments, (void)options;
    px_auto_buffer struct px_buffer out = {0};
    px_buffer_printf(&out,
                     ".\\\" Made by `pyexec manpage`; don't edit.\n"
                     ".TH PYEXEC 1 \"\" \"pyexec %s\" \"User Commands\"\n"
                     ".ad l\n"
                     ".SH NAME\npyexec \\- run untrusted Python in a kernel\\-isolated process\n"
                     ".SH SYNOPSIS\n.B pyexec\n.I command\n[\\fIoptions\\fR]\n"
                     ".SH DESCRIPTION\n",
                     pyexec_version());
    add_line(&out, "Each script runs in a fresh process with its own namespaces, file tree, "
                   "system call filter and limits. The policy says what it may do; by default "
                   "it may compute, import a few harmless modules, and print.");
    add_commands(&out);
    add_policy_flags(&out);
    add_tail(&out);
    return cli_print(&out);
}

const struct cli_command cmd_manpage = {.name = "manpage", .run = run};
