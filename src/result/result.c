/* SPDX-License-Identifier: Apache-2.0 */
#include "result/result.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/utf8.h"

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

void px_result_set_environment(pyexec_result *result, const struct px_environment *environment)
{
    if (!environment)
        return;
    memcpy(result->environment.name, environment->name, sizeof result->environment.name);
    memcpy(result->environment.hash, environment->hash, sizeof result->environment.hash);
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
#define PX_CHILD_TEXT(NAME, member, ...) px_buffer_done(&claims->member);
#include "protocol/child_fields.def"
    px_displays_done(&claims->displays);
    px_tool_claims_done(&claims->tools);
    for (size_t i = 0; i < claims->denial_count; i++)
        denial_done(&claims->denials[i]);
    px_file_list_done(&result->files);
    free(result->session.id);
    free(result->session.no_checkpoint);
    px_buffer_done(&result->streams[0].text);
    px_buffer_done(&result->streams[1].text);
    free(result->error_repr);
    free(result->error_type);
    free(result->error_message);
    free(result->error_hint);
    free(result->traceback);
    json_decref(result->network);
    free(result->network_json);
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

/* ---- Fields of other forms. Each function returns NULL, or what is wrong with the field. ---- */

/* The guest reports only these signals. Any other would let a script claim a crash that was none. */
static bool is_crash(uint8_t signal)
{
    return signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL || signal == SIGABRT;
}

static const char *take_crash(struct px_child_result *claims, const struct px_wire_field *field)
{
    if (field->length != sizeof claims->crash || !is_crash((uint8_t)field->bytes[0]))
        return "a signal that is not a crash";
    memcpy(claims->crash, field->bytes, sizeof claims->crash);
    return NULL;
}

static const char *take_locked(struct px_child_result *claims, const struct px_wire_field *field)
{
    if (field->length != sizeof claims->locked_cpu_ns + sizeof claims->locked_real_ns)
        return "a malformed start";
    memcpy(&claims->locked_cpu_ns, field->bytes, sizeof claims->locked_cpu_ns);
    memcpy(&claims->locked_real_ns, field->bytes + sizeof claims->locked_cpu_ns, sizeof claims->locked_real_ns);
    claims->locked = true;
    return NULL;
}

static const char *take_setup_error(struct px_child_result *claims, const struct px_wire_field *field)
{
    if (claims->locked || field->length != sizeof claims->setup)
        return "a set-up error out of place";
    memcpy(&claims->setup, field->bytes, sizeof claims->setup);
    claims->setup.message[sizeof claims->setup.message - 1] = '\0';
    claims->setup.hint[sizeof claims->setup.hint - 1] = '\0';
    return NULL;
}

static const char *take_display(struct px_child_result *claims, const struct px_wire_field *field)
{
    return px_displays_take(&claims->displays, field);
}

static const char *take_tool_call(struct px_child_result *claims, const struct px_wire_field *field)
{
    return px_tool_claims_take(&claims->tools, field);
}

/* ---- The table ---- */

enum child_form { CHILD_NUMBER = 1, CHILD_TEXT, CHILD_MARK, CHILD_OTHER };
enum text_check { UTF8, LATER };

static const struct child_row {
    enum child_form form;
    size_t size;                  /* the most bytes of all its fields together */
    uint32_t count;               /* how often the field may come */
    size_t offset;                /* place of the text or mark in the struct */
    enum text_check check;        /* for a text: how it is checked */
    struct px_wire_number number; /* for a number: its type and range */
    const char *(*take)(struct px_child_result *claims, const struct px_wire_field *field);
} rows[PX_RESULT_KINDS] = {
#define PX_CHILD_NUMBER(NAME, wire, type, member, minimum, maximum, when) \
    [PX_RESULT_##NAME] = {.form = CHILD_NUMBER, \
                          .size = sizeof(wire), \
                          .count = 1, \
                          .number = PX_WIRE_NUMBER(wire, struct px_child_result, member, minimum, maximum)},
#define PX_CHILD_TEXT(NAME, member, size_, count_, check_, when) \
    [PX_RESULT_##NAME] = {.form = CHILD_TEXT, \
                          .size = (size_), \
                          .count = (count_), \
                          .offset = offsetof(struct px_child_result, member), \
                          .check = (check_)},
#define PX_CHILD_MARK(NAME, member) \
    [PX_RESULT_##NAME] = {.form = CHILD_MARK, .count = 1, .offset = offsetof(struct px_child_result, member)},
#define PX_CHILD_OTHER(NAME, size_, count_, take_) \
    [PX_RESULT_##NAME] = {.form = CHILD_OTHER, .size = (size_), .count = (count_), .take = take_},
#include "protocol/child_fields.def"
};

/* Takes one field that is within its limits. Returns NULL, or what is wrong with it. */
static const char *take(struct px_child_result *claims, const struct px_wire_field *field)
{
    const struct child_row *row = &rows[field->kind];
    char *member = (char *)claims + row->offset;
    switch (row->form) {
    case CHILD_NUMBER:
        return px_wire_take_number(&row->number, field, claims) < 0 ? "a number of another size or range" : NULL;
    case CHILD_TEXT:
        return px_wire_take_text((struct px_buffer *)member, field, row->size) < 0 ? px_no_memory : NULL;
    case CHILD_MARK:
        *(bool *)member = true;
        return NULL;
    case CHILD_OTHER:
        return row->take(claims, field);
    }
    return "a field of unknown kind";
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
        else if (++claims->counts[field.kind] > rows[field.kind].count ||
                 field.length > rows[field.kind].size - claims->sizes[field.kind])
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
    for (size_t kind = 0; kind < PX_RESULT_KINDS; kind++) {
        const struct px_buffer *text = (const struct px_buffer *)((const char *)claims + rows[kind].offset);
        if (rows[kind].form == CHILD_TEXT && rows[kind].check == UTF8 &&
            !px_utf8_valid(px_buffer_string(text), text->length, NULL))
            return "text that is not UTF-8";
    }
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
