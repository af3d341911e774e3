/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec serve: the HTTP server, which is a module beside pyexec-launch. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/serve_command.h"
#include "cli/server_heap.h"
#include "serve/serve.h"

static const struct cli_option rows[] = {
    {"listen", 0, "ADDRESS",
     "unix:/PATH or HOST:PORT; may be given several times. Default: a UNIX socket of this user; the first line of the log names it.",
     CLI_INTO(struct cli_serve_flags, listen)},
    {"token-file", 0, "FILE",
     "The callers' tokens: a line NAME sha256:HEX [key=value...] for each; HOST:PORT needs "
     "it.",
     CLI_INTO(struct cli_serve_flags, token_file)},
    {"log-format", 0, "FORMAT", "text or json.", CLI_INTO(struct cli_serve_flags, log_format)},
    {"audit-log", 0, "FILE", "Appends a JSON line for each run.", CLI_INTO(struct cli_serve_flags, audit_log)},
    {"state-dir", 0, "FOLDER",
     "Keeps the ids of sessions there, so that the next call of a session learns that a "
     "restart ended it.",
     CLI_INTO(struct cli_serve_flags, state_dir)},
    {"mcp-servers", 0, "FILE",
     "Other MCP servers, {\"mcpServers\": {...}}, for the principals whose line in the token file says mcp_servers=NAME,NAME.",
     CLI_INTO(struct cli_serve_flags, mcp_servers)},
    {"no-playground", 0, NULL, "No playground at /.", CLI_INTO(struct cli_serve_flags, no_playground)},
    {"e2b", 0, NULL, "Answers E2B's code interpreter SDK too (POST /execute, /contexts).",
     CLI_INTO(struct cli_serve_flags, e2b)},
    {"dify-sandbox", 0, NULL, "Answers as dify-sandbox does too (POST /v1/sandbox/run).",
     CLI_INTO(struct cli_serve_flags, dify_sandbox)},
    {"sandbox-fusion", 0, NULL, "Answers as SandboxFusion does too (POST /run_code, POST /submit).",
     CLI_INTO(struct cli_serve_flags, sandbox_fusion)},
};

/* Opens the module. After a build it is in the folder of the program, after installation in libexec of the same
 * prefix. */
static void *open_module(pyexec_error *error)
{
    static const char *const relative[] = {"", "/../libexec/pyexec"};
    const char *configured = getenv("PYEXEC_LIBEXECDIR");
    char here[PATH_MAX], path[PATH_MAX + 64];
    void *module = NULL;
    ssize_t length = readlink("/proc/self/exe", here, sizeof here - 1);
    here[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(here, '/');
    if (slash)
        *slash = '\0';
    if (configured && *configured) {
        snprintf(path, sizeof path, "%s/pyexec_serve.so", configured);
        module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    for (size_t i = 0; !module && i < PX_COUNT(relative); i++) {
        snprintf(path, sizeof path, "%s%s/pyexec_serve.so", here, relative[i]);
        if (access(path, R_OK) == 0)
            module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    if (!module)
        module = dlopen(PX_LIBEXECDIR "/pyexec_serve.so", RTLD_NOW | RTLD_LOCAL);
    if (module)
        return module;
    px_error_set(error, PYEXEC_INTERNAL, "the server's module can't be loaded: %s", dlerror());
    px_error_hint(error, "Install the package of the server with its libraries (libmicrohttpd, libarchive, "
                         "libssl, libsystemd), or build with them.");
    return NULL;
}

static int set_list(struct px_serve_config *config, const struct cli_list *list, pyexec_error *error)
{
    px_auto_buffer struct px_buffer text = {0};
    if (!list->count)
        return 0;
    for (size_t i = 0; i < list->count; i++)
        px_buffer_printf(&text, "%s%s", i ? "," : "", list->items[i]);
    return px_buffer_ok(&text) ? px_serve_config_set_text(config, "listen", px_buffer_string(&text), error)
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
    return set_list(config, &options->listen, error);
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

int cli_serve_run(const struct cli_serve *serve, int worker_socket, const char *node, pyexec_error *error)
{
    const struct cli_settings *settings = &serve->settings;
    px_auto_json json_t *executor = cli_settings_config(settings, &serve->session, error);
    if (!executor)
        return -1;
    void *module = open_module(error);
    if (!module)
        return -1;
    px_serve_fn run = (px_serve_fn)(uintptr_t)dlsym(module, PX_SERVE_SYMBOL);
    if (!run)
        return px_error_set(error, PYEXEC_INTERNAL, "the server's module is of another version");
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
        .worker_socket = worker_socket,
        .node = node,
    };
    return run(&options, error);
}

static int run(const struct cli_arguments *arguments, void *target)
{
    pyexec_error error;
    px_auto(cli_serve_done) struct cli_serve serve = {0};
    cli_heap_for_server();
    if (cli_serve_load(&serve, arguments, target, &error) == 0 && cli_serve_run(&serve, 0, NULL, &error) == 0)
        return CLI_EXIT_OK;
    return cli_fail(&error);
}

const struct cli_command cmd_serve = {
    .name = "serve",
    .summary = "HTTP server: runs, sessions, files, metrics",
    .description =
        "Serves POST /v1/execute, /v1/sessions and the rest of /openapi.json. Callers on a UNIX "
        "socket are the principal `local`; others need a token. The policy given here is every "
        "caller's ceiling, unless the token file says otherwise. SIGHUP reads the token file again; "
        "SIGTERM drains. Keys of [session], [host], [serve], [mcp] and [telemetry] are taken from the configuration "
        "file and the environment (PYEXEC_SESSION_MAX_COUNT=100).",
    .options = rows,
    .option_count = PX_COUNT(rows),
    .options_size = sizeof(struct cli_serve_flags),
    .policy_flags = true,
    .run = run,
};
