/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the command line by tables: the rows of the command, the rows that all commands have, and the policy's.
 * All values point into argv; it trusts nothing else about them. */
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/spelling.h"
#include "cli/commands.h"
#include "policy/policy.h"

static const struct cli_option common_options[] = {
    {"help", 'h', NULL, "Print this help.", CLI_INTO(struct cli_arguments, help)},
};

static const struct cli_option settings_options[] = {
    {"config", 0, "FILE", "Configuration file, instead of /etc/pyexec/pyexec.conf.",
     CLI_INTO(struct cli_arguments, config)},
    {"allow-missing", 0, "LAYERS",
     "Run without these isolation layers where the machine refuses them (comma-separated names of `pyexec doctor`).",
     CLI_INTO(struct cli_arguments, allow_missing)},
};

const struct cli_option *cli_common_options(size_t *ret_count)
{
    *ret_count = PX_COUNT(common_options);
    return common_options;
}

const struct cli_option *cli_settings_options(size_t *ret_count)
{
    *ret_count = PX_COUNT(settings_options);
    return settings_options;
}

const char *cli_policy_flag(const struct px_field_info *info, char name[CLI_FLAG_MAX])
{
    snprintf(name, CLI_FLAG_MAX, "%s", info->alias && *info->alias ? info->alias : info->name);
    for (char *c = name; *c; c++)
        if (*c == '_')
            *c = '-';
    return name;
}

const char *cli_policy_argument(const struct px_field_info *info)
{
    static const struct {
        const char *kind, *argument;
    } arguments[] = {
        {"string", "TEXT"},       {"environment", "NAME"}, {"environments", "NAMES"},
        {"duration", "DURATION"}, {"integer", "NUMBER"},   {"size", "SIZE"},
        {"names", "NAMES"},       {"list", "NAMES"},       {"hosts", "NAMES"},
    };
    for (size_t i = 0; i < PX_COUNT(arguments); i++)
        if (strcmp(arguments[i].kind, info->kind) == 0)
            return arguments[i].argument;
    return NULL;
}

/* The state of one parse. */
struct parser {
    const struct cli_command *command;
    char **argv;
    int argc, at;
    struct cli_arguments *arguments;
    void *options;
};

/* A row and the struct that it points into. */
struct option_target {
    const struct cli_option *row;
    void *base;
};

static int list_add(struct cli_list *list, const char *item, pyexec_error *error)
{
    const char **items = reallocarray(list->items, list->count + 1, sizeof *items);
    if (!items)
        return px_error_oom(error);
    list->items = items;
    items[list->count++] = item;
    return 0;
}

static int flag_add(struct cli_arguments *arguments, struct cli_flag flag, pyexec_error *error)
{
    struct cli_flag *flags = reallocarray(arguments->flags, arguments->flag_count + 1, sizeof *flags);
    if (!flags)
        return px_error_oom(error);
    arguments->flags = flags;
    flags[arguments->flag_count++] = flag;
    return 0;
}

/* Returns the row with this long name, or with this letter when the name is NULL. */
static bool find_row(const struct parser *parser, const char *name, char letter, struct option_target *ret)
{
    const struct {
        const struct cli_option *rows;
        size_t count;
        void *base;
    } tables[] = {
        {parser->command->options, parser->command->option_count, parser->options},
        {common_options, PX_COUNT(common_options), parser->arguments},
        {settings_options, parser->command->policy_flags ? PX_COUNT(settings_options) : 0, parser->arguments},
    };
    for (size_t t = 0; t < PX_COUNT(tables); t++)
        for (size_t i = 0; i < tables[t].count; i++) {
            const struct cli_option *row = &tables[t].rows[i];
            if (name ? strcmp(row->name, name) == 0 : row->letter && row->letter == letter) {
                *ret = (struct option_target){row, tables[t].base};
                return true;
            }
        }
    return false;
}

/* The value of an option that needs one: the text after '=', or the next argument. */
static int take_value(struct parser *parser, const char *flag, const char *argument, const char **value,
                      pyexec_error *error)
{
    if (*value)
        return 0;
    if (parser->at >= parser->argc) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "%s needs a value", flag);
        return px_error_hint(error, "Write %s %s.", flag, argument);
    }
    *value = parser->argv[parser->at++];
    return 0;
}

/* Switches take true or false after '=', as the policy's booleans do. */
static int switch_value(const char *flag, const char *value, bool *ret, pyexec_error *error)
{
    *ret = !value || strcmp(value, "true") == 0;
    if (*ret || strcmp(value, "false") == 0)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s is a switch, so its value can't be '%s'", flag, value);
    return px_error_hint(error, "Write %s without a value, or %s=false.", flag, flag);
}

static int set_row(struct parser *parser, const struct option_target *target, const char *flag, const char *value,
                   pyexec_error *error)
{
    void *member = (char *)target->base + target->row->offset;
    if (target->row->kind == CLI_SWITCH)
        return switch_value(flag, value, member, error);
    if (take_value(parser, flag, target->row->argument, &value, error) < 0)
        return -1;
    if (target->row->kind == CLI_LIST)
        return list_add(member, value, error);
    *(const char **)member = value;
    return 0;
}

static void offer_rows(struct px_spelling *nearest, const struct cli_option *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i].meaning)
            px_spelling_offer(nearest, rows[i].name);
}

static void offer_policy_flags(struct px_spelling *nearest, bool only_switches)
{
    size_t count = 0;
    const struct px_flag_alias *flags = px_policy_flag_aliases(&count);
    for (size_t i = 0; i < count; i++)
        if (!only_switches || !flags[i].argument)
            px_spelling_offer(nearest, flags[i].name);
    for (enum px_policy_field field = 0; field < PX_FIELD_COUNT; field++) {
        const struct px_field_info *info = px_policy_field_info(field);
        if (only_switches && cli_policy_argument(info))
            continue;
        px_spelling_offer(nearest, info->name);
        if (info->alias)
            px_spelling_offer(nearest, info->alias);
    }
}

/* The most similar option; for "no-…" only a switch of the policy, because a suggestion must not be the
 * opposite of what was meant. */
static const char *nearest_option(const struct cli_command *command, const char *name, bool negated)
{
    struct px_spelling nearest = {.wanted = name};
    if (!negated) {
        offer_rows(&nearest, command->options, command->option_count);
        offer_rows(&nearest, common_options, PX_COUNT(common_options));
        if (command->policy_flags)
            offer_rows(&nearest, settings_options, PX_COUNT(settings_options));
    }
    if (command->policy_flags)
        offer_policy_flags(&nearest, negated);
    return nearest.best;
}

static int unknown_option(const struct parser *parser, const char *flag, pyexec_error *error)
{
    const struct cli_command *command = parser->command;
    const char *name = command->name, *space = *name ? " " : "", *best = NULL, *no = "";
    if (strncmp(flag, "--no-", 5) == 0 && (best = nearest_option(command, flag + 5, true)))
        no = "no-";
    else if (flag[1] == '-')
        best = nearest_option(command, flag + 2, false);
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s%sunknown option '%s'", name, *name ? ": " : "", flag);
    if (!best)
        return px_error_hint(error, "`pyexec%s%s --help` lists the options.", space, name);
    char dashed[CLI_FLAG_MAX];
    const struct px_field_info as_field = {.name = best};
    return px_error_hint(error, "Did you mean --%s%s? `pyexec%s%s --help` lists the options.", no,
                         cli_policy_flag(&as_field, dashed), space, name);
}

/* A flag of the policy, and the name of its value; NULL for a switch. */
struct policy_flag {
    const char *name;
    const char *argument;
    bool is_short;
};

static bool find_policy_flag(const char *name, struct policy_flag *ret)
{
    size_t count = 0;
    const struct px_flag_alias *flags = px_policy_flag_aliases(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(flags[i].name, name) == 0) {
            *ret = (struct policy_flag){flags[i].name, flags[i].argument, true};
            return true;
        }
    enum px_policy_field field = px_policy_find(name);
    if (field == PX_FIELD_COUNT)
        return false;
    const struct px_field_info *info = px_policy_field_info(field);
    /* The name as it was written: timeout-ms may have no unit, timeout must have one. */
    bool alias = info->alias && strcmp(info->alias, name) == 0;
    *ret = (struct policy_flag){alias ? info->alias : info->name, cli_policy_argument(info), false};
    return true;
}

/* Handles a flag of the policy. Returns 1 if `name` is not one, else 0 or -1. */
static int parse_policy_flag(struct parser *parser, const char *flag, const char *name, const char *value,
                             pyexec_error *error)
{
    struct policy_flag found;
    bool negated = false;
    if (!find_policy_flag(name, &found)) {
        negated = strncmp(name, "no-", 3) == 0 && find_policy_flag(name + 3, &found);
        if (!negated)
            return 1;
    }
    if (negated && (value || found.argument)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "%s can't be negated%s", flag,
                     found.argument ? "" : " and have a value too");
        return px_error_hint(error, "Write --%s=VALUE.", name + 3);
    }
    if (!found.argument && !value)
        value = negated ? "false" : "true";
    if (take_value(parser, flag, found.argument, &value, error) < 0)
        return -1;
    return flag_add(parser->arguments, (struct cli_flag){found.name, value, found.is_short}, error);
}

static int parse_long(struct parser *parser, const char *text, pyexec_error *error)
{
    char flag[CLI_FLAG_MAX + 2];
    size_t length = strcspn(text, "=");
    const char *value = text[length] ? text + length + 1 : NULL;
    snprintf(flag, sizeof flag, "%.*s", (int)(length < sizeof flag ? length : sizeof flag), text);
    const char *name = flag + 2;

    struct option_target target;
    if (find_row(parser, name, 0, &target))
        return set_row(parser, &target, flag, value, error);
    if (parser->command->policy_flags) {
        int status = parse_policy_flag(parser, flag, name, value, error);
        if (status <= 0)
            return status;
    }
    return unknown_option(parser, flag, error);
}

/* "-j", "-c CODE", "-cCODE" or several switches together. */
static int parse_letters(struct parser *parser, const char *text, pyexec_error *error)
{
    for (const char *letter = text + 1; *letter; letter++) {
        char flag[] = {'-', *letter, 0};
        struct option_target target;
        if (!find_row(parser, NULL, *letter, &target))
            return unknown_option(parser, flag, error);
        bool takes_value = target.row->kind != CLI_SWITCH;
        const char *value = takes_value && letter[1] ? letter + 1 : NULL;
        if (set_row(parser, &target, flag, value, error) < 0)
            return -1;
        if (takes_value)
            break;
    }
    return 0;
}

static int add_operand(struct parser *parser, const char *text, pyexec_error *error)
{
    struct cli_list *operands = &parser->arguments->operands;
    if (operands->count < parser->command->max_operands)
        return list_add(operands, text, error);
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: unexpected argument '%s'", parser->command->name, text);
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
        return px_error_hint(error, "Give a switch its value with '=', as in --disable-open=%s.", text);
    return px_error_hint(error, "`pyexec %s --help` says what it takes.", parser->command->name);
}

int cli_parse(const struct cli_command *command, int argc, char **argv, struct cli_arguments *arguments, void *options,
              pyexec_error *error)
{
    struct parser parser = {command, argv, argc, 0, arguments, options};
    bool only_operands = false;
    while (parser.at < argc) {
        const char *text = argv[parser.at++];
        int status = 0;
        if (only_operands || text[0] != '-' || !text[1])
            status = add_operand(&parser, text, error);
        else if (strcmp(text, "--") == 0)
            only_operands = true;
        else if (text[1] == '-')
            status = parse_long(&parser, text, error);
        else
            status = parse_letters(&parser, text, error);
        if (status < 0)
            return -1;
    }
    return 0;
}

void cli_parse_done(const struct cli_command *command, struct cli_arguments *arguments, void *options)
{
    for (size_t i = 0; i < command->option_count; i++)
        if (command->options[i].kind == CLI_LIST)
            free(((struct cli_list *)((char *)options + command->options[i].offset))->items);
    free(arguments->operands.items);
    free(arguments->flags);
}
