/* SPDX-License-Identifier: Apache-2.0 */
/* Texts made from the tables: the help, the tables of the documentation, and the sample configuration file. */
#include <string.h>

#include "base/wrap.h"
#include "policy/config.h"
#include "policy/fields.h"

static void wrap(struct px_buffer *out, const char *prefix, const char *text)
{
    px_buffer_add_string(out, prefix);
    px_wrap(out, prefix, text);
}

static const char *default_of(const struct px_field *field)
{
    return *field->info.default_text ? field->info.default_text : "empty";
}

/* Appends what the field means and which values it accepts. Each begins on a new line. */
static void describe_field(struct px_buffer *out, const char *prefix, const struct px_field *field)
{
    px_auto_buffer struct px_buffer line = {0};
    wrap(out, prefix, field->info.meaning);
    px_buffer_add_string(&line, "Accepts ");
    px_field_accepts(field, &line);
    px_buffer_add_byte(&line, '.');
    wrap(out, prefix, px_buffer_shown(&line));
}

static void describe_default(struct px_buffer *out, const struct px_field *field)
{
    /* Sets have no spaces at which a line could be broken, so spaces are added here. */
    px_auto_buffer struct px_buffer line = {0};
    px_buffer_add_string(&line, "Default: ");
    for (const char *c = default_of(field); *c; c++) {
        px_buffer_add_byte(&line, *c);
        if (*c == ',')
            px_buffer_add_byte(&line, ' ');
    }
    wrap(out, "      ", px_buffer_shown(&line));
}

static void describe_short_flags(struct px_buffer *out)
{
    px_buffer_add_string(out, "\nShort flags:\n");
    size_t count;
    const struct px_flag_alias *flags = px_policy_flag_aliases(&count);
    for (size_t i = 0; i < count; i++) {
        px_buffer_printf(out, "\n  --%s%s%s\n", flags[i].name, flags[i].argument ? " " : "",
                         flags[i].argument ? flags[i].argument : "");
        wrap(out, "      ", flags[i].meaning);
    }
}

void px_policy_describe_help(struct px_buffer *out)
{
    wrap(out, "",
         "Keys of the policy. As a flag: --cpu-time-seconds 3; in files: "
         "cpu_time_seconds = 3; in the environment: PYEXEC_POLICY_CPU_TIME_SECONDS=3; "
         "in JSON: {\"cpu_time_seconds\": 3}.");
    for (size_t i = 0; i < px_policy_table.count; i++) {
        const struct px_field *field = &px_policy_table.fields[i];
        px_buffer_printf(out, "\n  %s", field->info.name);
        if (field->info.alias)
            px_buffer_printf(out, " (outside JSON also: %s)", field->info.alias);
        px_buffer_add_byte(out, '\n');
        describe_field(out, "      ", field);
        describe_default(out, field);
    }
    describe_short_flags(out);
}

/* A cell of a table. A '|' would end it, so it is escaped; sets get a space after each comma, so that lines can
 * be broken there. */
static void add_cell(struct px_buffer *out, const char *text, bool code)
{
    px_buffer_add_string(out, code ? " `" : " ");
    for (const char *c = text; *c; c++) {
        if (*c == '|')
            px_buffer_add_byte(out, '\\');
        px_buffer_add_byte(out, *c);
        if (*c == ',' && c[1] != ' ')
            px_buffer_add_byte(out, ' ');
    }
    px_buffer_add_string(out, code ? "` |" : " |");
}

/* One table of the documentation: a row for each key of a section. */
static void add_markdown_table(struct px_buffer *out, const struct px_table *table)
{
    px_buffer_printf(out, "\n## [%s]\n\n%s\n\n", table->name, table->about);
    px_buffer_add_string(out, "| key | accepts | default | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < table->count; i++) {
        const struct px_field *field = &table->fields[i];
        px_auto_buffer struct px_buffer accepts = {0};
        px_field_accepts(field, &accepts);
        px_buffer_add_byte(out, '|');
        add_cell(out, field->info.name, true);
        add_cell(out, px_buffer_shown(&accepts), false);
        add_cell(out, default_of(field), *field->info.default_text != '\0');
        add_cell(out, field->info.meaning, false);
        px_buffer_add_byte(out, '\n');
    }
}

static void add_markdown_short_flags(struct px_buffer *out)
{
    px_buffer_add_string(out, "\n## Short flags\n\nEach one sets several keys of [policy] at once.\n\n"
                              "| flag | meaning |\n|---|---|\n");
    size_t count;
    const struct px_flag_alias *flags = px_policy_flag_aliases(&count);
    for (size_t i = 0; i < count; i++) {
        px_auto_buffer struct px_buffer flag = {0};
        px_buffer_printf(&flag, "--%s%s%s", flags[i].name, flags[i].argument ? " " : "",
                         flags[i].argument ? flags[i].argument : "");
        px_buffer_add_byte(out, '|');
        add_cell(out, px_buffer_shown(&flag), true);
        add_cell(out, flags[i].meaning, false);
        px_buffer_add_byte(out, '\n');
    }
}

static const struct px_table *const sections[] = {
    &px_policy_table,        &px_session_config_table,   &px_host_table,       &px_serve_config_table,
    &px_mcp_config_table,    &px_telemetry_config_table, &px_cli_config_table, &px_env_config_table,
    &px_egress_config_table, &px_nats_config_table};

void px_config_describe_markdown(struct px_buffer *out)
{
    px_buffer_add_string(
        out,
        "# Configuration\n\n"
        "pyexec reads settings from four places. Each place overrides the ones before it:\n\n"
        "1. the defaults below,\n"
        "2. a configuration file: `--config FILE`, or `/etc/pyexec/pyexec.conf` when it exists,\n"
        "3. environment variables: `PYEXEC_POLICY_TIMEOUT=5s`, `PYEXEC_HOST_ZYGOTES=2`,\n"
        "4. flags of the command: `--timeout 5s`.\n\n"
        "`pyexec policy --origin` prints each value of the policy and the place that it comes from.\n\n"
        "The file is INI. It has one section for each table below, one key on a line, and comments on "
        "lines of their own, which begin with `#`. `pyexec policy --config-template` prints a file with "
        "every key.\n\n"
        "- **Durations** are an integer with `ms`, `s`, `m` or `h`: `timeout = 5s`, `--timeout 5s`. An integer without a unit is "
        "seconds: `--timeout 5`. With a name that ends in `_ms`, and in JSON, it is milliseconds: `timeout_ms = 5000`.\n"
        "- **Sizes** are bytes, or an integer with `K`, `M` or `G`. These are powers of 1024.\n"
        "- **none** means no limit. In JSON it is `null`.\n\n"
        "C, RPC and HTTP callers send the keys of [policy] as JSON: `{\"cpu_time_seconds\": 3}`. An unknown key or "
        "a bad value is refused as `invalid_policy`; the message names the key, the value and what is accepted.\n");
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
        add_markdown_table(out, sections[i]);
    add_markdown_short_flags(out);
}

void px_config_describe(struct px_buffer *out)
{
    wrap(out, "# ",
         "pyexec's configuration: every key with its default. Remove the # before a "
         "key to set it. The environment (PYEXEC_POLICY_TIMEOUT=5s) and flags are "
         "stronger. Comments stand on lines of their own.");
    for (size_t t = 0; t < sizeof sections / sizeof sections[0]; t++) {
        px_buffer_add_byte(out, '\n');
        wrap(out, "# ", sections[t]->about);
        px_buffer_printf(out, "[%s]\n", sections[t]->name);
        for (size_t i = 0; i < sections[t]->count; i++) {
            const struct px_field_info *info = &sections[t]->fields[i].info;
            px_buffer_add_byte(out, '\n');
            describe_field(out, "# ", &sections[t]->fields[i]);
            px_buffer_printf(out, "#%s =%s%s\n", info->alias ? info->alias : info->name, *info->default_text ? " " : "",
                             info->default_text);
        }
    }
}
