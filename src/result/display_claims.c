/* SPDX-License-Identifier: Apache-2.0 */
#include "result/display_claims.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/json.h"
#include "base/json_memory.h"
#include "base/json_text.h"
#include "base/utf8.h"

#define JSON_DEPTH_MAX 200

const char px_no_memory[] = "out of memory";

static void display_done(struct pyexec_display *display)
{
    for (size_t i = 0; i < display->form_count; i++) {
        free(display->forms[i].type);
        px_buffer_done(&display->forms[i].data);
    }
    free(display->forms);
    px_buffer_done(&display->metadata);
    free(display->json);
    *display = (struct pyexec_display){0};
}

static void close_display(struct px_displays *displays)
{
    display_done(&displays->coming);
    px_buffer_done(&displays->name);
    px_buffer_done(&displays->data);
    displays->open = displays->bad = false;
    displays->open_bytes = 0;
}

void px_displays_done(struct px_displays *displays)
{
    close_display(displays);
    for (size_t i = 0; i < displays->count; i++)
        display_done(&displays->items[i]);
    free(displays->items);
    displays->items = NULL;
    displays->count = 0;
}

/* ---- JSON that a child wrote ---- */

static bool is_one_line(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x20)
            return false;
    return true;
}

bool px_json_claim_ok(const char *text, size_t length, bool object, uint64_t *room)
{
    struct px_json_memory weight = px_json_memory_estimate(text, length);
    errno = 0;
    if (weight.depth > JSON_DEPTH_MAX || weight.bytes > *room || !is_one_line(text, length))
        return false;
    *room -= weight.bytes;
    json_error_t problem = {0};
    px_auto_json json_t *value =
        px_json_loadb(text, length, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &problem);
    errno = value || !px_json_no_memory(&problem) ? 0 : ENOMEM;
    return value && (!object || json_is_object(value));
}

static bool claim_ok(struct px_displays *displays, const struct px_buffer *text, bool object)
{
    bool ok = px_json_claim_ok(px_buffer_string(text), text->length, object, &displays->json_room);
    displays->lost |= !ok && errno == ENOMEM;
    return ok;
}

/* ---- Forms ---- */

static bool data_ok(struct px_displays *displays, enum px_mime mime)
{
    const struct px_buffer *data = &displays->data;
    if (mime == PX_MIME_TEXT)
        return px_utf8_valid(px_buffer_string(data), data->length, NULL);
    return mime == PX_MIME_JSON ? claim_ok(displays, data, false) : mime == PX_MIME_BINARY;
}

static bool is_repeated(const struct px_displays *displays)
{
    for (size_t i = 0; i < displays->coming.form_count; i++)
        if (strcmp(displays->coming.forms[i].type, px_buffer_shown(&displays->name)) == 0)
            return true;
    return false;
}

/* Adds the form that has arrived to the display. */
static void keep_form(struct px_displays *displays)
{
    struct pyexec_display *display = &displays->coming;
    struct px_display_form *forms = realloc(display->forms, (display->form_count + 1) * sizeof *forms);
    if (forms)
        display->forms = forms;
    char *type = forms ? px_buffer_take(&displays->name) : NULL;
    if (type) {
        forms[display->form_count++] = (struct px_display_form){type, displays->data};
        displays->data = (struct px_buffer){0};
    }
    displays->lost |= !type;
}

/* True if the display still fits max_bytes when this form takes `cost` of it. */
static bool fits(const struct px_displays *displays, uint64_t cost)
{
    return displays->bytes + displays->open_bytes + cost + displays->coming.metadata.length <= displays->max_bytes;
}

static void end_form(struct px_displays *displays)
{
    const struct px_buffer *name = &displays->name;
    if (name->length && !displays->bad) {
        enum px_mime mime = px_mime_of(px_buffer_shown(name), px_buffer_length(name));
        size_t cost = px_mime_cost(mime, px_buffer_shown(&displays->data), px_buffer_length(&displays->data));
        if (is_repeated(displays) || !fits(displays, cost) || !data_ok(displays, mime)) {
            displays->bad = true;
        } else {
            displays->open_bytes += cost;
            keep_form(displays);
        }
    }
    px_buffer_done(&displays->name);
    px_buffer_done(&displays->data);
}

/* Adds bytes to the form that is arriving, and checks its cost so far. When it costs too much, no more is
 * kept. */
static void add_bytes(struct px_displays *displays, struct px_buffer *to, const struct px_wire_field *field)
{
    if (displays->bad)
        return;
    px_buffer_add(to, field->bytes, field->length);
    displays->lost |= !px_buffer_ok(to);
    if (displays->lost)
        return;
    enum px_mime mime = px_mime_of(px_buffer_shown(&displays->name), px_buffer_length(&displays->name));
    displays->bad = !fits(displays, px_mime_least_cost(mime, displays->data.length)) ||
                    displays->coming.metadata.length > PX_METADATA_MAX;
}

static const char *begin_form(struct px_displays *displays, const struct px_wire_field *field)
{
    end_form(displays);
    displays->bad |=
        displays->coming.form_count >= PX_DISPLAY_FORMS_MAX || px_mime_of(field->bytes, field->length) == PX_MIME_BAD;
    if (!displays->bad)
        px_buffer_add(&displays->name, field->bytes, field->length);
    displays->lost |= !px_buffer_ok(&displays->name);
    return NULL;
}

static const char *keep(struct px_displays *displays)
{
    struct pyexec_display *items = realloc(displays->items, (displays->count + 1) * sizeof *items);
    if (!items)
        return px_no_memory;
    displays->items = items;
    items[displays->count++] = displays->coming;
    displays->coming = (struct pyexec_display){0};
    return NULL;
}

static const char *end_display(struct px_displays *displays)
{
    struct pyexec_display *display = &displays->coming;
    const char *problem = NULL;
    end_form(displays);
    uint64_t bytes = displays->open_bytes + display->metadata.length;
    if (display->metadata.length && !displays->bad)
        displays->bad = !claim_ok(displays, &display->metadata, true);
    if (displays->bad || !display->form_count) {
        displays->dropped++;
    } else {
        problem = keep(displays);
        displays->bytes += bytes;
    }
    close_display(displays);
    return problem;
}

static const char *begin_display(struct px_displays *displays, const struct px_wire_field *field)
{
    if (displays->open)
        return "a display within a display";
    if (field->length != 1 || (uint8_t)field->bytes[0] >= PX_DISPLAY_KINDS)
        return "a display of unknown kind";
    displays->open = true;
    displays->bad = displays->count >= displays->max_count;
    displays->coming.last_value = (uint8_t)field->bytes[0] == PX_DISPLAY_LAST_VALUE;
    return NULL;
}

static const char *take(struct px_displays *displays, const struct px_wire_field *field)
{
    if (field->kind == PX_RESULT_DISPLAY)
        return begin_display(displays, field);
    if (!displays->open)
        return "a part of a display that did not begin";
    switch (field->kind) {
    case PX_RESULT_DISPLAY_FORM:
        return begin_form(displays, field);
    case PX_RESULT_DISPLAY_DATA:
        if (!displays->name.length)
            displays->bad = true;
        add_bytes(displays, &displays->data, field);
        return NULL;
    case PX_RESULT_DISPLAY_METADATA:
        add_bytes(displays, &displays->coming.metadata, field);
        return NULL;
    default:
        return end_display(displays);
    }
}

const char *px_displays_take(struct px_displays *displays, const struct px_wire_field *field)
{
    const char *problem = take(displays, field);
    return displays->lost ? px_no_memory : problem;
}

void px_displays_finish(struct px_displays *displays)
{
    displays->dropped += displays->open;
    close_display(displays);
}

void px_display_write_forms(const struct pyexec_display *display, struct px_buffer *out)
{
    for (size_t i = 0; i < display->form_count; i++) {
        const struct px_display_form *form = &display->forms[i];
        const char *data = px_buffer_string(&form->data);
        enum px_mime mime = px_mime_of(form->type, strlen(form->type));
        px_buffer_printf(out, "%s\"%s\":", i ? "," : "", form->type);
        if (mime == PX_MIME_TEXT) {
            px_json_text_string(out, data, form->data.length);
        } else if (mime == PX_MIME_JSON) {
            px_buffer_add(out, data, form->data.length);
        } else {
            px_buffer_add_byte(out, '"');
            px_base64_encode(out, data, form->data.length);
            px_buffer_add_byte(out, '"');
        }
    }
}
