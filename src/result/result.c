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
    result->claims.displays.max_count = PX_DISPLAYS_MAX;
    result->claims.displays.max_bytes = PX_DISPLAY_BYTES_MAX;
    result->claims.displays.json_room = PX_JSON_ROOM;
    return result;
}

static void denial_done(struct pyexec_denial *denial)
{
    px_buffer_done(&denial->what);
    px_buffer_done(&denial->hint);
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
    px_tool_claims_done(&claims->tools);
    px_buffer_done(&claims->type);
    px_buffer_done(&claims->message);
    px_buffer_done(&claims->traceback);
    px_buffer_done(&claims->suggestion);
    px_buffer_done(&claims->advice);
    for (size_t i = 0; i < claims->denial_count; i++)
        denial_done(&claims->denials[i]);
    px_file_list_done(&result->files);
    free(result->session.id);
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

static int add_denial(struct px_child_result *claims, struct pyexec_denial *denial)
{
    if (!px_buffer_ok(&denial->what) || !px_buffer_ok(&denial->hint) || claims->denial_count >= PX_DENIALS_MAX) {
        denial_done(denial);
        return -1;
    }
    claims->denials[claims->denial_count++] = *denial;
    return 0;
}

int px_child_result_deny(struct px_child_result *claims, enum px_denial_layer layer, const char *what, const char *hint)
{
    struct pyexec_denial denial = {.layer = layer};
    if (claims->denial_count >= PX_DENIALS_MAX)
        denial_done(&claims->denials[--claims->denial_count]);
    px_buffer_add_string(&denial.what, what);
    px_buffer_add_string(&denial.hint, hint);
    claims->lost |= add_denial(claims, &denial) < 0;
    return claims->lost ? -1 : 0;
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
    struct pyexec_denial denial = {.layer = (enum px_denial_layer)layer, .line = line > 0 ? line : 0};
    px_buffer_add(&denial.what, what, length);
    px_buffer_add(&denial.hint, hint, hint_length);
    return add_denial(claims, &denial) < 0 ? px_no_memory : NULL;
}

static bool copy_exact(void *to, size_t size, const struct px_wire_field *field)
{
    if (field->length != size)
        return false;
    memcpy(to, field->bytes, size);
    return true;
}

/* The guest reports only these signals. Any other would let a script claim a crash that was none. */
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

/* Takes one field that is within its limits. Returns NULL, or what is wrong with it. */
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
    case PX_RESULT_TOOL_CALL:
    case PX_RESULT_TOOL_ARGUMENTS:
    case PX_RESULT_TOOL_CALL_END:
    case PX_RESULT_TOOL_ABANDON:
        return px_tool_claims_take(&claims->tools, field);
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
    /* When the limit has cut a UTF-8 sequence in two, its first part is dropped, because U+FFFD would show it as
     * an error of the script. */
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

const char *pyexec_status_name(pyexec_status status)
{
    static const char *const names[] = {"ok",           "error",  "timeout", "cpu_limit",
                                        "memory_limit", "killed", "crashed", "cancelled"};
    return (size_t)status < PX_COUNT(names) ? names[status] : "unknown";
}
