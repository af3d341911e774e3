/* SPDX-License-Identifier: Apache-2.0 */
/* The [telemetry] section, and the variables OTEL_… for its keys. Other programs have the same variables, so a value that is
 * not valid here is ignored with a warning, as OpenTelemetry's specification asks for. A key in PYEXEC_TELEMETRY_… is refused then. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/spelling.h"
#include "policy/config.h"
#include "policy/fields.h"

static const struct px_field telemetry_fields[] = {
#define PX_TELEMETRY_FIELD(kind, member, key, ...) \
    PX_ROW(struct px_telemetry_config, kind, member, key, "", __VA_ARGS__),
#include "policy/telemetry.def"
#undef PX_TELEMETRY_FIELD
};

const struct px_table px_telemetry_config_table = {
    .name = "telemetry",
    .about = "Traces, sent to an OpenTelemetry collector.",
    .hint = "See docs/configuration.md for all keys and their ranges, or run `pyexec policy --config-template`.",
    .fields = telemetry_fields,
    .count = PX_COUNT(telemetry_fields),
    .size = sizeof(struct px_telemetry_config),
};

int px_telemetry_config_init(struct px_telemetry_config *telemetry, pyexec_error *error)
{
    return px_table_init(&px_telemetry_config_table, telemetry, error);
}

void px_telemetry_config_done(struct px_telemetry_config *telemetry)
{
    px_table_done(&px_telemetry_config_table, telemetry);
}

/* A later row is stronger. */
static const struct {
    const char *name, *key;
    const char *unit; /* added to the value */
} variables[] = {
    {"OTEL_EXPORTER_OTLP_ENDPOINT", "endpoint", ""},
    {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "traces_endpoint", ""},
    {"OTEL_EXPORTER_OTLP_HEADERS", "headers", ""},
    {"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "headers", ""},
    {"OTEL_EXPORTER_OTLP_CERTIFICATE", "certificate", ""},
    {"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "certificate", ""},
    {"OTEL_EXPORTER_OTLP_TIMEOUT", "timeout", "ms"},
    {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "timeout", "ms"},
    {"OTEL_SERVICE_NAME", "service_name", ""},
    {"OTEL_RESOURCE_ATTRIBUTES", "resource_attributes", ""},
    {"OTEL_TRACES_SAMPLER", "sampler", ""},
    {"OTEL_TRACES_SAMPLER_ARG", "sampler_arg", ""},
    {"OTEL_BSP_SCHEDULE_DELAY", "schedule_delay", "ms"},
    {"OTEL_BSP_EXPORT_TIMEOUT", "export_timeout", "ms"},
    {"OTEL_BSP_MAX_QUEUE_SIZE", "max_queue_size", ""},
    {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "max_export_batch_size", ""},
};

/* An empty variable counts as none. */
static const char *find_value(char *const *environment, const char *name)
{
    size_t length = strlen(name);
    for (; environment && *environment; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=' && (*environment)[length + 1])
            return *environment + length + 1;
    return NULL;
}

static void ignore(struct px_telemetry_config *telemetry, const char *name, const char *why)
{
    if (!*telemetry->ignored)
        snprintf(telemetry->ignored, sizeof telemetry->ignored, "%.60s is ignored: %.170s", name, why);
}

static bool is_supported(const char *name, const char *value)
{
    static const char samplers[] = "always_on always_off traceidratio parentbased_always_on parentbased_always_off "
                                   "parentbased_traceidratio ";
    return strcmp(name, "OTEL_TRACES_SAMPLER") != 0 || px_word_is_listed(samplers, value);
}

static void take_switches(struct px_telemetry_config *telemetry, char *const *environment)
{
    const char *disabled = find_value(environment, "OTEL_SDK_DISABLED");
    const char *exporter = find_value(environment, "OTEL_TRACES_EXPORTER");
    const char *protocol = find_value(environment, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL");
    if (!protocol)
        protocol = find_value(environment, "OTEL_EXPORTER_OTLP_PROTOCOL");
    if ((disabled && strcasecmp(disabled, "true") == 0) || (exporter && !px_word_is_listed("otlp ", exporter)))
        telemetry->disabled = true;
    if (exporter && !px_word_is_listed("otlp none ", exporter))
        ignore(telemetry, "OTEL_TRACES_EXPORTER", "pyexec has only otlp and none");
    if (protocol && strncmp(protocol, "http/", 5) != 0)
        ignore(telemetry, "OTEL_EXPORTER_OTLP_PROTOCOL",
               "traces are sent over HTTP as JSON; the endpoint must take OTLP over HTTP (port 4318)");
}

int px_telemetry_config_otel(struct px_telemetry_config *telemetry, char *const *environment, pyexec_error *error)
{
    for (size_t i = 0; i < PX_COUNT(variables); i++) {
        const char *value = find_value(environment, variables[i].name);
        if (!value)
            continue;
        px_auto_buffer struct px_buffer text = {0};
        px_buffer_printf(&text, "%s%s", value, variables[i].unit);
        if (!px_buffer_ok(&text))
            return px_error_oom(error);
        if (!is_supported(variables[i].name, value))
            ignore(telemetry, variables[i].name, "pyexec does not have this sampler");
        else if (px_table_set_text(&px_telemetry_config_table, telemetry, variables[i].key, px_buffer_string(&text),
                                   error) < 0)
            ignore(telemetry, variables[i].name, error->message);
    }
    take_switches(telemetry, environment);
    return 0;
}
