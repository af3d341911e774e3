/* SPDX-License-Identifier: Apache-2.0 */
/* The server's life: start, SIGHUP, drain, end. */
#include "serve/server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crew.h"
#include "base/error.h"
#include "base/json.h"
#include "base/processors.h"
#include "base/retry.h"
#include "base/service_manager.h"
#include "mcp/mcp.h"
#include "serve/calls.h"
#include "serve/detached.h"
#include "serve/drive.h"
#include "serve/fleet.h"
#include "serve/listen.h"
#include "serve/mcp_servers.h"
#include "serve/openapi.h"
#include "serve/packages.h"

#define CHORES 4u /* threads for lists and files */
#define CHORES_QUEUED 1024u
#define LATE 2u         /* threads for requests that are accepted while the server drains */
#define FORWARDED 1024u /* with a fleet: threads that wait for a node's answer */
#define FORWARDED_LATE 32u
#define ANSWERS_MS 1000
#define LISTENER_STACK (2u << 20) /* as that of the schedule's workers, because requests run on both */
#define SESSIONS_LOOK_MS 250

/* Blocks the signals before the first thread starts, so that every thread inherits the mask, and returns a signalfd. */
static int catch_signals(pyexec_error *error)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (fd < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't wait for signals");
    sigprocmask(SIG_BLOCK, &set, NULL);
    return fd;
}

/* Every session and every connection needs descriptors. The default soft limit of 1024 is too low for many of them. */
static void raise_open_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Called after the token file is read again: the new limits apply to waiting requests too. */
static int limit_runs(struct px_server *server, pyexec_error *error)
{
    for (const struct px_principal *at = server->principals.list; at; at = at->next)
        if (px_schedule_limit(server->runs, at, error) < 0)
            return -1;
    return 0;
}

/* Called after the token file is read. */
static int limit_sessions(struct px_server *server, pyexec_error *error)
{
    for (struct px_principal *at = server->principals.list; at && server->executor; at = at->next)
        if (pyexec_executor_limit_sessions(server->executor, at->name, at->max_sessions, error) < 0)
            return -1;
    return 0;
}

/* A script with network access can connect to this server's TCP port too. Without tokens it would be the same principal as
 * every other caller, and could use their sessions. */
static int check_network(const struct px_server *server, pyexec_error *error)
{
    if (server->principals.path || server->options->policy->disable_networking || server->options->fleet)
        return 0;
    for (size_t i = 0; i < server->listener_count; i++)
        if (server->listeners[i].tcp && !server->listeners[i].metrics_only) {
            px_error_set(error, PYEXEC_INVALID_POLICY,
                         "token_file: %s needs one, since with disable_networking false scripts can reach it too",
                         server->listeners[i].name);
            return px_error_hint(error,
                                 "Give --token-file with a line NAME sha256:HEX, listen on a UNIX socket, or leave "
                                 "out --network.");
        }
    return 0;
}

/* The schedule of runs has a thread for each run in progress, and one that waits for the next turn. If there are
 * tokens, one principal may use half of the threads, or as many as there are turns if that is more. So threads are left
 * for the others when all runs of one principal sleep. */
static int open_schedules(struct px_server *server, pyexec_error *error)
{
    const struct px_serve_options *options = server->options;
    size_t turns = (size_t)px_turns_for(options->max_concurrent);
    size_t runs = options->fleet ? FORWARDED : turns + (size_t)options->max_asleep, half = (runs + 1) / 2;
    const struct px_schedule_limits of_runs = {.workers = runs + 1,
                                               .queue_length =
                                                   options->fleet ? FORWARDED : (size_t)options->queue_length,
                                               .principal_jobs = !server->principals.path ? 0
                                                                 : half > turns           ? half
                                                                                          : turns,
                                               .executor = server->executor};
    const struct px_schedule_limits of_chores = {.workers = CHORES, .queue_length = CHORES_QUEUED};
    const struct px_schedule_limits of_late = {.workers = options->fleet ? FORWARDED_LATE : LATE,
                                               .queue_length = CHORES_QUEUED};
    return px_schedule_new(&of_runs, &server->runs, error) < 0 || px_schedule_new(&of_late, &server->late, error) < 0
               ? -1
               : px_schedule_new(&of_chores, &server->chores, error);
}

/* The principal `local` has no line in the token file: [egress] local_secrets says what it may use. */
static int take_local_secrets(struct px_server *server, pyexec_error *error)
{
    const json_t *names = json_object_get(json_object_get(server->options->executor, "egress"), "local_secrets");
    px_auto_buffer struct px_buffer text = {0};
    for (size_t i = 0; i < json_array_size(names); i++)
        px_buffer_printf(&text, "%s%s", i ? "," : "", json_string_value(json_array_get(names, i)));
    server->principals.local.secrets = px_buffer_take(&text);
    return server->principals.local.secrets ? 0 : px_error_oom(error);
}

/* The principal `local` has no line in the token file: [mcp] local_servers says what it may use. */
static int open_mcp_servers(struct px_server *server, pyexec_error *error)
{
    const struct px_mcp_config *config = server->options->mcp;
    px_auto_buffer struct px_buffer names = {0};
    for (size_t i = 0; i < config->local_servers.count; i++)
        px_buffer_printf(&names, "%s%s", i ? "," : "", config->local_servers.items[i]);
    if (names.length && !(server->principals.local.servers = px_buffer_take(&names)))
        return px_error_oom(error);
    if (px_mcp_servers_new(config, &server->mcp_servers, error) < 0 ||
        px_mcp_servers_check(server->mcp_servers, "local", server->principals.local.servers, error) < 0)
        return -1;
    for (const struct px_principal *at = server->principals.list; at; at = at->next)
        if (px_mcp_servers_check(server->mcp_servers, at->name, at->servers, error) < 0)
            return -1;
    return 0;
}

/* Called after the token file was read again. A name without a server has no effect, so it is logged for the operator. */
static void check_mcp_servers(struct px_server *server)
{
    pyexec_error error;
    if (server->options->fleet)
        return;
    for (const struct px_principal *at = server->principals.list; at; at = at->next)
        if (!at->gone && px_mcp_servers_check(server->mcp_servers, at->name, at->servers, &error) < 0)
            px_log_event(&server->log, "reloaded, but", error.message);
}

/* px_telemetry_log_fn, px_fleet_log_fn */
static void log_line(void *log, const char *event, const char *detail)
{
    px_log_event(log, event, detail);
}

/* px_watch_tick_fn */
static void tick(void *closure, int64_t now)
{
    struct px_server *server = closure;
    for (size_t i = 0; i < server->listener_count; i++)
        px_drive_tick(&server->listeners[i], now);
}

/* What runs code. */
static int open_executor(struct px_server *server, pyexec_error *error)
{
    const struct px_serve_options *options = server->options;
    const struct px_serve_config *config = options->config;
    if (px_packages_check_config(options->env, error) < 0 ||
        pyexec_executor_open_object(options->executor, &server->executor, error) < 0)
        return -1;
    pyexec_executor_use_principals(server->executor);
    if (px_telemetry_start(options->telemetry, log_line, &server->log, &server->telemetry, error) < 0 ||
        px_telemetry_attach(server->telemetry, server->executor, error) < 0)
        return -1;
    if (take_local_secrets(server, error) < 0 || open_mcp_servers(server, error) < 0 ||
        limit_sessions(server, error) < 0 || check_network(server, error) < 0 ||
        px_state_open(config->state_dir, server->executor, &server->log, &server->state, error) < 0)
        return -1;
    return px_mcp_new(server->executor, &server->mcp, error) < 0 ||
                   (server->dialects & PX_E2B && px_contexts_new(server->executor, &server->contexts, error) < 0)
               ? -1
               : 0;
}

/* In place of what runs code. */
static int open_fleet(struct px_server *server, pyexec_error *error)
{
    struct px_fleet *fleet = server->options->fleet;
    fleet->log_to(fleet, log_line, &server->log);
    if (px_telemetry_start(server->options->telemetry, log_line, &server->log, &server->telemetry, error) < 0)
        return -1;
    if (!server->dialects)
        return 0;
    px_error_set(error, PYEXEC_INVALID_POLICY, "e2b, dify_sandbox and sandbox_fusion can't be served for a fleet");
    return px_error_hint(error, "Leave them out together with --nats, or serve them at a node: pyexec serve.");
}

static int open_server(struct px_server *server, pyexec_error *error)
{
    const struct px_serve_options *options = server->options;
    const struct px_serve_config *config = options->config;
    server->metrics.started_seconds = time(NULL);
    server->dialects = px_dialects(config);
    if (px_log_open(&server->log, strcmp(config->log_format, "json") == 0, config->audit_log, error) < 0 ||
        px_principals_init(&server->principals, config->token_file, error) < 0 || px_listen_all(server, error) < 0 ||
        (options->fleet ? open_fleet(server, error) : open_executor(server, error)) < 0)
        return -1;
    server->openapi = px_openapi_make(options->policy);
    server->calls = px_calls_new();
    server->controls = px_controls_new();
    if (!server->openapi || !server->calls || !server->controls)
        return px_error_oom(error);
    if (px_detached_open(server, &server->detached, error) < 0 ||
        px_builds_new(options, &server->log, &server->builds, error) < 0 ||
        px_watcher_new(px_http_patience(server, 0), tick, server, &server->watcher, error) < 0 ||
        open_schedules(server, error) < 0 || px_crew_new(LISTENER_STACK, &server->crew, error) < 0)
        return -1;
    for (size_t i = 0; i < server->listener_count; i++)
        if (px_http_start(&server->listeners[i], error) < 0)
            return -1;
    return 0;
}

/* Waits until the answers of ended requests are sent, but not longer than ANSWERS_MS. */
static void await_answers(const struct px_server *server)
{
    for (int i = 0; i < ANSWERS_MS / 10 && server->in_progress; i++)
        px_sleep_ns(10000000);
}

static void close_server(struct px_server *server)
{
    px_schedule_end(server->runs);
    px_schedule_end(server->chores);
    px_schedule_end(server->late);
    await_answers(server);
    if (server->crew)
        px_crew_end(server->crew);
    for (size_t i = 0; i < server->listener_count; i++)
        if (server->listeners[i].daemon) {
            MHD_stop_daemon(server->listeners[i].daemon);
            server->listeners[i].fd = -1;
        }
    /* The schedules are freed after the daemons are stopped: requests are submitted until then. */
    px_schedule_free(server->runs);
    px_schedule_free(server->chores);
    px_schedule_free(server->late);
    px_detached_close(server->detached);
    px_builds_free(server->builds);
    px_calls_free(server->calls);
    px_controls_free(server->controls);
    px_watcher_free(server->watcher);
    px_mcp_free(server->mcp);
    px_mcp_servers_free(server->mcp_servers);
    px_contexts_free(server->contexts);
    px_state_close(server->state);
    pyexec_executor_free(server->executor);
    px_telemetry_stop(server->telemetry);
    /* Until here other threads may wake a listener. */
    px_crew_free(server->crew);
    for (size_t i = 0; i < server->listener_count; i++)
        px_drive_free(server->listeners[i].drive);
    px_listen_done(server);
    px_principals_done(&server->principals);
    if (server->options->fleet)
        server->options->fleet->log_to(server->options->fleet, NULL, NULL);
    px_log_close(&server->log);
    px_buffer_done(&server->fleet_page.nodes);
    pthread_mutex_destroy(&server->fleet_page.lock);
    free(server->openapi);
}

static void announce(struct px_server *server)
{
    for (size_t i = 0; i < server->listener_count; i++)
        px_log_event(&server->log, "listening", server->listeners[i].name);
    px_service_notify("READY=1");
}

/* Follows systemd's notify-reload protocol: sd_notify(3). */
static void reload(struct px_server *server)
{
    pyexec_error error;
    char state[64];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)(px_now_ns() / 1000));
    px_service_notify(state);
    if (px_principals_reload(&server->principals, &error) < 0 || limit_sessions(server, &error) < 0 ||
        limit_runs(server, &error) < 0)
        px_log_event(&server->log, "reload failed, the old tokens stay in use", error.message);
    else
        px_log_event(&server->log, "reloaded", NULL);
    check_mcp_servers(server);
    if (px_log_reopen(&server->log, server->options->config->audit_log, &error) < 0)
        px_log_event(&server->log, "reload failed, the old audit log stays in use", error.message);
    px_service_notify("READY=1");
}

static bool told_to_hurry(int signals, int wait_ms)
{
    struct signalfd_siginfo got;
    struct pollfd polled = {signals, POLLIN, 0};
    return px_poll(&polled, 1, wait_ms) > 0 && px_read(signals, &got, sizeof got) == sizeof got &&
           got.ssi_signo != SIGHUP;
}

static bool is_idle(struct px_server *server)
{
    struct px_schedule_counts runs, chores;
    px_schedule_count(server->runs, &runs);
    px_schedule_count(server->chores, &chores);
    return !(runs.running + runs.waiting + chores.running + chores.waiting);
}

/* pyexec_stat_fn */
static void note_sessions(void *userdata, const char *key, const char *thing, uint64_t value)
{
    (void)thing;
    if (strcmp(key, "sessions") == 0)
        *(bool *)userdata = value > 0;
}

static bool has_sessions(struct px_server *server)
{
    pyexec_error ignored;
    bool found = false;
    pyexec_stats(server->executor, note_sessions, &found, &ignored);
    return found;
}

/* Waits while clients finish their sessions; no new session begins. Meanwhile it tells systemd to extend the time limit,
 * so that TimeoutStopSec= covers only the rest of the shutdown. Returns true when a second signal came. */
static bool await_sessions(struct px_server *server, int signals)
{
    pyexec_error error;
    int64_t end = px_now_ns() + server->options->config->drain_sessions_ms * PX_NS_PER_MS;
    if (!server->executor || pyexec_executor_refuse_sessions(server->executor, &error) < 0 || !has_sessions(server))
        return false;
    px_log_event(&server->log, "waiting for sessions", NULL);
    while (px_now_ns() < end && has_sessions(server)) {
        px_service_notify("EXTEND_TIMEOUT_USEC=30000000");
        if (told_to_hurry(signals, SESSIONS_LOOK_MS))
            return true;
    }
    return false;
}

/* Waits until no request runs or waits, but not longer than the grace period. A second signal ends the waiting. */
static void drain(struct px_server *server, int signals)
{
    server->draining = true;
    px_log_event(&server->log, "draining", NULL);
    px_service_notify("STOPPING=1");
    bool hurry = server->options->config->drain_sessions_ms && await_sessions(server, signals);
    int64_t end = px_now_ns() + server->options->config->drain_grace_ms * PX_NS_PER_MS;
    px_schedule_close(server->runs);
    px_schedule_close(server->chores);
    while (!hurry && !is_idle(server) && px_now_ns() < end)
        hurry = told_to_hurry(signals, 20);
    px_state_freeze(server->state);
    px_watch_cancel_all(server->watcher);
    px_detached_cancel_all(server->detached);
}

int px_serve_run(const struct px_serve_options *options, pyexec_error *error)
{
    struct px_server *server = calloc(1, sizeof *server);
    if (!server)
        return px_error_oom(error);
    server->options = options;
    server->log.audit = -1;
    pthread_mutex_init(&server->fleet_page.lock, NULL);
    raise_open_files();
    px_auto_fd int signals = catch_signals(error);
    int status = signals < 0 ? -1 : open_server(server, error);
    if (status == 0)
        announce(server);
    while (status == 0) {
        struct signalfd_siginfo got;
        ssize_t n = px_read(signals, &got, sizeof got);
        if (n == sizeof got && got.ssi_signo == SIGHUP) {
            reload(server);
            continue;
        }
        drain(server, signals);
        break;
    }
    close_server(server);
    free(server);
    return status;
}
