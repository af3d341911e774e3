/* SPDX-License-Identifier: Apache-2.0 */
/* Turns the rows of result.def into accessors and JSON. */
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/json_text.h"
#include "result/result_rows.h"
#include "result/result_types.h"

/* ---- Accessors ---- */

static const char *text_of(const struct px_buffer *text, size_t *ret_length)
{
    if (ret_length)
        *ret_length = text->length;
    return px_buffer_string(text);
}

/* Returns "full" when no required layer is missing, and PX_TIER_CONTAINER when only namespaces are missing. */
static const char *tier_of(px_layers missing)
{
    px_layers lost = missing & px_layers_required();
    return !lost ? "full" : !(lost & ~px_layers_find(PX_TIER_CONTAINER)) ? PX_TIER_CONTAINER : "reduced";
}

#define PX_GET_string(item, name, value) \
    const char *name(const item *it) \
    { \
        return value; \
    }
#define PX_GET_nullable_string PX_GET_string
#define PX_GET_any PX_GET_string
#define PX_GET_text(item, name, value) \
    const char *name(const item *it, size_t *length) \
    { \
        return text_of(value, length); \
    }
#define PX_GET_boolean(item, name, value) \
    bool name(const item *it) \
    { \
        return value; \
    }
#define PX_GET_count(item, name, value) \
    uint64_t name(const item *it) \
    { \
        return value; \
    }
#define PX_GET_code(item, name, value) \
    int name(const item *it) \
    { \
        return value; \
    }
#define PX_GET_line PX_GET_code
#define PX_GET_time(item, name, value) \
    int64_t name(const item *it) \
    { \
        return value; \
    }
#define PX_GET_number(item, name, value) \
    double name(const item *it) \
    { \
        return value; \
    }

#define PX_RESULT(owner, type, key, says, value, meaning) \
    PX_GET_##type(PX_ITEM_##owner, PX_ACCESSOR_##owner(key), value)
#define PX_RESULT_JSON(owner, type, key, says, value, meaning)
#define PX_RESULT_OBJECT(owner, of, key, says, present, value, meaning)
#define PX_RESULT_LIST(owner, of, key, says, count, value, meaning)
#include "result/result.def"
#undef PX_RESULT
#undef PX_RESULT_JSON
#undef PX_RESULT_OBJECT
#undef PX_RESULT_LIST

/* ---- JSON ---- */

static void write_string(struct px_buffer *out, const char *text)
{
    px_json_text_string(out, text, text ? strlen(text) : 0);
}

static void write_text(struct px_buffer *out, const struct px_buffer *text)
{
    px_json_text_string(out, text ? px_buffer_string(text) : NULL, text ? text->length : 0);
    out->failed |= text && text->failed;
}

static void write_base64(struct px_buffer *out, const struct px_buffer *bytes)
{
    if (!bytes) {
        px_buffer_add_string(out, "null");
        return;
    }
    px_buffer_add_byte(out, '"');
    px_base64_encode(out, px_buffer_string(bytes), bytes->length);
    px_buffer_add_byte(out, '"');
}

static void write_layers(struct px_buffer *out, px_layers layers)
{
    bool first = true;
    px_buffer_add_byte(out, '[');
    for (enum px_layer layer = 0; layer < PX_LAYER_COUNT; layer++)
        if (layers & PX_LAYER_BIT(layer)) {
            px_buffer_printf(out, "%s\"%s\"", first ? "" : ",", px_layer_info(layer)->name);
            first = false;
        }
    px_buffer_add_byte(out, ']');
}

static void write_policy(struct px_buffer *out, const struct px_policy *policy)
{
    px_auto_free char *text = px_json_take_text(px_policy_to_json(policy));
    px_buffer_add_string(out, text);
    out->failed |= !text;
}

static void write_number(struct px_buffer *out, int64_t number)
{
    px_buffer_add_integer(out, number);
}

static void write_line(struct px_buffer *out, int line)
{
    if (line > 0)
        write_number(out, line);
    else
        px_buffer_add_string(out, "null");
}

static void write_forms(struct px_buffer *out, const pyexec_display *display)
{
    px_buffer_add_byte(out, '{');
    px_display_write_forms(display, out);
    px_buffer_add_byte(out, '}');
}

#define PX_WRITE_status(value) write_string(out, pyexec_status_name(value))
#define PX_WRITE_string(value) write_string(out, value)
#define PX_WRITE_nullable_string PX_WRITE_string
#define PX_WRITE_text(value) write_text(out, value)
#define PX_WRITE_nullable_text PX_WRITE_text
#define PX_WRITE_base64(value) write_base64(out, value)
#define PX_WRITE_boolean(value) px_buffer_add_string(out, (value) ? "true" : "false")
#define PX_WRITE_count(value) write_number(out, (int64_t)(value))
#define PX_WRITE_code PX_WRITE_count
#define PX_WRITE_time PX_WRITE_count
#define PX_WRITE_line(value) write_line(out, value)
#define PX_WRITE_number(value) px_json_text_real(out, value)
/* JSON of the child is written unchanged, so that each number keeps its digits. */
#define PX_WRITE_any(value) px_buffer_add_string(out, (value) ? (value) : "null")
#define PX_WRITE_object(value) px_buffer_add_string(out, value)
#define PX_WRITE_Tools(value) px_buffer_add_string(out, value)
#define PX_WRITE_forms(value) write_forms(out, value)
#define PX_WRITE_layers(value) write_layers(out, value)
#define PX_WRITE_Policy(value) write_policy(out, value)

/* A function for each row: write_OWNER_KEY(). */
#define PX_WRITER(owner, key) \
    static void write_##owner##_##key(struct px_buffer *out, const void *item) \
    { \
        const PX_ITEM_##owner *it = item;
#define PX_RESULT(owner, type, key, says, value, meaning) \
    PX_WRITER(owner, key) \
    PX_WRITE_##type(value); \
    }
#define PX_RESULT_OBJECT(owner, of, key, says, present, value, meaning) \
    PX_WRITER(owner, key) \
    if (present) \
        px_result_write(out, PX_OWNER_##of, value); \
    else \
        px_buffer_add_string(out, "null"); \
    }
#define PX_RESULT_LIST(owner, of, key, says, count, value, meaning) \
    PX_WRITER(owner, key) \
    px_buffer_add_byte(out, '['); \
    for (size_t i = 0; i < (count); i++) { \
        if (i) \
            px_buffer_add_byte(out, ','); \
        px_result_write(out, PX_OWNER_##of, value); \
    } \
    px_buffer_add_byte(out, ']'); \
    }
#include "result/result.def"
#undef PX_RESULT
#undef PX_RESULT_OBJECT
#undef PX_RESULT_LIST

static const struct {
    enum px_result_owner owner;
    const char *name; /* ,"KEY": with the comma that the first one does not get */
    size_t length;
    void (*write)(struct px_buffer *out, const void *item);
} writers[] = {
#define PX_RESULT(owner, type, key, says, value, meaning) \
    {PX_OWNER_##owner, ",\"" #key "\":", sizeof #key + 3, write_##owner##_##key},
#define PX_RESULT_OBJECT(owner, of, key, says, present, value, meaning) PX_RESULT(owner, of, key, says, value, meaning)
#define PX_RESULT_LIST(owner, of, key, says, count, value, meaning) PX_RESULT(owner, of, key, says, value, meaning)
#include "result/result.def"
#undef PX_RESULT
#undef PX_RESULT_OBJECT
#undef PX_RESULT_LIST
};

void px_result_write_members(struct px_buffer *out, enum px_result_owner owner, const void *item)
{
    bool first = true;
    for (size_t i = 0; i < PX_COUNT(writers); i++) {
        if (writers[i].owner != owner)
            continue;
        px_buffer_add(out, writers[i].name + first, writers[i].length - first);
        writers[i].write(out, item);
        first = false;
    }
}

void px_result_write(struct px_buffer *out, enum px_result_owner owner, const void *item)
{
    px_buffer_add_byte(out, '{');
    px_result_write_members(out, owner, item);
    px_buffer_add_byte(out, '}');
}

void px_display_write(const struct pyexec_display *display, struct px_buffer *out)
{
    px_result_write(out, PX_OWNER_Display, display);
}

const char *pyexec_result_json(pyexec_result *result)
{
    struct px_buffer text = {0};
    if (!result->json && !result->claims.lost) {
        px_result_write(&text, PX_OWNER_Result, result);
        result->json = px_buffer_take(&text);
    }
    return result->json;
}

/* ---- Accessors of other forms ---- */

pyexec_status pyexec_result_status(const pyexec_result *result)
{
    return result->status;
}

const char *pyexec_result_last_value(const pyexec_result *result)
{
    return result->has_value ? px_buffer_string(&result->claims.value) : NULL;
}

const char *pyexec_result_last_value_text(const pyexec_result *result, size_t *length)
{
    return result->has_value ? text_of(&result->claims.value, length) : NULL;
}

size_t pyexec_result_missing_layer_count(const pyexec_result *result)
{
    return (size_t)__builtin_popcount(result->missing);
}

const char *pyexec_result_missing_layer(const pyexec_result *result, size_t index)
{
    for (enum px_layer layer = 0; layer < PX_LAYER_COUNT; layer++)
        if (result->missing & PX_LAYER_BIT(layer) && index-- == 0)
            return px_layer_info(layer)->name;
    return NULL;
}

const char *pyexec_result_network_json(const pyexec_result *result)
{
    return result->network_json ? result->network_json : "[]";
}

json_t *pyexec_result_network_object(const pyexec_result *result)
{
    return result->network;
}

size_t pyexec_result_denial_count(const pyexec_result *result)
{
    return result->claims.denial_count;
}

const pyexec_denial *pyexec_result_denial(const pyexec_result *result, size_t index)
{
    return index < result->claims.denial_count ? &result->claims.denials[index] : NULL;
}

size_t pyexec_result_file_count(const pyexec_result *result)
{
    return result->files.count;
}

const pyexec_file *pyexec_result_file(const pyexec_result *result, size_t index)
{
    return pyexec_file_list_get(&result->files, index);
}

const char *pyexec_file_content(const pyexec_file *file, size_t *length)
{
    return file->has_content ? text_of(&file->content, length) : NULL;
}

size_t pyexec_result_display_count(const pyexec_result *result)
{
    return result->claims.displays.count;
}

const pyexec_display *pyexec_result_display(const pyexec_result *result, size_t index)
{
    return index < result->claims.displays.count ? &result->claims.displays.items[index] : NULL;
}

const char *pyexec_result_display_json(const pyexec_result *result, size_t index)
{
    if (index >= result->claims.displays.count)
        return NULL;
    struct pyexec_display *display = &result->claims.displays.items[index];
    struct px_buffer text = {0};
    if (!display->json) {
        px_display_write(display, &text);
        display->json = px_buffer_take(&text);
    }
    return display->json;
}

size_t pyexec_display_form_count(const pyexec_display *display)
{
    return display->form_count;
}

const char *pyexec_display_form_type(const pyexec_display *display, size_t index)
{
    return index < display->form_count ? display->forms[index].type : NULL;
}

const char *pyexec_display_form_data(const pyexec_display *display, size_t index, size_t *length)
{
    return index < display->form_count ? text_of(&display->forms[index].data, length) : NULL;
}

const char *pyexec_display_metadata_json(const pyexec_display *display)
{
    return display->metadata.length ? px_buffer_string(&display->metadata) : "{}";
}
