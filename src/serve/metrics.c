/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/metrics.h"

#include <stdlib.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "serve/calls.h"
#include "serve/detached.h"
#include "serve/fleet_metrics.h"
#include "serve/server.h"

static const double bounds[] = {
#define BUCKET_BOUND(bound) bound,
    PX_METRIC_BUCKETS(BUCKET_BOUND)
#undef BUCKET_BOUND
};
_Static_assert(PX_COUNT(bounds) + 1 == PX_METRIC_BUCKET_COUNT, "one bucket for the rest");

void px_histogram_add(struct px_histogram *histogram, int64_t nanoseconds)
{
    size_t bucket = 0;
    while (bucket < PX_COUNT(bounds) && (double)nanoseconds > bounds[bucket] * 1e9)
        bucket++;
    histogram->buckets[bucket]++;
    histogram->nanoseconds += (uint64_t)nanoseconds;
}

void px_metric_head(struct px_buffer *out, const char *name, const char *type, const char *help)
{
    px_buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void px_metric_histogram(struct px_buffer *out, const char *name, const char *label, const char *value,
                         struct px_histogram *histogram)
{
    uint64_t total = 0;
    const char *comma = *label ? "," : "", *quote = *label ? "\"" : "";
    const char *equals = *label ? "=" : "";
    for (size_t i = 0; i < PX_METRIC_BUCKET_COUNT; i++) {
        total += histogram->buckets[i];
        px_buffer_printf(out, "%s_bucket{%s%s%s%s%s%sle=\"", name, label, equals, quote, value, quote, comma);
        if (i < PX_COUNT(bounds))
            px_buffer_printf(out, "%g\"} %llu\n", bounds[i], (unsigned long long)total);
        else
            px_buffer_printf(out, "+Inf\"} %llu\n", (unsigned long long)total);
    }
    const char *open = *label ? "{" : "", *shut = *label ? "}" : "";
    px_buffer_printf(out, "%s_sum%s%s%s%s%s%s%s %.9g\n", name, open, label, equals, quote, value, quote, shut,
                     (double)histogram->nanoseconds / 1e9);
    px_buffer_printf(out, "%s_count%s%s%s%s%s%s%s %llu\n", name, open, label, equals, quote, value, quote, shut,
                     (unsigned long long)total);
}

static uint64_t histogram_count(struct px_histogram *histogram)
{
    uint64_t total = 0;
    for (size_t i = 0; i < PX_METRIC_BUCKET_COUNT; i++)
        total += histogram->buckets[i];
    return total;
}

static void add_routes(struct px_server *server, struct px_buffer *out)
{
    static const char *const classes[] = {"gone", "1xx", "2xx", "3xx", "4xx", "5xx"};
    struct px_metrics *metrics = &server->metrics;
    px_metric_head(out, "pyexec_http_requests_total", "counter",
                   "HTTP requests by route and class of status; gone: the client went away.");
    for (size_t route = 0; route <= px_route_count; route++)
        for (size_t class = 0; class < PX_COUNT(classes); class ++) {
            uint64_t count = metrics->responses[route][class];
            if (count)
                px_buffer_printf(out, "pyexec_http_requests_total{route=\"%s\",code=\"%s\"} %llu\n",
                                 route < px_route_count ? px_routes[route].name : "none", classes[class],
                                 (unsigned long long)count);
        }
    px_metric_head(out, "pyexec_http_request_duration_seconds", "histogram",
                   "Duration of HTTP requests, from the headers to the answer.");
    for (size_t route = 0; route < px_route_count; route++)
        if (histogram_count(&metrics->requests[route]))
            px_metric_histogram(out, "pyexec_http_request_duration_seconds", "route", px_routes[route].name,
                                &metrics->requests[route]);
}

static const struct {
    const char *key, *name, *label, *type, *help;
} stat_metrics[] = {
    {"executions", "pyexec_executions_total", "status", "counter", "Runs that ended, by status."},
    {"asleep", "pyexec_asleep", "", "gauge", "Runs in progress that sleep and therefore hold no turn."},
    {"pool_ready", "pyexec_pool_ready", "", "gauge", "Warm children, already locked, that wait for a run."},
    {"forks", "pyexec_forks_total", "", "counter", "Children that were cloned, for runs, sessions and the pool."},
    {"pool_hits", "pyexec_pool_hits_total", "", "counter", "Runs that found a child in the pool."},
    {"pool_misses", "pyexec_pool_misses_total", "", "counter", "Runs that found no child in the pool."},
    {"pool_refills", "pyexec_pool_refills_total", "", "counter", "Children that were put into the pool."},
    {"zygote_starts", "pyexec_zygote_starts_total", "", "counter", "Warm parents (zygotes) that were started."},
    {"zygote_restarts", "pyexec_zygote_restarts_total", "", "counter",
     "Warm parents that replaced one that died or had cloned 10,000 children."},
    {"zygote_kinds", "pyexec_zygote_kinds", "environment", "gauge",
     "Combinations of interpreter and preloads that have warm parents, by environment."},
    {"zygote_memory_bytes", "pyexec_zygote_memory_bytes", "environment", "gauge",
     "Memory of warm parents when they were ready, without memory of files, by environment."},
    {"sessions", "pyexec_sessions", "", "gauge", "Sessions that are open."},
    {"sessions_busy", "pyexec_sessions_busy", "", "gauge", "Sessions with a call in progress."},
    {"sessions_opened", "pyexec_sessions_opened_total", "", "counter", "Sessions that were made."},
    {"sessions_ended", "pyexec_sessions_ended_total", "reason", "counter", "Sessions that ended, by reason."},
    {"denials", "pyexec_denials_total", "layer", "counter", "Denials that scripts reported, by layer."},
    {"network_connections", "pyexec_network_connections_total", "verdict", "counter",
     "Requests of scripts with allowed_hosts to the proxy, by verdict."},
    {"network_sent_bytes", "pyexec_network_sent_bytes_total", "", "counter", "Bytes that scripts sent over the proxy."},
    {"network_received_bytes", "pyexec_network_received_bytes_total", "", "counter",
     "Bytes that scripts received over the proxy."},
    {"stdout_bytes", "pyexec_stdout_bytes_total", "", "counter", "Bytes that scripts wrote to standard output."},
    {"stderr_bytes", "pyexec_stderr_bytes_total", "", "counter", "Bytes that scripts wrote to standard error."},
};

/* A pyexec_stat_fn: adds a counter to the lines of its metric. */
static void add_stat(void *userdata, const char *key, const char *thing, uint64_t value)
{
    struct px_buffer *lines = userdata;
    for (size_t i = 0; i < PX_COUNT(stat_metrics); i++) {
        if (strcmp(stat_metrics[i].key, key) != 0)
            continue;
        px_buffer_add_string(&lines[i], stat_metrics[i].name);
        if (thing)
            px_buffer_printf(&lines[i], "{%s=\"%s\"}", stat_metrics[i].label, thing);
        px_buffer_printf(&lines[i], " %llu\n", (unsigned long long)value);
    }
}

static void add_stats(struct px_server *server, struct px_buffer *out)
{
    pyexec_error ignored;
    struct px_buffer lines[PX_COUNT(stat_metrics)] = {0};
    if (server->executor)
        pyexec_stats(server->executor, add_stat, lines, &ignored);
    for (size_t i = 0; i < PX_COUNT(stat_metrics); i++) {
        if (lines[i].length) {
            px_metric_head(out, stat_metrics[i].name, stat_metrics[i].type, stat_metrics[i].help);
            px_buffer_add(out, px_buffer_string(&lines[i]), lines[i].length);
        }
        px_buffer_done(&lines[i]);
    }
}

void px_metric_number(struct px_buffer *out, const char *name, const char *type, const char *help,
                      unsigned long long value)
{
    px_metric_head(out, name, type, help);
    px_buffer_printf(out, "%s %llu\n", name, value);
}

static void add_calls(struct px_server *server, struct px_buffer *out)
{
    struct px_call_counts counts;
    px_calls_count(server->calls, &counts);
    px_metric_head(
        out, "pyexec_tool_calls_total", "counter",
        "Tool calls that were sent to clients, by their answer; none: the script no longer waited; allowed: they "
        "were approved, and count again by their answer.");
    for (size_t i = 0; i < PX_CALL_ANSWERS; i++)
        px_buffer_printf(out, "pyexec_tool_calls_total{answer=\"%s\"} %llu\n", px_call_answer_names[i],
                         (unsigned long long)counts.answers[i]);
    px_metric_number(out, "pyexec_tool_calls_waiting", "gauge", "Tool calls that wait for their client.",
                     counts.waiting);
    px_metric_number(out, "pyexec_tool_calls_held", "gauge", "Tool calls that wait for approval.", counts.held);
    px_metric_head(out, "pyexec_tool_call_duration_seconds", "histogram",
                   "Duration of tool calls, from the script's call to the answer.");
    px_metric_histogram(out, "pyexec_tool_call_duration_seconds", "", "", px_calls_waits(server->calls));
}

static void add_detached(struct px_server *server, struct px_buffer *out)
{
    size_t counts[PX_DETACHED_STATES];
    px_detached_count(server->detached, counts);
    px_metric_head(out, "pyexec_detached_executions", "gauge", "Detached executions that are kept, by state.");
    for (size_t i = 0; i < PX_DETACHED_STATES; i++)
        px_buffer_printf(out, "pyexec_detached_executions{state=\"%s\"} %zu\n", px_detached_state_names[i], counts[i]);
}

static void add_packages(struct px_server *server, struct px_buffer *out)
{
    struct px_build_counts counts;
    px_builds_count(server->builds, &counts);
    px_metric_head(out, "pyexec_package_requests_total", "counter",
                   "Requests with packages; found: the environment was there, or another request has made it.");
    for (size_t i = 0; i < PX_BUILD_OUTCOMES; i++)
        px_buffer_printf(out, "pyexec_package_requests_total{outcome=\"%s\"} %llu\n", px_build_outcome_names[i],
                         (unsigned long long)counts.outcomes[i]);
    px_metric_number(out, "pyexec_package_builds", "gauge", "Environments that are being made for requests.",
                     counts.building);
    px_metric_number(out, "pyexec_package_requests_waiting", "gauge",
                     "Requests that wait for another one's environment, or for their turn to make one.",
                     counts.waiting);
    px_metric_head(out, "pyexec_package_build_duration_seconds", "histogram",
                   "How long it took to make environments for requests.");
    px_metric_histogram(out, "pyexec_package_build_duration_seconds", "", "", px_builds_durations(server->builds));
}

static void add_telemetry(struct px_server *server, struct px_buffer *out)
{
    struct px_telemetry_counts counts;
    px_telemetry_count(server->telemetry, &counts);
    px_metric_head(
        out, "pyexec_trace_spans_total", "counter",
        "Spans of traces; dropped: the queue was full, or they could not be sent; rejected: by the collector.");
    px_buffer_printf(out,
                     "pyexec_trace_spans_total{result=\"exported\"} %llu\n"
                     "pyexec_trace_spans_total{result=\"dropped\"} %llu\n"
                     "pyexec_trace_spans_total{result=\"rejected\"} %llu\n",
                     (unsigned long long)counts.exported, (unsigned long long)counts.dropped,
                     (unsigned long long)counts.rejected);
    px_metric_number(out, "pyexec_trace_spans_queued", "gauge", "Spans that wait to be sent.", counts.queued);
}

void px_metrics_write(struct px_server *server, struct px_buffer *out)
{
    struct px_metrics *metrics = &server->metrics;
    struct px_schedule_counts counts;
    struct px_state_counts state;
    px_schedule_count(server->runs, &counts);
    px_metric_head(out, "pyexec_build_info", "gauge", "The version of the server.");
    px_buffer_printf(out, "pyexec_build_info{version=\"%s\"} 1\n", pyexec_version());
    px_metric_number(out, "pyexec_start_time_seconds", "gauge", "When the server started, since the epoch.",
                     (unsigned long long)metrics->started_seconds);
    px_metric_number(out, "pyexec_draining", "gauge", "1 while the server drains and accepts no new work.",
                     server->draining);
    px_state_count(server->state, &state);
    px_metric_number(out, "pyexec_state_kept", "gauge",
                     "1 while state_dir is written, so that sessions are known after a restart.", state.kept);
    px_metric_number(out, "pyexec_state_write_failures_total", "counter", "Writes to state_dir that failed.",
                     state.failures);
    px_metric_number(out, "pyexec_sessions_lost", "gauge", "Sessions that were lost when the server last restarted.",
                     state.lost);
    px_metric_number(out, "pyexec_queue_length", "gauge", "Runs that wait for a turn.", counts.waiting);
    px_metric_number(out, "pyexec_running", "gauge", "Runs in progress.", counts.running);
    px_metric_head(out, "pyexec_refused_total", "counter", "Runs that were refused, by reason.");
    px_buffer_printf(out,
                     "pyexec_refused_total{reason=\"queue\"} %llu\n"
                     "pyexec_refused_total{reason=\"rate\"} %llu\n",
                     (unsigned long long)counts.refused_queue, (unsigned long long)counts.refused_rate);
    px_metric_head(out, "pyexec_errors_total", "counter", "Requests that failed on the host's side, by code.");
    for (int code = PYEXEC_INVALID_POLICY; code <= PYEXEC_SESSION_NOT_FORKABLE; code++)
        px_buffer_printf(out, "pyexec_errors_total{code=\"%s\"} %llu\n", pyexec_code_name((pyexec_code)code),
                         (unsigned long long)metrics->errors[code]);
    px_metric_head(out, "pyexec_execution_duration_seconds", "histogram",
                   "Duration of runs, from the turn to the result.");
    px_metric_histogram(out, "pyexec_execution_duration_seconds", "", "", &metrics->executions);
    px_metric_head(out, "pyexec_queue_duration_seconds", "histogram", "How long runs waited for their turn.");
    px_metric_histogram(out, "pyexec_queue_duration_seconds", "", "", &metrics->waits);
    px_metric_number(out, "pyexec_http_connections", "gauge", "Connections that are open.",
                     px_watch_count(server->watcher));
    px_metric_number(out, "pyexec_http_received_bytes_total", "counter", "Bytes of request bodies.",
                     metrics->received_bytes);
    px_metric_number(out, "pyexec_http_sent_bytes_total", "counter", "Bytes of response bodies.", metrics->sent_bytes);
    add_calls(server, out);
    add_detached(server, out);
    add_packages(server, out);
    add_telemetry(server, out);
    add_routes(server, out);
    add_stats(server, out);
    px_fleet_metrics_add(server, out);
}
