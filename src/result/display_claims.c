/* SPDX-License-Identifier: Apache-2.0 */
#include "result/display_claims.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/json.h"
#include "base/json_memory.h"
#include "base/utf8.h"

#define JSON_DEPTH_MAX 200

const char px_no_memory[] = "out of memory";

static void close_display(struct px_displays *displays)
{
    px_buffer_done(&displays->forms);
    px_buffer_done(&displays->name);
    px_buffer_done(&displays->data);
    px_buffer_done(&displays->names);
    px_buffer_done(&displays->metadata);
    displays->open = displays->bad = false;
    displays->open_bytes = 0;
    displays->form_count = 0;
}

void px_displays_done(struct px_displays *displays)
{
    close_display(displays);
    for (size_t i = 0; i < displays->count; i++)
        free(displays->items[i]);
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

static bool add_string(struct px_buffer *out, const struct px_buffer *text)
{
    if (!px_utf8_valid(px_buffer_string(text), text->length, NULL))
        return false;
    px_auto_json json_t *string = json_stringn(px_buffer_string(text), text->length);
    char *quoted = string ? px_json_dumps(string, JSON_ENCODE_ANY) : NULL;
    px_buffer_add_string(out, quoted);
    free(quoted);
    return true;
}

static bool add_data(struct px_displays *displays, enum px_mime mime)
{
    struct px_buffer *out = &displays->forms;
    const struct px_buffer *data = &displays->data;
    switch (mime) {
    case PX_MIME_TEXT:
        return add_string(out, data);
    case PX_MIME_JSON:
        px_buffer_add(out, px_buffer_string(data), data->length);
        return claim_ok(displays, data, false);
    case PX_MIME_BINARY:
        px_buffer_add_byte(out, '"');
        px_base64_encode(out, px_buffer_string(data), data->length);
        px_buffer_add_byte(out, '"');
        return true;
    case PX_MIME_BAD:
        break;
    }
    return false;
}

static bool is_repeated(struct px_displays *displays)
{
    struct px_buffer px_auto_buffer wanted = {0};
    px_buffer_printf(&wanted, " %s ", px_buffer_shown(&displays->name));
    bool found = displays->names.length && strstr(px_buffer_shown(&displays->names), px_buffer_shown(&wanted));
    px_buffer_add_string(&displays->names, px_buffer_string(&wanted));
    displays->lost |= !px_buffer_ok(&displays->names);
    return found;
}

/* What the display takes of max_bytes, with the form that is coming at so much. */
static bool fits(const struct px_displays *displays, uint64_t cost)
{
    return displays->bytes + displays->open_bytes + cost + displays->metadata.length <= displays->max_bytes;
}

/* The form that was coming becomes a member of "data". */
static void end_form(struct px_displays *displays)
{
    const struct px_buffer *name = &displays->name;
    if (name->length && !displays->bad) {
        enum px_mime mime = px_mime_of(px_buffer_shown(name), name->length);
        size_t cost = px_mime_cost(mime, px_buffer_shown(&displays->data), displays->data.length);
        if (mime == PX_MIME_BAD || is_repeated(displays) || !fits(displays, cost)) {
            displays->bad = true;
        } else {
            displays->open_bytes += cost;
            px_buffer_printf(&displays->forms, "%s\"%s\":", displays->form_count ? "," : "", px_buffer_shown(name));
            displays->form_count++;
            displays->bad |= !add_data(displays, mime);
        }
    }
    px_buffer_done(&displays->name);
    px_buffer_done(&displays->data);
}

/* What the form that is coming takes so far; with more than is left nothing more is kept. */
static void add_bytes(struct px_displays *displays, struct px_buffer *to, const struct px_wire_field *field)
{
    if (displays->bad)
        return;
    px_buffer_add(to, field->bytes, field->length);
    displays->lost |= !px_buffer_ok(to);
    if (displays->lost)
        return;
    enum px_mime mime = px_mime_of(px_buffer_shown(&displays->name), displays->name.length);
    displays->bad =
        !fits(displays, px_mime_least_cost(mime, displays->data.length)) || displays->metadata.length > PX_METADATA_MAX;
}

static const char *begin_form(struct px_displays *displays, const struct px_wire_field *field)
{
    end_form(displays);
    displays->bad |=
        displays->form_count >= PX_DISPLAY_FORMS_MAX || px_mime_of(field->bytes, field->length) == PX_MIME_BAD;
    if (!displays->bad)
        px_buffer_add(&displays->name, field->bytes, field->length);
    displays->lost |= !px_buffer_ok(&displays->name);
    return NULL;
}

static const char *keep(struct px_displays *displays, struct px_buffer *item)
{
    char **items = realloc(displays->items, (displays->count + 1) * sizeof *items);
    char *text = items ? px_buffer_take(item) : NULL;
    if (items)
        displays->items = items;
    if (!text)
        return px_no_memory;
    items[displays->count++] = text;
    return NULL;
}

static const char *end_display(struct px_displays *displays)
{
    struct px_buffer px_auto_buffer item = {0};
    const struct px_buffer *metadata = &displays->metadata;
    const char *problem = NULL;
    end_form(displays);
    uint64_t bytes = displays->open_bytes + metadata->length;
    if (metadata->length && !displays->bad)
        displays->bad = !claim_ok(displays, metadata, true);
    if (displays->bad || !displays->form_count) {
        displays->dropped++;
    } else {
        px_buffer_add_string(&item, "{\"data\":{");
        px_buffer_add(&item, px_buffer_string(&displays->forms), displays->forms.length);
        px_buffer_printf(&item, "},\"metadata\":");
        px_buffer_add_string(&item, metadata->length ? px_buffer_string(metadata) : "{}");
        px_buffer_printf(&item, ",\"last_value\":%s}", displays->kind == PX_DISPLAY_LAST_VALUE ? "true" : "false");
        problem = px_buffer_ok(&item) && px_buffer_ok(&displays->forms) ? keep(displays, &item) : px_no_memory;
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
    displays->kind = (uint8_t)field->bytes[0];
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
        add_bytes(displays, &displays->metadata, field);
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

void px_displays_write(const struct px_displays *displays, struct px_buffer *out)
{
    px_buffer_add_byte(out, '[');
    for (size_t i = 0; i < displays->count; i++) {
        if (i)
            px_buffer_add_byte(out, ',');
        px_buffer_add_string(out, displays->items[i]);
    }
    px_buffer_add_byte(out, ']');
}
