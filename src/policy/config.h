/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration: INI file, environment and flags, merged over the defaults.
 * Sections [policy], [session], [host], [serve], [mcp], [telemetry], [cli], [env], [egress], [nats]; keys as in the tables, values as in flags.
 * Order: defaults < file < environment (PYEXEC_POLICY_TIMEOUT=5s, PYEXEC_HOST_ZYGOTES=1)
 * < flags. */
#ifndef PX_POLICY_CONFIG_H
#define PX_POLICY_CONFIG_H

#include "policy/policy.h"

#define PX_CONFIG_PATH "/etc/pyexec/pyexec.conf"

/* Settings of the executor itself: the [host] section. Its table is host.def: PX_HOST_FIELD(kind, member, key,
 * default, minimum, maximum, nullable, meaning). */
struct px_host {
    struct px_strings allow_missing; /* layer names */
    int64_t zygotes;                 /* 2 */
    int64_t zygote_memory;           /* 0: a quarter of the machine's memory */
    int64_t pool_size;               /* 16 */
    int64_t pool_idle_ms;            /* 5m */
    char *uid_range;                 /* NULL, or "START:COUNT" */
    char *cgroup;                    /* "auto", "off" or a path */
    int64_t queue_length;            /* 256 */
    int64_t max_wait_ms;             /* 24h */
    int64_t execution_ttl_ms;        /* 1h */
    int64_t max_executions;          /* 1000 */
    int64_t max_concurrent;          /* 0 in the struct: 2 x CPUs */
    int64_t max_asleep;              /* 256 */
};

int px_host_init(struct px_host *host, pyexec_error *error);
void px_host_done(struct px_host *host);
int px_host_merge_json(struct px_host *host, const json_t *object, pyexec_error *error);
int px_host_set_text(struct px_host *host, const char *name, const char *text, pyexec_error *error);
json_t *px_host_to_json(const struct px_host *host);
/* Reads the two numbers of a uid_range that has been checked. Returns false for any other text. */
bool px_host_uid_range(const char *text, uint32_t *ret_start, uint32_t *ret_count);

/* Settings of sessions: the [session] section (session.def). */
struct px_session_config {
    bool enabled;
    int64_t max_count;                /* 0: no limit */
    int64_t idle_ttl_ms, hard_ttl_ms; /* PX_NONE: none */
    char *workspace_root;             /* NULL: in memory; else an absolute path */
    bool adopt_workspace;
};

int px_session_config_init(struct px_session_config *session, pyexec_error *error);
void px_session_config_done(struct px_session_config *session);
int px_session_config_merge_json(struct px_session_config *session, const json_t *object, pyexec_error *error);
json_t *px_session_config_to_json(const struct px_session_config *session);
/* Checks for contradictions between keys. Call it after the last merge. */
int px_session_config_check(const struct px_session_config *session, pyexec_error *error);

/* Settings of the server: the [serve] section (serve.def). */
struct px_serve_config {
    struct px_strings listen, metrics; /* unix:PATH or HOST:PORT */
    char *token_file;                  /* NULL, or an absolute path */
    struct px_strings allowed_hosts, allowed_origins;
    int64_t max_connections;
    int64_t idle_timeout_ms, drain_grace_ms, drain_sessions_ms;
    char *state_dir;  /* NULL, or an absolute path */
    char *log_format; /* "text" or "json" */
    char *audit_log;  /* NULL, or an absolute path */
    bool playground;
    bool e2b, dify_sandbox, sandbox_fusion; /* dialects: routes of other servers */
};

int px_serve_config_init(struct px_serve_config *serve, pyexec_error *error);
void px_serve_config_done(struct px_serve_config *serve);
int px_serve_config_set_text(struct px_serve_config *serve, const char *name, const char *text, pyexec_error *error);

/* Other MCP servers: the [mcp] section (mcp.def). */
struct px_mcp_config {
    char *servers; /* NULL, or an absolute path */
    struct px_strings local_servers;
    int64_t idle_timeout_ms, call_timeout_ms, start_timeout_ms;
};

int px_mcp_config_init(struct px_mcp_config *mcp, pyexec_error *error);
void px_mcp_config_done(struct px_mcp_config *mcp);
int px_mcp_config_set_text(struct px_mcp_config *mcp, const char *name, const char *text, pyexec_error *error);

/* The program's own commands: the [cli] section (cli.def). */
struct px_cli_config {
    char *server;     /* NULL, "default", unix:/PATH or http://HOST[:PORT] */
    char *token_file; /* NULL, or an absolute path */
    bool fallback;
};

int px_cli_config_init(struct px_cli_config *cli, pyexec_error *error);
void px_cli_config_done(struct px_cli_config *cli);
int px_cli_config_set_text(struct px_cli_config *cli, const char *name, const char *text, pyexec_error *error);

/* Environments: the [env] section (env.def). */
struct px_env_config {
    char *root; /* NULL, or an absolute path */
    struct px_strings allow_requests;
    int64_t max_builds, max_cached, build_timeout_ms;
    char *uv;
};

int px_env_config_init(struct px_env_config *env, pyexec_error *error);
void px_env_config_done(struct px_env_config *env);
int px_env_config_merge_json(struct px_env_config *env, const json_t *object, pyexec_error *error);
json_t *px_env_config_to_json(const struct px_env_config *env);

/* The proxy of runs with allowed_hosts: the [egress] section (egress.def). */
struct px_egress_config {
    struct px_strings allow_private; /* networks */
    char *upstream;                  /* NULL, or an address, which can have a password */
    char *ca_file;                   /* NULL, or an absolute path */
    int64_t request_timeout_ms, resolve_timeout_ms, connect_timeout_ms, idle_timeout_ms;
    int64_t max_connections, max_run_connections;
    char *secrets; /* NULL, or an absolute path */
    struct px_strings local_secrets;
};

int px_egress_config_init(struct px_egress_config *egress, pyexec_error *error);
void px_egress_config_done(struct px_egress_config *egress);
int px_egress_config_merge_json(struct px_egress_config *egress, const json_t *object, pyexec_error *error);
json_t *px_egress_config_to_json(const struct px_egress_config *egress);

/* The fleet: the [nats] section (nats.def). */
struct px_nats_config {
    struct px_strings url;
    char *node; /* NULL: the host's name */
    char *queue;
    struct px_strings labels; /* KEY=VALUE */
    char *principal;          /* NULL: none */
    int64_t full_at, replicas;
    /* NULL, or the worker's identity at the NATS server; the files are absolute paths. */
    char *creds, *user, *password_file, *token_file, *nkey, *nkey_seed_file;
    char *ca_file, *certificate, *certificate_key;
    char *inbox_prefix; /* of a gateway */
};

int px_nats_config_init(struct px_nats_config *nats, pyexec_error *error);
void px_nats_config_done(struct px_nats_config *nats);
int px_nats_config_set_text(struct px_nats_config *nats, const char *name, const char *text, pyexec_error *error);

/* Traces: the [telemetry] section (telemetry.def). */
struct px_telemetry_config {
    char *endpoint, *traces_endpoint; /* NULL, or an address */
    bool disabled;
    struct px_strings headers; /* NAME=VALUE */
    char *certificate;         /* NULL, or an absolute path */
    char *service_name;
    struct px_strings resource_attributes; /* NAME=VALUE */
    char *sampler, *sampler_arg;
    int64_t timeout_ms, export_timeout_ms, schedule_delay_ms;
    int64_t max_queue_size, max_export_batch_size;
    bool session_ids, script_errors;
    char ignored[256]; /* a variable of OpenTelemetry that was ignored, and why; or "" */
};

int px_telemetry_config_init(struct px_telemetry_config *telemetry, pyexec_error *error);
void px_telemetry_config_done(struct px_telemetry_config *telemetry);
/* Takes the variables OTEL_… of this environment. Returns -1 only when there is no memory. */
int px_telemetry_config_otel(struct px_telemetry_config *telemetry, char *const *environment, pyexec_error *error);

/* The structs that get the values of the sections. A section whose pointer is NULL is checked too, and then dropped. */
struct px_config {
    struct px_policy *policy;
    struct px_host *host;
    struct px_session_config *session;
    struct px_serve_config *serve;
    struct px_mcp_config *mcp;
    struct px_telemetry_config *telemetry;
    struct px_cli_config *cli;
    struct px_env_config *env;
    struct px_egress_config *egress;
    struct px_nats_config *nats;
};

/* Merges a configuration file (`path` NULL: PX_CONFIG_PATH, if it exists) and then the environment into the
 * values that are there. An unknown section or key is invalid_policy, with file and line. */
int px_config_load_into(const char *path, const struct px_config *into, pyexec_error *error);
int px_config_load(const char *path, struct px_policy *policy, struct px_host *host, pyexec_error *error);

/* The two steps of px_config_load(): the bytes of a file (`name` is for messages), and an array of NAME=VALUE
 * strings with NULL at the end. A variable that does not begin with PYEXEC_ and the name of a section is ignored, except
 * those of px_telemetry_config_otel(). */
int px_config_parse(const char *bytes, size_t length, const char *name, const struct px_config *into,
                    pyexec_error *error);
int px_config_environment(char *const *environment, const struct px_config *into, pyexec_error *error);

/* packaging/pyexec.conf: every key, commented out, with default and meaning. */
void px_config_describe(struct px_buffer *out);

/* docs/configuration.md: a table for each section, and the short flags. */
void px_config_describe_markdown(struct px_buffer *out);

#endif
