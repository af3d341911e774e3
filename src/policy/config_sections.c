/* SPDX-License-Identifier: Apache-2.0 */
/* The [host], [session], [serve], [mcp], [cli], [env], [egress] and [nats] sections: their structs, and functions for their tables. */
#include "base/cleanup.h"
#include "policy/config.h"
#include "policy/fields.h"

#define KEYS_HINT "See docs/configuration.md for all keys and their ranges, or run `pyexec policy --config-template`."

static const struct px_field host_fields[] = {
#define PX_HOST_FIELD(kind, member, key, ...) PX_ROW(struct px_host, kind, member, key, "", __VA_ARGS__),
#include "policy/host.def"
#undef PX_HOST_FIELD
};

const struct px_table px_host_table = {
    .name = "host",
    .about = "Settings of the executor itself.",
    .hint = KEYS_HINT,
    .fields = host_fields,
    .count = PX_COUNT(host_fields),
    .size = sizeof(struct px_host),
};

int px_host_init(struct px_host *host, pyexec_error *error)
{
    return px_table_init(&px_host_table, host, error);
}

void px_host_done(struct px_host *host)
{
    px_table_done(&px_host_table, host);
}

int px_host_merge_json(struct px_host *host, const json_t *object, pyexec_error *error)
{
    return px_table_merge_json(&px_host_table, host, object, error);
}

int px_host_set_text(struct px_host *host, const char *name, const char *text, pyexec_error *error)
{
    return px_table_set_text(&px_host_table, host, name, text, error);
}

json_t *px_host_to_json(const struct px_host *host)
{
    return px_table_to_json(&px_host_table, host);
}

static const struct px_field session_fields[] = {
#define PX_SESSION_FIELD(kind, member, key, ...) PX_ROW(struct px_session_config, kind, member, key, "", __VA_ARGS__),
#include "policy/session.def"
#undef PX_SESSION_FIELD
};

const struct px_table px_session_config_table = {
    .name = "session",
    .about = "Interpreters that keep their state between calls.",
    .hint = KEYS_HINT,
    .fields = session_fields,
    .count = PX_COUNT(session_fields),
    .size = sizeof(struct px_session_config),
};

int px_session_config_init(struct px_session_config *session, pyexec_error *error)
{
    return px_table_init(&px_session_config_table, session, error);
}

void px_session_config_done(struct px_session_config *session)
{
    px_table_done(&px_session_config_table, session);
}

int px_session_config_merge_json(struct px_session_config *session, const json_t *object, pyexec_error *error)
{
    return px_table_merge_json(&px_session_config_table, session, object, error);
}

json_t *px_session_config_to_json(const struct px_session_config *session)
{
    return px_table_to_json(&px_session_config_table, session);
}

static const struct px_field serve_fields[] = {
#define PX_SERVE_FIELD(kind, member, key, ...) PX_ROW(struct px_serve_config, kind, member, key, "", __VA_ARGS__),
#include "policy/serve.def"
#undef PX_SERVE_FIELD
};

const struct px_table px_serve_config_table = {
    .name = "serve",
    .about = "The HTTP server, `pyexec serve`.",
    .hint = KEYS_HINT,
    .fields = serve_fields,
    .count = PX_COUNT(serve_fields),
    .size = sizeof(struct px_serve_config),
};

int px_serve_config_init(struct px_serve_config *serve, pyexec_error *error)
{
    return px_table_init(&px_serve_config_table, serve, error);
}

void px_serve_config_done(struct px_serve_config *serve)
{
    px_table_done(&px_serve_config_table, serve);
}

int px_serve_config_set_text(struct px_serve_config *serve, const char *name, const char *text, pyexec_error *error)
{
    return px_table_set_text(&px_serve_config_table, serve, name, text, error);
}

static const struct px_field mcp_fields[] = {
#define PX_MCP_FIELD(kind, member, key, ...) PX_ROW(struct px_mcp_config, kind, member, key, "", __VA_ARGS__),
#include "policy/mcp.def"
#undef PX_MCP_FIELD
};

const struct px_table px_mcp_config_table = {
    .name = "mcp",
    .about = "Other MCP servers, whose tools scripts call.",
    .hint = KEYS_HINT,
    .fields = mcp_fields,
    .count = PX_COUNT(mcp_fields),
    .size = sizeof(struct px_mcp_config),
};

int px_mcp_config_init(struct px_mcp_config *mcp, pyexec_error *error)
{
    return px_table_init(&px_mcp_config_table, mcp, error);
}

void px_mcp_config_done(struct px_mcp_config *mcp)
{
    px_table_done(&px_mcp_config_table, mcp);
}

int px_mcp_config_set_text(struct px_mcp_config *mcp, const char *name, const char *text, pyexec_error *error)
{
    return px_table_set_text(&px_mcp_config_table, mcp, name, text, error);
}

static const struct px_field cli_fields[] = {
#define PX_CLI_FIELD(kind, member, key, ...) PX_ROW(struct px_cli_config, kind, member, key, "", __VA_ARGS__),
#include "policy/cli.def"
#undef PX_CLI_FIELD
};

const struct px_table px_cli_config_table = {
    .name = "cli",
    .about = "The program's own commands.",
    .hint = KEYS_HINT,
    .fields = cli_fields,
    .count = PX_COUNT(cli_fields),
    .size = sizeof(struct px_cli_config),
};

int px_cli_config_init(struct px_cli_config *cli, pyexec_error *error)
{
    return px_table_init(&px_cli_config_table, cli, error);
}

void px_cli_config_done(struct px_cli_config *cli)
{
    px_table_done(&px_cli_config_table, cli);
}

int px_cli_config_set_text(struct px_cli_config *cli, const char *name, const char *text, pyexec_error *error)
{
    return px_table_set_text(&px_cli_config_table, cli, name, text, error);
}

static const struct px_field env_fields[] = {
#define PX_ENV_FIELD(kind, member, key, ...) PX_ROW(struct px_env_config, kind, member, key, "", __VA_ARGS__),
#include "policy/env.def"
#undef PX_ENV_FIELD
};

const struct px_table px_env_config_table = {
    .name = "env",
    .about = "Environments: named sets of packages, which `pyexec env` makes.",
    .hint = KEYS_HINT,
    .fields = env_fields,
    .count = PX_COUNT(env_fields),
    .size = sizeof(struct px_env_config),
};

int px_env_config_init(struct px_env_config *env, pyexec_error *error)
{
    return px_table_init(&px_env_config_table, env, error);
}

void px_env_config_done(struct px_env_config *env)
{
    px_table_done(&px_env_config_table, env);
}

int px_env_config_merge_json(struct px_env_config *env, const json_t *object, pyexec_error *error)
{
    return px_table_merge_json(&px_env_config_table, env, object, error);
}

json_t *px_env_config_to_json(const struct px_env_config *env)
{
    return px_table_to_json(&px_env_config_table, env);
}

static const struct px_field egress_fields[] = {
#define PX_EGRESS_FIELD(kind, member, key, ...) PX_ROW(struct px_egress_config, kind, member, key, "", __VA_ARGS__),
#include "policy/egress.def"
#undef PX_EGRESS_FIELD
};

const struct px_table px_egress_config_table = {
    .name = "egress",
    .about = "The proxy through which scripts with allowed_hosts reach the network.",
    .hint = KEYS_HINT,
    .fields = egress_fields,
    .count = PX_COUNT(egress_fields),
    .size = sizeof(struct px_egress_config),
};

int px_egress_config_init(struct px_egress_config *egress, pyexec_error *error)
{
    return px_table_init(&px_egress_config_table, egress, error);
}

void px_egress_config_done(struct px_egress_config *egress)
{
    px_table_done(&px_egress_config_table, egress);
}

int px_egress_config_merge_json(struct px_egress_config *egress, const json_t *object, pyexec_error *error)
{
    return px_table_merge_json(&px_egress_config_table, egress, object, error);
}

json_t *px_egress_config_to_json(const struct px_egress_config *egress)
{
    return px_table_to_json(&px_egress_config_table, egress);
}

static const struct px_field nats_fields[] = {
#define PX_NATS_FIELD(kind, member, key, ...) PX_ROW(struct px_nats_config, kind, member, key, "", __VA_ARGS__),
#include "policy/nats.def"
#undef PX_NATS_FIELD
};

const struct px_table px_nats_config_table = {
    .name = "nats",
    .about = "The fleet: how `pyexec worker` reaches NATS, and what it serves.",
    .hint = KEYS_HINT,
    .fields = nats_fields,
    .count = PX_COUNT(nats_fields),
    .size = sizeof(struct px_nats_config),
};

int px_nats_config_init(struct px_nats_config *nats, pyexec_error *error)
{
    return px_table_init(&px_nats_config_table, nats, error);
}

void px_nats_config_done(struct px_nats_config *nats)
{
    px_table_done(&px_nats_config_table, nats);
}

int px_nats_config_set_text(struct px_nats_config *nats, const char *name, const char *text, pyexec_error *error)
{
    return px_table_set_text(&px_nats_config_table, nats, name, text, error);
}
