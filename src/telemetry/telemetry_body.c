/* SPDX-License-Identifier: Apache-2.0 */
/* What is the same in all requests: the address, the headers, and the beginning of the body with the resource. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/json_text.h"
#include "base/libexec.h"
#include "base/utf8.h"
#include "telemetry/telemetry_private.h"

static int refuse(const char *key, const char *why, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_POLICY, "[telemetry] %s: %s", key, why);
    return px_error_hint(error, "docs/observability.md has an example.");
}

static int hex_value(char digit)
{
    return digit >= '0' && digit <= '9'   ? digit - '0'
           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                          : -1;
}

/* Replaces %XX by its character in place. Returns false when the result is not text. */
static bool decode(char *text)
{
    char *out = text;
    for (const char *at = text; *at; at++) {
        int high = *at == '%' ? hex_value(at[1]) : -1, low = high >= 0 ? hex_value(at[2]) : -1;
        *out++ = low >= 0 ? (char)(high * 16 + low) : *at;
        at += low >= 0 ? 2 : 0;
        if ((unsigned char)out[-1] < 0x20 || out[-1] == 0x7f)
            return false;
    }
    *out = '\0';
    return px_utf8_valid(text, strlen(text), NULL);
}

/* Makes an object of NAME=VALUE. A later pair replaces an earlier one. */
static json_t *read_pairs(const char *key, const struct px_strings *pairs, pyexec_error *error)
{
    px_auto_json json_t *object = json_object();
    for (size_t i = 0; object && i < pairs->count; i++) {
        px_auto_free char *copy = strdup(pairs->items[i]);
        char *equals = copy ? strchr(copy, '=') : NULL;
        if (copy && (!equals || equals == copy || !decode(equals + 1))) {
            refuse(key, "an item is not NAME=VALUE", error);
            return NULL;
        }
        if (equals)
            *equals = '\0';
        px_json_set(object, copy, equals ? json_string(equals + 1) : NULL);
    }
    if (!object || object->type != JSON_OBJECT) {
        px_error_oom(error);
        return NULL;
    }
    return TAKE_PTR(object);
}

static int check_headers(json_t *headers, pyexec_error *error)
{
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const char *name;
    json_t *value;
    json_object_foreach(headers, name, value)
        if (strspn(name, allowed) != strlen(name))
            return refuse("headers", "the name of a header is not valid", error);
    return 0;
}

static char *make_url(const struct px_telemetry_config *config)
{
    px_auto_buffer struct px_buffer url = {0};
    if (config->traces_endpoint)
        return strdup(config->traces_endpoint);
    size_t length = strlen(config->endpoint);
    while (length && config->endpoint[length - 1] == '/')
        length--;
    px_buffer_add(&url, config->endpoint, length);
    px_buffer_add_string(&url, "/v1/traces");
    return px_buffer_take(&url);
}

static int make_greeting(struct px_telemetry *telemetry, const struct px_telemetry_config *config, pyexec_error *error)
{
    px_auto_free char *url = make_url(config);
    if (!url)
        return px_error_oom(error);
    if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
        return refuse(config->traces_endpoint ? "traces_endpoint" : "endpoint",
                      "it must begin with http:// or https://", error);
    px_auto_json json_t *headers = read_pairs("headers", &config->headers, error);
    if (!headers || check_headers(headers, error) < 0)
        return -1;
    px_auto_free char *line = px_json_take_text(json_pack(
        "{s:s, s:O, s:I, s:I, s:s?}", "url", url, "headers", headers, "timeout_ms", (json_int_t)config->timeout_ms,
        "export_timeout_ms", (json_int_t)config->export_timeout_ms, "certificate", config->certificate));
    px_auto_buffer struct px_buffer whole = {0};
    px_buffer_add_string(&whole, line);
    px_buffer_add_byte(&whole, '\n');
    telemetry->sender.greeting = px_buffer_take(&whole);
    return line && telemetry->sender.greeting ? 0 : px_error_oom(error);
}

static void add_attribute(struct px_buffer *out, const char *key, const char *text, bool *first)
{
    px_buffer_add_string(out, *first ? "{\"key\":" : ",{\"key\":");
    px_json_text_string(out, key, strlen(key));
    px_buffer_add_string(out, ",\"value\":{\"stringValue\":");
    px_json_text_string(out, text, strlen(text));
    px_buffer_add_string(out, "}}");
    *first = false;
}

/* The key service_name replaces service.name of resource_attributes, unless service_name has its default. */
static int make_head(struct px_telemetry *telemetry, const struct px_telemetry_config *config, pyexec_error *error)
{
    px_auto_json json_t *given = read_pairs("resource_attributes", &config->resource_attributes, error);
    px_auto_buffer struct px_buffer head = {0};
    const char *key;
    json_t *value;
    bool first = true;
    if (!given)
        return -1;
    if (!json_object_get(given, "service.name") || strcmp(config->service_name, "pyexec") != 0)
        px_json_set(given, "service.name", json_string(config->service_name));
    if (!json_object_get(given, "service.version"))
        px_json_set(given, "service.version", json_string(pyexec_version()));
    px_buffer_add_string(&head, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    json_object_foreach(given, key, value)
        add_attribute(&head, key, json_string_value(value), &first);
    px_buffer_printf(&head, ",{\"key\":\"process.pid\",\"value\":{\"intValue\":\"%d\"}}", (int)getpid());
    px_buffer_printf(&head, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"pyexec\",\"version\":\"%s\"},\"spans\":[",
                     pyexec_version());
    if (first)
        return px_error_oom(error);
    telemetry->head = px_buffer_take(&head);
    return telemetry->head ? 0 : px_error_oom(error);
}

static int read_ratio(const char *text, double *ret, pyexec_error *error)
{
    /* strtod(3) would depend on the locale. */
    double value = 0, place = 1;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (*at - '0');
    bool digits = at > text;
    if (*at == '.')
        for (at++; *at >= '0' && *at <= '9'; at++, digits = true)
            value += (*at - '0') * (place /= 10);
    if (*at || !digits || value > 1)
        return refuse("sampler_arg", "not a number from 0 to 1", error);
    *ret = value;
    return 0;
}

int px_telemetry_read(struct px_telemetry *telemetry, const struct px_telemetry_config *config, pyexec_error *error)
{
    telemetry->queue_max = (size_t)config->max_queue_size;
    telemetry->batch_max = (size_t)config->max_export_batch_size;
    telemetry->delay_ns = config->schedule_delay_ms * INT64_C(1000000);
    telemetry->sender.answer_ms = config->export_timeout_ms + 5000;
    telemetry->flags =
        (config->session_ids ? PYEXEC_TRACE_SESSION_IDS : 0u) | (config->script_errors ? PYEXEC_TRACE_ERRORS : 0u);
    telemetry->sampler = strdup(config->sampler);
    telemetry->sender.program = px_libexec_find("pyexec-otlp", X_OK);
    if (!telemetry->sampler)
        return px_error_oom(error);
    if (read_ratio(config->sampler_arg, &telemetry->ratio, error) < 0)
        return -1;
    if (px_trace_sampler_parse(telemetry->sampler, telemetry->ratio, &telemetry->chosen) < 0)
        return refuse("sampler", "not always_on, always_off or traceidratio, or one of these after parentbased_",
                      error);
    return make_greeting(telemetry, config, error) < 0 || make_head(telemetry, config, error) < 0 ? -1 : 0;
}
