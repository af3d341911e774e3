/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/print.h"

static int apply_flags(struct cli_settings *settings, const struct cli_arguments *arguments, pyexec_error *error)
{
    for (size_t i = 0; i < arguments->flag_count; i++) {
        const struct cli_flag *flag = &arguments->flags[i];
        int status = flag->is_short
                         ? px_policy_set_short(&settings->policy, flag->name, flag->value, PX_ORIGIN_FLAG, error)
                         : px_policy_set_text(&settings->policy, flag->name, flag->value, PX_ORIGIN_FLAG, error);
        if (status < 0)
            return px_error_wrap(error, "--%s", flag->name);
    }
    if (!arguments->allow_missing)
        return 0;
    return px_host_set_text(&settings->host, "allow_missing", arguments->allow_missing, error);
}

int cli_settings_load(struct cli_settings *settings, const struct cli_arguments *arguments, pyexec_error *error)
{
    const struct px_config into = {.policy = &settings->policy,
                                   .host = &settings->host,
                                   .telemetry = &settings->telemetry,
                                   .cli = &settings->cli,
                                   .env = &settings->env,
                                   .egress = &settings->egress};
    if (px_policy_init(&settings->policy, error) < 0 || px_host_init(&settings->host, error) < 0 ||
        px_telemetry_config_init(&settings->telemetry, error) < 0 || px_cli_config_init(&settings->cli, error) < 0 ||
        px_env_config_init(&settings->env, error) < 0 || px_egress_config_init(&settings->egress, error) < 0 ||
        px_config_load_into(arguments->config, &into, error) < 0 || apply_flags(settings, arguments, error) < 0)
        return -1;
    return px_policy_check(&settings->policy, error);
}

int cli_settings_find_environment(struct cli_settings *settings, pyexec_error *error)
{
    struct px_environments *store = NULL;
    if (!*settings->policy.environment)
        return 0;
    if (px_environments_new(settings->env.root, &store, error) < 0)
        return -1;
    int result = px_policy_find_environment(&settings->policy, store, error);
    px_environments_free(store);
    return result;
}

void cli_settings_done(struct cli_settings *settings)
{
    px_policy_done(&settings->policy);
    px_host_done(&settings->host);
    px_telemetry_config_done(&settings->telemetry);
    px_cli_config_done(&settings->cli);
    px_env_config_done(&settings->env);
    px_egress_config_done(&settings->egress);
}

int cli_settings_choose_server(struct cli_settings *settings, const char *server, const char *token_file,
                               pyexec_error *error)
{
    if (server && px_cli_config_set_text(&settings->cli, "server", server, error) < 0)
        return px_error_wrap(error, "--server");
    if (token_file && px_cli_config_set_text(&settings->cli, "token_file", token_file, error) < 0)
        return px_error_wrap(error, "--token-file");
    return 0;
}

void cli_telemetry_say(void *closure, const char *event, const char *detail)
{
    char text[512];
    (void)closure;
    snprintf(text, sizeof text, "%s%s%s", event, detail ? ": " : "", detail ? detail : "");
    cli_say(text, NULL);
}

json_t *cli_settings_config(const struct cli_settings *settings, const struct px_session_config *session,
                            pyexec_error *error)
{
    json_t *config = json_object(), *section;
    const char *name;
    /* Only what was given: the limits of an environment replace defaults. */
    px_json_set(config, "policy", px_policy_given_to_json(&settings->policy));
    px_json_set(config, "host", px_host_to_json(&settings->host));
    px_json_set(config, "egress", px_egress_config_to_json(&settings->egress));
    px_json_set(config, "env", px_env_config_to_json(&settings->env));
    if (session)
        px_json_set(config, "session", px_session_config_to_json(session));
    bool whole = json_is_object(config);
    json_object_foreach(config, name, section)
        whole &= json_is_object(section);
    if (whole)
        return config;
    json_decref(config);
    px_error_oom(error);
    return NULL;
}

int cli_settings_open(const struct cli_settings *settings, const struct px_session_config *session,
                      pyexec_executor **ret, pyexec_error *error)
{
    px_auto_json json_t *config = cli_settings_config(settings, session, error);
    return config ? pyexec_executor_open_object(config, ret, error) : -1;
}

/* pyexec_doctor_object() is not told where environments are, so it is given what the environment stands for. */
static void replace_environment(json_t *object, const struct px_policy *policy)
{
    json_object_del(object, "environment");
    px_json_set(object, "python_bin", json_string(policy->env->python));
    px_json_set(object, "isolate_site", json_false());
    px_json_set(object, "address_space_bytes",
                policy->address_space_bytes == PX_NONE ? json_null() : json_integer(policy->address_space_bytes));
    px_json_set(object, "max_threads", json_integer(policy->max_threads));
}

int cli_settings_examine(const struct cli_settings *settings, bool selftest, json_t **ret, pyexec_error *error)
{
    px_auto_json json_t *config = cli_settings_config(settings, NULL, error);
    if (config && settings->policy.env)
        replace_environment(json_object_get(config, "policy"), &settings->policy);
    return config ? pyexec_doctor_object(json_object_get(config, "policy"), json_object_get(config, "host"),
                                         json_object_get(config, "egress"), selftest, ret, error)
                  : -1;
}

int cli_mcp_servers(struct px_mcp_config *mcp, const char *path, pyexec_error *error)
{
    if (!path)
        return 0;
    free(mcp->servers);
    mcp->servers = strdup(path);
    return mcp->servers ? 0 : px_error_oom(error);
}
