/* SPDX-License-Identifier: Apache-2.0 */
/* Reads configuration. If the input begins with 'f', the rest is a file; if it begins with 'e', the rest is variables of the
 * environment, each ended by a NUL. A configuration that is accepted must be the same after it was written as JSON and read again.
 * An error must be one line of printable UTF-8. */
#include "base/cleanup.h"
#include "fuzz.h"
#include "policy/config.h"

#define VARIABLES_MAX 64

struct all {
    struct px_policy policy;
    struct px_host host;
    struct px_session_config session;
    struct px_serve_config serve;
    struct px_mcp_config mcp;
    struct px_telemetry_config telemetry;
    struct px_cli_config cli;
    struct px_env_config env;
    struct px_egress_config egress;
    struct px_nats_config nats;
    struct px_config into;
};

static void init(struct all *all)
{
    pyexec_error error;
    require(px_policy_init(&all->policy, &error) == 0 && px_host_init(&all->host, &error) == 0);
    require(px_session_config_init(&all->session, &error) == 0);
    require(px_serve_config_init(&all->serve, &error) == 0);
    require(px_mcp_config_init(&all->mcp, &error) == 0);
    require(px_telemetry_config_init(&all->telemetry, &error) == 0);
    require(px_cli_config_init(&all->cli, &error) == 0);
    require(px_env_config_init(&all->env, &error) == 0);
    require(px_egress_config_init(&all->egress, &error) == 0);
    require(px_nats_config_init(&all->nats, &error) == 0);
    all->into = (struct px_config){&all->policy,    &all->host, &all->session, &all->serve,  &all->mcp,
                                   &all->telemetry, &all->cli,  &all->env,     &all->egress, &all->nats};
}

static void done(struct all *all)
{
    px_policy_done(&all->policy);
    px_nats_config_done(&all->nats);
    px_host_done(&all->host);
    px_session_config_done(&all->session);
    px_serve_config_done(&all->serve);
    px_mcp_config_done(&all->mcp);
    px_telemetry_config_done(&all->telemetry);
    px_cli_config_done(&all->cli);
    px_env_config_done(&all->env);
    px_egress_config_done(&all->egress);
}

static void require_same(json_t *one, json_t *other)
{
    require(one && other && json_equal(one, other));
    json_decref(one);
    json_decref(other);
}

static void require_round_trip(const struct all *all)
{
    pyexec_error error;
    struct all again;
    init(&again);
    json_t *policy = px_policy_to_json(&all->policy), *host = px_host_to_json(&all->host);
    json_t *session = px_session_config_to_json(&all->session), *egress = px_egress_config_to_json(&all->egress);
    require(px_policy_merge_json(&again.policy, policy, PX_ORIGIN_FILE, &error) == 0);
    require(px_host_merge_json(&again.host, host, &error) == 0);
    require(px_session_config_merge_json(&again.session, session, &error) == 0);
    require(px_egress_config_merge_json(&again.egress, egress, &error) == 0);
    require_same(policy, px_policy_to_json(&again.policy));
    require_same(host, px_host_to_json(&again.host));
    require_same(session, px_session_config_to_json(&again.session));
    require_same(egress, px_egress_config_to_json(&again.egress));
    done(&again);
}

static int from_environment(char *text, size_t length, const struct px_config *into, pyexec_error *error)
{
    char *variables[VARIABLES_MAX + 1] = {0};
    size_t count = 0;
    for (char *at = text; at < text + length && count < VARIABLES_MAX; at += strlen(at) + 1)
        variables[count++] = at;
    return px_config_environment(variables, into, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pyexec_error error;
    struct all all;
    if (!size)
        return 0;
    /* A copy of exactly this length, so that AddressSanitizer reports each read beyond its end. */
    px_auto_free char *bytes = malloc(size - 1 ? size - 1 : 1);
    px_auto_free char *text = calloc(1, size);
    require(bytes && text);
    memcpy(bytes, data + 1, size - 1);
    memcpy(text, data + 1, size - 1);
    init(&all);
    int status = data[0] == 'e' ? from_environment(text, size - 1, &all.into, &error)
                                : px_config_parse(bytes, size - 1, "fuzz", &all.into, &error);
    if (status < 0 || px_policy_check(&all.policy, &error) < 0 || px_session_config_check(&all.session, &error) < 0)
        require_error(&error, PYEXEC_INVALID_POLICY);
    if (status == 0)
        require_round_trip(&all);
    done(&all);
    return 0;
}
