/* SPDX-License-Identifier: Apache-2.0 */
/* The packages of a run: --with, and the metadata of the script (PEP 723). Both give the run an environment, which is made when it is not
 * there yet. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "cli/print.h"
#include "cli/run_command.h"
#include "env_build/env_build.h"
#include "policy/request.h"

static void say_progress(void *closure, const char *line)
{
    (void)closure;
    cli_say(line, NULL);
}

static bool is_flag(const struct cli_settings *settings, enum px_policy_field field)
{
    return settings->policy.origin[field] == PX_ORIGIN_FLAG;
}

static int refuse(const char *what, const char *hint, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s", what);
    return px_error_hint(error, "%s", hint);
}

static int choose(struct cli_settings *settings, const struct run_options *options, const struct env_script *script,
                  pyexec_error *error)
{
    char name[PX_ENVIRONMENT_NAME_MAX + 1];
    px_auto_json json_t *host = px_host_to_json(&settings->host);
    /* A Python that the user names is used as it is; that of the configuration only if it is what the script requires. */
    const char *python = settings->policy.python_bin;
    bool named = is_flag(settings, PX_FIELD_python_bin);
    const struct env_options wish = {
        .config = &settings->env,
        .host = host,
        .default_python = python,
        .python = named ? python : NULL,
        .requires = script->requires,
        .packages = options->with.items,
        .package_count = options->with.count,
        .names = (const char *const *)script->dependencies.items,
        .name_count = script->dependencies.count,
        .say = say_progress,
    };
    if (env_cached(&wish, name, error) < 0)
        return -1;
    return px_policy_set_text(&settings->policy, "environment", name, PX_ORIGIN_FLAG, error);
}

int run_packages_read(const struct cli_settings *settings, const struct run_options *options,
                      const pyexec_request *request, struct env_script *ret, pyexec_error *error)
{
    bool chosen = is_flag(settings, PX_FIELD_environment);
    if (options->with.count && chosen)
        return refuse("both --with and --environment given",
                      "Give one of them. `pyexec env create` makes an environment with more packages.", error);
    /* The user has chosen: the metadata is only a comment then. */
    return chosen ? 0 : env_script_read(request->code, request->code_length, ret, error);
}

json_t *run_packages_to_json(const struct run_options *options, const struct env_script *script)
{
    json_t *list = json_array();
    for (size_t i = 0; i < options->with.count; i++)
        px_json_append(list, json_string(options->with.items[i]));
    for (size_t i = 0; i < script->dependencies.count; i++)
        px_json_append(list, json_string(script->dependencies.items[i]));
    return list;
}

int run_packages_make(struct cli_settings *settings, const struct run_options *options, const struct env_script *script,
                      pyexec_error *error)
{
    bool none = !options->with.count && !script->dependencies.count && !script->requires;
    return none ? 0 : choose(settings, options, script, error);
}
