/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec serve: the HTTP server. */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/nats_command.h"
#include "cli/print.h"
#include "cli/serve_command.h"
#include "cli/serve_function.h"
#include "cli/server_heap.h"
#include "serve/fleet.h"
#include "serve/serve.h"

struct serve_options {
    struct cli_serve_flags serve;
    struct cli_nats_flags nats;
};

static const struct cli_option rows[] = {
    {"listen", 0, "ADDRESS",
     "unix:/PATH or HOST:PORT; may be given several times. Default: a UNIX socket of this user; the first line of the log names it.",
     CLI_INTO(struct serve_options, serve.listen)},
    CLI_METRICS_OPTION(struct serve_options, serve.metrics),
    {"token-file", 0, "FILE",
     "The callers' tokens: a line NAME sha256:HEX [key=value...] for each; HOST:PORT needs "
     "it.",
     CLI_INTO(struct serve_options, serve.token_file)},
    {"log-format", 0, "FORMAT", "text or json.", CLI_INTO(struct serve_options, serve.log_format)},
    {"audit-log", 0, "FILE", "Appends a JSON line for each run.", CLI_INTO(struct serve_options, serve.audit_log)},
    {"state-dir", 0, "FOLDER",
     "Keeps the ids of sessions there, so that the next call of a session learns that a "
     "restart ended it.",
     CLI_INTO(struct serve_options, serve.state_dir)},
    {"mcp-servers", 0, "FILE",
     "Other MCP servers, {\"mcpServers\": {...}}, for the principals whose line in the token file says mcp_servers=NAME,NAME.",
     CLI_INTO(struct serve_options, serve.mcp_servers)},
    {"no-playground", 0, NULL, "No playground at /.", CLI_INTO(struct serve_options, serve.no_playground)},
    {"e2b", 0, NULL, "Answers E2B's code interpreter SDK too (POST /execute, /contexts).",
     CLI_INTO(struct serve_options, serve.e2b)},
    {"dify-sandbox", 0, NULL, "Answers as dify-sandbox does too (POST /v1/sandbox/run).",
     CLI_INTO(struct serve_options, serve.dify_sandbox)},
    {"sandbox-fusion", 0, NULL, "Answers as SandboxFusion does too (POST /run_code, POST /submit).",
     CLI_INTO(struct serve_options, serve.sandbox_fusion)},
    CLI_NATS_OPTION(struct serve_options, nats.urls),
    CLI_CREDS_OPTION(struct serve_options, nats.creds),
};

static int set_list(struct px_serve_config *config, const char *key, const struct cli_list *list, pyexec_error *error)
{
    px_auto_buffer struct px_buffer text = {0};
    if (!list->count)
        return 0;
    for (size_t i = 0; i < list->count; i++)
        px_buffer_printf(&text, "%s%s", i ? "," : "", list->items[i]);
    return px_buffer_ok(&text) ? px_serve_config_set_text(config, key, px_buffer_string(&text), error)
                               : px_error_oom(error);
}

static int set_flags(struct px_serve_config *config, const struct cli_serve_flags *options, pyexec_error *error)
{
    const struct {
        const char *key, *value;
    } texts[] = {{"token_file", options->token_file},
                 {"log_format", options->log_format},
                 {"audit_log", options->audit_log},
                 {"state_dir", options->state_dir},
                 {"playground", options->no_playground ? "false" : NULL}};
    for (size_t i = 0; i < PX_COUNT(texts); i++)
        if (texts[i].value && px_serve_config_set_text(config, texts[i].key, texts[i].value, error) < 0)
            return -1;
    config->e2b |= options->e2b;
    config->dify_sandbox |= options->dify_sandbox;
    config->sandbox_fusion |= options->sandbox_fusion;
    return set_list(config, "listen", &options->listen, error) < 0
               ? -1
               : set_list(config, "metrics", &options->metrics, error);
}

int cli_serve_load(struct cli_serve *serve, const struct cli_arguments *arguments, const struct cli_serve_flags *flags,
                   pyexec_error *error)
{
    serve->config_file = arguments->config;
    const struct px_config into = {.session = &serve->session, .serve = &serve->config, .mcp = &serve->mcp};
    if (cli_settings_load(&serve->settings, arguments, error) < 0 ||
        cli_settings_find_environment(&serve->settings, error) < 0 ||
        px_session_config_init(&serve->session, error) < 0 || px_serve_config_init(&serve->config, error) < 0 ||
        px_mcp_config_init(&serve->mcp, error) < 0 || px_config_load_into(arguments->config, &into, error) < 0 ||
        px_session_config_check(&serve->session, error) < 0)
        return -1;
    if (cli_mcp_servers(&serve->mcp, flags->mcp_servers, error) < 0)
        return -1;
    return set_flags(&serve->config, flags, error);
}

void cli_serve_done(struct cli_serve *serve)
{
    cli_settings_done(&serve->settings);
    px_session_config_done(&serve->session);
    px_serve_config_done(&serve->config);
    px_mcp_config_done(&serve->mcp);
}

int cli_serve_run(const struct cli_serve *serve, const struct cli_serve_below *below, pyexec_error *error)
{
    const struct cli_settings *settings = &serve->settings;
    px_auto_json json_t *executor = cli_settings_config(settings, &serve->session, error);
    if (!executor)
        return -1;
    px_serve_fn run = cli_serve_function(error);
    if (!run)
        return -1;
    const struct px_serve_options options = {
        .executor = executor,
        .policy = &settings->policy,
        .config = &serve->config,
        .mcp = &serve->mcp,
        .telemetry = &settings->telemetry,
        .env = &settings->env,
        .config_file = serve->config_file,
        .max_concurrent = settings->host.max_concurrent,
        .max_asleep = settings->host.max_asleep,
        .queue_length = settings->host.queue_length,
        .execution_ttl_ms = settings->host.execution_ttl_ms,
        .max_executions = settings->host.max_executions,
        .max_sessions = serve->session.max_count,
        .worker_socket = below->worker_socket,
        .node = below->node,
        .figures = below->figures,
        .fleet = below->fleet,
    };
    return run(&options, error);
}

/* The nodes decide what scripts may do, so a policy flag has no effect here. Refuse it instead of ignoring it. */
static int refuse_flags(const struct cli_arguments *arguments, const struct cli_serve_flags *flags, pyexec_error *error)
{
    char typed[CLI_FLAG_MAX];
    const char *name = flags->state_dir ? "state-dir" : flags->mcp_servers ? "mcp-servers" : NULL;
    const struct cli_flag *first = arguments->flag_count ? &arguments->flags[0] : NULL;
    if (first)
        name =
            first->is_short ? first->name : cli_policy_flag(px_policy_field_info(px_policy_find(first->name)), typed);
    if (!name)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "--%s has no effect with --nats: the code runs at the nodes", name);
    return px_error_hint(
        error, "Leave it out here and give it to `pyexec worker`, or set a ceiling for the principal in the token "
               "file of the nodes.");
}

/* A file or the environment may be for nodes on this machine too, so their keys are no error. */
static void say_ignored(const struct px_policy *policy)
{
    px_auto_buffer struct px_buffer text = {0};
    for (size_t i = 0; i < PX_FIELD_COUNT; i++)
        if (policy->origin[i] == PX_ORIGIN_FILE || policy->origin[i] == PX_ORIGIN_ENVIRONMENT)
            px_buffer_printf(&text, "%s%s (%s)", text.length ? ", " : "",
                             px_policy_field_info((enum px_policy_field)i)->name,
                             px_origin_name((enum px_origin)policy->origin[i]));
    if (!text.length || !px_buffer_ok(&text))
        return;
    px_auto_buffer struct px_buffer line = {0};
    px_buffer_printf(&line, "with --nats these keys of the policy have no effect: %s", px_buffer_string(&text));
    cli_say(px_buffer_string(&line), "The code runs at the nodes: give the keys to `pyexec worker`.");
}

/* In front of a fleet: this process runs no code. */
static int serve_fleet(const struct cli_serve *serve, const struct cli_nats_flags *nats, pyexec_error *error)
{
    say_ignored(&serve->settings.policy);
    struct cli_serve_below below = {.fleet = cli_fleet_open(nats, serve->config_file, false, error)};
    if (!below.fleet)
        return -1;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    int status = cli_serve_run(serve, &below, error);
    below.fleet->close(below.fleet);
    return status;
}

static int run(const struct cli_arguments *arguments, void *target)
{
    static const struct cli_serve_below own = {0};
    pyexec_error error;
    px_auto(cli_serve_done) struct cli_serve serve = {0};
    const struct serve_options *options = target;
    cli_heap_for_server();
    bool is_gateway = options->nats.urls.count > 0;
    if ((is_gateway && refuse_flags(arguments, &options->serve, &error) < 0) ||
        cli_serve_load(&serve, arguments, &options->serve, &error) < 0 ||
        (is_gateway ? serve_fleet(&serve, &options->nats, &error) : cli_serve_run(&serve, &own, &error)) < 0)
        return cli_fail(&error);
    return CLI_EXIT_OK;
}

const struct cli_command cmd_serve = {
    .name = "serve",
    .summary = "HTTP server: runs, sessions, files, metrics",
    .description =
        "Serves POST /v1/execute, /v1/sessions and the rest of /openapi.json. Callers on a UNIX "
        "socket are the principal `local`; others need a token. The policy given here is every "
        "caller's ceiling, unless the token file says otherwise. SIGHUP reads the token file again; "
        "SIGTERM drains. With --nats it runs no code itself: the nodes of a fleet do (`pyexec worker`, docs/scale.md); flags of the policy are refused. Keys of "
        "[session], [host], [serve], [mcp], [telemetry] and, with --nats, [nats] are taken from the configuration file and the environment (PYEXEC_SESSION_MAX_COUNT=100).",
    .options = rows,
    .option_count = PX_COUNT(rows),
    .options_size = sizeof(struct serve_options),
    .policy_flags = true,
    .run = run,
};
