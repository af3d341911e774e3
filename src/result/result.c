/* SPDX-License-Identifier: Apache-2.0 */
#include "result/result.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/utf8.h"

static const struct {
    size_t size;
    uint32_t count;
} limits[PX_RESULT_KINDS] = {
#define FIELD_LIMITS(name, size, count) [PX_RESULT_##name] = {size, count},
    PX_RESULT_FIELDS(FIELD_LIMITS)
#undef FIELD_LIMITS
};

pyexec_result *px_result_new(void)
{
    pyexec_result *result = calloc(1, sizeof *result);
    if (!result)
        return NULL;
    result->claims.denials = json_array();
    result->files = json_array();
    result->claims.displays.max_count = PX_DISPLAYS_MAX;
    result->claims.displays.max_bytes = PX_DISPLAY_BYTES_MAX;
    result->claims.displays.json_room = PX_JSON_ROOM;
    if (!result->claims.denials || !result->files) {
        pyexec_result_free(result);
        return NULL;
    }
    return result;
}

void pyexec_result_free(pyexec_result *result)
{
    if (!result)
        return;
    struct px_child_result *claims = &result->claims;
    px_buffer_done(&claims->value);
    px_buffer_done(&claims->value_json);
    px_buffer_done(&claims->value_json_error);
    px_displays_done(&claims->displays);
    px_buffer_done(&claims->type);
    px_buffer_done(&claims->message);
    px_buffer_done(&claims->traceback);
    px_buffer_done(&claims->suggestion);
    px_buffer_done(&claims->advice);
    json_decref(claims->denials);
    json_decref(result->files);
    json_decref(result->session);
    px_buffer_done(&result->streams[0].text);
    px_buffer_done(&result->streams[1].text);
    free(result->error_repr);
    free(result->error_type);
    free(result->error_message);
    free(result->error_hint);
    free(result->traceback);
    free(result->json);
    free(result);
}

static const char *take_denial(struct px_child_result *claims, const struct px_wire_field *field)
{
    uint8_t layer;
    int32_t line;
    uint16_t length;
    const size_t head = sizeof layer + sizeof line + sizeof length;
    if (field->length < head)
        return "a denial is too short";
    memcpy(&layer, field->bytes, sizeof layer);
    memcpy(&line, field->bytes + sizeof layer, sizeof line);
    memcpy(&length, field->bytes + sizeof layer + sizeof line, sizeof length);
    if (layer >= PX_DENIAL_KINDS || length > field->length - head)
        return "a denial is malformed";
    const char *what = field->bytes + head, *hint = what + length;
    size_t hint_length = field->length - head - length;
    if (!px_utf8_valid(what, length, NULL) || !px_utf8_valid(hint, hint_length, NULL))
        return "a denial is not UTF-8";
    json_t *denial =
        json_pack("{s:s, s:s%, s:o, s:s%}", "layer", px_denial_layer_name((enum px_denial_layer)layer), "what", what,
                  (size_t)length, "line", line > 0 ? json_integer(line) : json_null(), "hint", hint, hint_length);
    return json_array_append_new(claims->denials, denial) < 0 ? px_no_memory : NULL;
}

static bool copy_exact(void *to, size_t size, const struct px_wire_field *field)
{
    if (field->length != size)
        return false;
    memcpy(to, field->bytes, size);
    return true;
}

/* The guest reports only these signals. Reject others: they would let a script fake a crash. */
static bool is_crash(uint8_t signal)
{
    return signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL || signal == SIGABRT;
}

static const char *take_number(struct px_child_result *claims, const struct px_wire_field *field)
{
    static const char wrong[] = "a number of another size or range";
    uint8_t byte = 0;
    uint64_t number;
    switch (field->kind) {
    case PX_RESULT_OUTCOME:
        if (!copy_exact(&byte, 1, field) || byte >= PX_OUTCOME_KINDS)
            return "an unknown outcome";
        claims->outcome = (enum px_outcome)byte;
        return NULL;
    case PX_RESULT_EXIT_CODE:
        return copy_exact(&claims->exit_code, 4, field) && claims->exit_code >= 0 && claims->exit_code <= 255 ? NULL
                                                                                                              : wrong;
    case PX_RESULT_ERROR_LINE:
        return copy_exact(&claims->line, 4, field) ? NULL : wrong;
    case PX_RESULT_CRASH:
        return copy_exact(claims->crash, 2, field) && is_crash(claims->crash[0]) ? NULL : "a signal that is no crash";
    case PX_RESULT_VALUE_TRUNCATED:
        if (!copy_exact(&byte, 1, field))
            return wrong;
        claims->value_truncated = byte;
        return NULL;
    default:
        if (!copy_exact(&number, 8, field) || number > INT64_MAX / 2)
            return wrong;
        if (field->kind == PX_RESULT_DISPLAYS_DROPPED)
            claims->displays.dropped += number;
        else
            claims->denials_dropped = number;
        return NULL;
    }
}

static const char *take_text(struct px_buffer *buffer, const struct px_wire_field *field)
{
    px_buffer_add(buffer, field->bytes, field->length);
    return px_buffer_ok(buffer) ? NULL : px_no_memory;
}

/* One field that is within its limits. NULL, or what is wrong with it. */
static const char *take(struct px_child_result *claims, const struct px_wire_field *field)
{
    switch ((enum px_result_field)field->kind) {
    case PX_RESULT_LOCKED:
        if (field->length != 16)
            return "a malformed start";
        memcpy(&claims->locked_cpu_ns, field->bytes, 8);
        memcpy(&claims->locked_real_ns, field->bytes + 8, 8);
        claims->locked = true;
        return NULL;
    case PX_RESULT_READY:
        claims->ready = true;
        return NULL;
    case PX_RESULT_SETUP_ERROR:
        if (claims->locked || !copy_exact(&claims->setup, sizeof claims->setup, field))
            return "a set-up error out of place";
        claims->setup.message[sizeof claims->setup.message - 1] = '\0';
        claims->setup.hint[sizeof claims->setup.hint - 1] = '\0';
        return NULL;
    case PX_RESULT_VALUE:
        return take_text(&claims->value, field);
    case PX_RESULT_VALUE_JSON:
        return take_text(&claims->value_json, field);
    case PX_RESULT_VALUE_JSON_ERROR:
        return take_text(&claims->value_json_error, field);
    case PX_RESULT_DISPLAY:
    case PX_RESULT_DISPLAY_FORM:
    case PX_RESULT_DISPLAY_DATA:
    case PX_RESULT_DISPLAY_METADATA:
    case PX_RESULT_DISPLAY_END:
        return px_displays_take(&claims->displays, field);
    case PX_RESULT_ERROR_TYPE:
        return take_text(&claims->type, field);
    case PX_RESULT_ERROR_MESSAGE:
        return take_text(&claims->message, field);
    case PX_RESULT_TRACEBACK:
        return take_text(&claims->traceback, field);
    case PX_RESULT_SUGGESTION:
        return take_text(&claims->suggestion, field);
    case PX_RESULT_ADVICE:
        return take_text(&claims->advice, field);
    case PX_RESULT_DENIAL:
        return take_denial(claims, field);
    case PX_RESULT_DONE:
        claims->done = true;
        return NULL;
    default:
        return take_number(claims, field);
    }
}

int px_child_result_parse(struct px_child_result *claims, const char *packet, size_t size, const char **ret_why)
{
    struct px_wire_field field;
    size_t offset = 0;
    int more;
    while ((more = px_wire_next(packet, size, &offset, &field)) > 0) {
        const char *why = NULL;
        if (claims->done)
            why = "data after the end of the result";
        else if (field.kind == PX_RESULT_NONE || field.kind >= PX_RESULT_KINDS)
            why = "a field of unknown kind";
        else if (!claims->locked && field.kind != PX_RESULT_LOCKED && field.kind != PX_RESULT_SETUP_ERROR)
            why = "a field before the sandbox was locked";
        else if (++claims->counts[field.kind] > limits[field.kind].count ||
                 field.length > limits[field.kind].size - claims->sizes[field.kind])
            why = "a field that is too large or comes too often";
        else {
            claims->sizes[field.kind] += field.length;
            why = take(claims, &field);
        }
        if (why) {
            *ret_why = why;
            return -1;
        }
    }
    if (more < 0)
        *ret_why = "a malformed packet";
    return more;
}

const char *px_child_result_check(const struct px_child_result *claims)
{
    if (claims->done && !claims->counts[PX_RESULT_OUTCOME])
        return "a result without its outcome";
    if (claims->done && claims->outcome == PX_OUTCOME_OK && claims->counts[PX_RESULT_ERROR_TYPE])
        return "an error in a result that is ok";
    const struct px_buffer *texts[] = {&claims->value,           &claims->type,       &claims->message,
                                       &claims->traceback,       &claims->suggestion, &claims->advice,
                                       &claims->value_json_error};
    for (size_t i = 0; i < PX_COUNT(texts); i++)
        if (!px_utf8_valid(px_buffer_string(texts[i]), texts[i]->length, NULL))
            return "text that is not UTF-8";
    return NULL;
}

int px_stream_finish(struct px_stream *stream, size_t limit)
{
    struct px_buffer repaired = {0};
    size_t length = stream->text.length;
    if (!px_buffer_ok(&stream->text))
        return -1;
    /* A sequence that the limit cut in two is dropped, not shown as broken. */
    if (stream->truncated)
        length -= px_utf8_incomplete_tail(px_buffer_string(&stream->text), length);
    px_utf8_repair(&repaired, px_buffer_string(&stream->text), length);
    if (!px_buffer_ok(&repaired))
        return -1;
    if (repaired.length > limit) {
        repaired.length = px_utf8_truncate(repaired.data, repaired.length, limit);
        repaired.data[repaired.length] = '\0';
        stream->truncated = true;
    }
    px_buffer_done(&stream->text);
    stream->text = repaired;
    return 0;
}

int px_result_set_error(pyexec_result *result, const char *type, const char *message)
{
    struct px_buffer repr = {0};
    px_buffer_printf(&repr, "%s%s%s", type, *message ? ": " : "", message);
    free(result->error_type);
    free(result->error_message);
    free(result->error_repr);
    result->error_type = strdup(type);
    result->error_message = strdup(message);
    result->error_repr = px_buffer_take(&repr);
    return result->error_type && result->error_message && result->error_repr ? 0 : -1;
}

json_t *px_layers_to_json(px_layers layers)
{
    json_t *names = json_array();
    for (enum px_layer layer = 0; layer < PX_LAYER_COUNT; layer++)
        if (layers & PX_LAYER_BIT(layer))
            px_json_append(names, json_string(px_layer_info(layer)->name));
    return names;
}

static json_t *text(const char *string)
{
    return string ? json_string(string) : json_null();
}

static json_t *error_object(const pyexec_result *result)
{
    if (!result->error_type)
        return json_null();
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "type", result->error_type, "message", result->error_message, "line",
                     result->error_line > 0 ? json_integer(result->error_line) : json_null(), "traceback",
                     text(result->traceback), "hint", text(result->error_hint));
}

static double rounded(double value)
{
    return (double)(int64_t)(value * 1000 + 0.5) / 1000;
}

static json_t *value_object(const pyexec_result *result)
{
    const struct px_stream *out = &result->streams[0], *err = &result->streams[1];
    return json_pack(
        "{s:s, s:i, s:s%, s:b, s:I, s:s%, s:b, s:I, s:o, s:b}", "status", pyexec_status_name(result->status),
        "exit_code", result->exit_code, "stdout", px_buffer_string(&out->text), out->text.length, "stdout_truncated",
        out->truncated, "stdout_bytes", (json_int_t)out->bytes, "stderr", px_buffer_string(&err->text),
        err->text.length, "stderr_truncated", err->truncated, "stderr_bytes", (json_int_t)err->bytes, "last_value_repr",
        result->has_value ? json_stringn(px_buffer_string(&result->claims.value), result->claims.value.length)
                          : json_null(),
        "last_value_truncated", result->claims.value_truncated);
}

static json_t *rest_object(const pyexec_result *result)
{
    return json_pack("{s:I, s:O, s:b, s:O, s:I, s:o, s:{s:f, s:f, s:I}, s:o}", "display_dropped",
                     (json_int_t)result->claims.displays.dropped, "files", result->files, "files_truncated",
                     result->files_truncated, "denials", result->claims.denials, "denials_dropped",
                     (json_int_t)result->claims.denials_dropped, "missing_layers", px_layers_to_json(result->missing),
                     "usage", "wall_ms", rounded(result->wall_ms), "cpu_ms", rounded(result->cpu_ms),
                     "peak_memory_bytes", (json_int_t)result->peak_bytes, "session",
                     result->session ? json_incref(result->session) : json_null());
}

/* The object's members, without its braces. */
static void add_members(struct px_buffer *out, json_t *object)
{
    px_auto_free char *text = px_json_take_text(object);
    if (text)
        px_buffer_add(out, text + 1, strlen(text) - 2);
    else
        out->failed = true;
}

/* What a child wrote as JSON goes in as it is: each number exactly as it was. */
static char *result_text(const pyexec_result *result)
{
    const struct px_child_result *claims = &result->claims;
    px_auto_buffer struct px_buffer out = {0};
    px_buffer_add_byte(&out, '{');
    add_members(&out, value_object(result));
    px_buffer_add_string(&out, ",\"last_value_json\":");
    px_buffer_add_string(&out, result->has_value_json ? px_buffer_string(&claims->value_json) : "null");
    px_buffer_add_byte(&out, ',');
    add_members(&out, json_pack("{s:o, s:o, s:o}", "last_value_json_error",
                                claims->value_json_error.length ? text(px_buffer_string(&claims->value_json_error))
                                                                : json_null(),
                                "error_repr", text(result->error_repr), "error", error_object(result)));
    px_buffer_add_string(&out, ",\"display\":");
    px_displays_write(&claims->displays, &out);
    px_buffer_add_byte(&out, ',');
    add_members(&out, rest_object(result));
    px_buffer_add_byte(&out, '}');
    return px_buffer_take(&out);
}

const char *pyexec_result_json(pyexec_result *result)
{
    if (!result->json)
        result->json = result_text(result);
    return result->json;
}

const char *pyexec_status_name(pyexec_status status)
{
    static const char *const names[] = {"ok",           "error",  "timeout", "cpu_limit",
                                        "memory_limit", "killed", "crashed", "cancelled"};
    return (size_t)status < PX_COUNT(names) ? names[status] : "unknown";
}

pyexec_status pyexec_result_status(const pyexec_result *result)
{
    return result->status;
}

int pyexec_result_exit_code(const pyexec_result *result)
{
    return result->exit_code;
}

static const char *stream_text(const struct px_stream *stream, size_t *length)
{
    if (length)
        *length = stream->text.length;
    return px_buffer_string(&stream->text);
}

const char *pyexec_result_stdout(const pyexec_result *result, size_t *length)
{
    return stream_text(&result->streams[0], length);
}

const char *pyexec_result_stderr(const pyexec_result *result, size_t *length)
{
    return stream_text(&result->streams[1], length);
}

bool pyexec_result_stdout_truncated(const pyexec_result *result)
{
    return result->streams[0].truncated;
}

bool pyexec_result_stderr_truncated(const pyexec_result *result)
{
    return result->streams[1].truncated;
}

uint64_t pyexec_result_stdout_bytes(const pyexec_result *result)
{
    return result->streams[0].bytes;
}

uint64_t pyexec_result_stderr_bytes(const pyexec_result *result)
{
    return result->streams[1].bytes;
}

const char *pyexec_result_last_value(const pyexec_result *result)
{
    return result->has_value ? px_buffer_string(&result->claims.value) : NULL;
}

const char *pyexec_result_last_value_json(const pyexec_result *result)
{
    return result->has_value_json ? px_buffer_string(&result->claims.value_json) : NULL;
}

const char *pyexec_result_last_value_json_error(const pyexec_result *result)
{
    const struct px_buffer *why = &result->claims.value_json_error;
    return why->length ? px_buffer_string(why) : NULL;
}

size_t pyexec_result_display_count(const pyexec_result *result)
{
    return result->claims.displays.count;
}

const char *pyexec_result_display_json(const pyexec_result *result, size_t index)
{
    return index < result->claims.displays.count ? result->claims.displays.items[index] : NULL;
}

uint64_t pyexec_result_display_dropped(const pyexec_result *result)
{
    return result->claims.displays.dropped;
}

bool pyexec_result_last_value_truncated(const pyexec_result *result)
{
    return result->claims.value_truncated;
}

const char *pyexec_result_error_repr(const pyexec_result *result)
{
    return result->error_repr;
}

const char *pyexec_result_error_type(const pyexec_result *result)
{
    return result->error_type;
}

const char *pyexec_result_error_message(const pyexec_result *result)
{
    return result->error_message;
}

int pyexec_result_error_line(const pyexec_result *result)
{
    return result->error_line;
}

const char *pyexec_result_error_traceback(const pyexec_result *result)
{
    return result->traceback;
}

const char *pyexec_result_error_hint(const pyexec_result *result)
{
    return result->error_hint;
}

double pyexec_result_wall_ms(const pyexec_result *result)
{
    return result->wall_ms;
}

double pyexec_result_cpu_ms(const pyexec_result *result)
{
    return result->cpu_ms;
}

uint64_t pyexec_result_peak_memory_bytes(const pyexec_result *result)
{
    return result->peak_bytes;
}
