/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec policy: the policy that holds here, where each value comes from, and the references that the build
 * makes from the policy's tables. */
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/print.h"
#include "cli/settings.h"
#include "result/result_rows.h"

struct policy_options {
    bool origin;
    bool markdown;
    bool config_template;
    bool result_keys;
    bool tables;
};

static const struct cli_option policy_rows[] = {
    {"origin", 0, NULL, "A table of keys, values and where each value is from; and what .pth files let scripts read.",
     CLI_INTO(struct policy_options, origin)},
    {"markdown", 0, NULL, NULL, CLI_INTO(struct policy_options, markdown)},
    {"config-template", 0, NULL, NULL, CLI_INTO(struct policy_options, config_template)},
    {"result-keys", 0, NULL, NULL, CLI_INTO(struct policy_options, result_keys)},
    {"tables", 0, NULL, NULL, CLI_INTO(struct policy_options, tables)},
};

static json_t *policy_table(const json_t *defaults)
{
    json_t *rows = json_array();
    for (enum px_policy_field field = 0; field < PX_FIELD_COUNT; field++) {
        const struct px_field_info *info = px_policy_field_info(field);
        px_json_append(rows, json_pack("{s:s, s:s, s:b, s:O, s:s}", "key", info->name, "kind", info->kind, "null",
                                       info->nullable, "default", json_object_get(defaults, info->name), "meaning",
                                       info->meaning));
    }
    return rows;
}

/* policy.def and the members of a run's result as JSON, for tools/client-types.py. */
static int print_tables(void)
{
    pyexec_error error;
    px_auto_buffer struct px_buffer out = {0};
    px_auto(px_policy_done) struct px_policy defaults = {0};
    if (px_policy_init(&defaults, &error) < 0)
        return cli_fail(&error);
    json_t *values = px_policy_to_json(&defaults);
    json_t *object = json_pack("{s:o, s:o}", "policy", policy_table(values), "result", px_result_table());
    json_decref(values);
    px_auto_free char *text = px_json_take_text(object);
    px_buffer_printf(&out, "%s\n", text ? text : "");
    out.failed = !text;
    return cli_print(&out);
}

/* Keys, values and origins; values as JSON has them. */
static int add_origins(const struct px_policy *policy, json_t *object, struct px_buffer *out)
{
    px_buffer_printf(out, "%-24s%-14s%s\n", "key", "from", "value");
    for (enum px_policy_field field = 0; field < PX_FIELD_COUNT; field++) {
        const char *name = px_policy_field_info(field)->name;
        px_auto_free char *value = px_json_dumps(json_object_get(object, name), JSON_ENCODE_ANY | JSON_COMPACT);
        if (!value)
            return -1;
        px_buffer_printf(out, "%-24s%-14s%s\n", name, px_origin_name((enum px_origin)policy->origin[field]), value);
    }
    return 0;
}

/* The files that scripts can read because of the interpreter. They are known only after an interpreter was started. */
static int add_importable(const struct cli_settings *settings, struct px_buffer *out, pyexec_error *error)
{
    json_t *doctor;
    if (px_policy_isolates(&settings->policy))
        return 0;
    if (cli_settings_examine(settings, false, &doctor, error) < 0)
        return -1;
    json_t *python = json_object_get(doctor, "python");
    const char *problem = json_string_value(json_object_get(json_object_get(python, "error"), "message"));
    if (problem)
        cli_say("what .pth files add can't be listed", problem);
    cli_add_importable(out, python);
    json_decref(doctor);
    return 0;
}

static int print_policy(const struct cli_settings *settings, bool origin)
{
    pyexec_error error;
    px_auto_buffer struct px_buffer out = {0};
    json_t *object = px_policy_to_json(&settings->policy);
    px_auto_free char *text = object ? px_json_dumps(object, JSON_INDENT(2)) : NULL;
    out.failed = !text;
    if (text && !origin)
        px_buffer_printf(&out, "%s\n", text);
    else if (text && add_origins(&settings->policy, object, &out) < 0)
        out.failed = true;
    json_decref(object);
    if (origin && add_importable(settings, &out, &error) < 0)
        return cli_fail(&error);
    return cli_print(&out);
}

static int run(const struct cli_arguments *arguments, void *target)
{
    const struct policy_options *options = target;
    px_auto_buffer struct px_buffer out = {0};
    if (options->tables)
        return print_tables();
    if (options->markdown)
        px_config_describe_markdown(&out);
    if (options->config_template)
        px_config_describe(&out);
    if (options->result_keys)
        px_result_describe(&out);
    if (options->markdown || options->config_template || options->result_keys)
        return cli_print(&out);

    pyexec_error error;
    px_auto(cli_settings_done) struct cli_settings settings = {0};
    if (cli_settings_load(&settings, arguments, &error) < 0 || cli_settings_find_environment(&settings, &error) < 0)
        return cli_fail(&error);
    return print_policy(&settings, options->origin);
}

const struct cli_command cmd_policy = {
    .name = "policy",
    .summary = "the effective policy, and where each value is from",
    .description = "Prints the policy that a run with the same flags would have, as JSON: the defaults, "
                   "the configuration file, the environment (PYEXEC_POLICY_TIMEOUT=5s) and the flags "
                   "together.",
    .options = policy_rows,
    .option_count = PX_COUNT(policy_rows),
    .options_size = sizeof(struct policy_options),
    .policy_flags = true,
    .policy_reference = true,
    .run = run,
};
