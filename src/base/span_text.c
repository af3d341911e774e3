/* SPDX-License-Identifier: Apache-2.0 */
#include "base/span_text.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "base/utf8.h"

#define MESSAGE_MAX 1024 /* bytes of an error message */
/* Bits in the `flags` of a span (opentelemetry/proto/trace/v1). Both set: the parent is in another process. */
#define HAS_IS_REMOTE 0x100u
#define IS_REMOTE 0x200u

enum { STATUS_UNSET = 0, STATUS_ERROR = 2 };

int64_t px_span_epoch(void)
{
    return px_clock_ns(CLOCK_REALTIME) - px_now_ns();
}

static void add_string(struct px_buffer *out, const char *text)
{
    px_json_text_string(out, text, strlen(text));
}

void px_span_begin(struct px_span_text *to, const char *id, const char *parent, bool remote, const char *name, int kind,
                   int64_t begin_ns, int64_t end_ns)
{
    struct px_buffer *out = &to->text;
    px_buffer_printf(out, "%s{\"traceId\":\"%s\",\"spanId\":\"%s\"", to->count++ ? "," : "", to->trace_id, id);
    if (*parent)
        px_buffer_printf(out, ",\"parentSpanId\":\"%s\"", parent);
    if (to->tracestate) {
        px_buffer_add_string(out, ",\"traceState\":");
        add_string(out, to->tracestate);
    }
    px_buffer_printf(out, ",\"flags\":%u,\"kind\":%d,\"name\":",
                     to->flags | HAS_IS_REMOTE | (remote && *parent ? IS_REMOTE : 0), kind);
    add_string(out, name);
    px_buffer_printf(out, ",\"startTimeUnixNano\":\"%" PRId64 "\",\"endTimeUnixNano\":\"%" PRId64 "\",\"attributes\":[",
                     to->epoch_ns + begin_ns, to->epoch_ns + (end_ns < begin_ns ? begin_ns : end_ns));
    to->has_attributes = false;
}

static void begin_attribute(struct px_span_text *to, const char *key)
{
    px_buffer_add_string(&to->text, to->has_attributes ? ",{\"key\":" : "{\"key\":");
    add_string(&to->text, key);
    px_buffer_add_string(&to->text, ",\"value\":{");
    to->has_attributes = true;
}

void px_span_string(struct px_span_text *to, const char *key, const char *text)
{
    if (!text)
        return;
    begin_attribute(to, key);
    px_buffer_add_string(&to->text, "\"stringValue\":");
    add_string(&to->text, text);
    px_buffer_add_string(&to->text, "}}");
}

void px_span_integer(struct px_span_text *to, const char *key, int64_t number)
{
    begin_attribute(to, key);
    px_buffer_printf(&to->text, "\"intValue\":\"%" PRId64 "\"}}", number);
}

void px_span_real(struct px_span_text *to, const char *key, double number)
{
    begin_attribute(to, key);
    px_buffer_add_string(&to->text, "\"doubleValue\":");
    px_json_text_real(&to->text, number);
    px_buffer_add_string(&to->text, "}}");
}

void px_span_boolean(struct px_span_text *to, const char *key, bool value)
{
    begin_attribute(to, key);
    px_buffer_printf(&to->text, "\"boolValue\":%s}}", value ? "true" : "false");
}

void px_span_end(struct px_span_text *to, const char *error, const char *message)
{
    char shown[MESSAGE_MAX + 1];
    px_span_string(to, "error.type", error);
    px_buffer_printf(&to->text, "],\"status\":{\"code\":%d", error ? STATUS_ERROR : STATUS_UNSET);
    if (error && message) {
        size_t length = strnlen(message, MESSAGE_MAX);
        while (length && !px_utf8_valid(message, length, NULL))
            length--;
        memcpy(shown, message, length);
        shown[length] = '\0';
        px_buffer_add_string(&to->text, ",\"message\":");
        add_string(&to->text, shown);
    }
    px_buffer_add_string(&to->text, "}}");
}
