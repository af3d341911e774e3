/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/settings.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"

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
    if (px_policy_init(&settings->policy, error) < 0 || px_host_init(&settings->host, error) < 0 ||
        px_config_load(arguments->config, &settings->policy, &settings->host, error) < 0 ||
        apply_flags(settings, arguments, error) < 0)
        return -1;
    return px_policy_check(&settings->policy, error);
}

void cli_settings_done(struct cli_settings *settings)
{
    px_policy_done(&settings->policy);
    px_host_done(&settings->host);
}

int cli_settings_json(const struct cli_settings *settings, char **ret_policy, char **ret_host, pyexec_error *error)
{
    px_auto_free char *policy = px_json_take_text(px_policy_to_json(&settings->policy));
    px_auto_free char *host = px_json_take_text(px_host_to_json(&settings->host));
    if (!policy || !host)
        return px_error_oom(error);
    *ret_policy = TAKE_PTR(policy);
    *ret_host = TAKE_PTR(host);
    return 0;
}
