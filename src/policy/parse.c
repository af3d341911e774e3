/* SPDX-License-Identifier: Apache-2.0 */
/* Reads one value from text or JSON into a member, and refuses what does not fit. The input is untrusted:
 * nothing here recurses, and the length of every value is checked before it is kept. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/utf8.h"
#include "policy/fields.h"
#include "protocol/egress.h"

/* The number of bytes of a value that a message shows. */
#define SHOWN_BYTES 80

const char *px_show(const char *bytes, size_t length, char shown[PX_SHOWN_MAX])
{
    static const char more[] = "\xE2\x80\xA6'";
    size_t out = 0, i = 0;
    shown[out++] = '\'';
    while (i < length && out <= SHOWN_BYTES) {
        const unsigned char *at = (const unsigned char *)bytes + i;
        size_t step = px_utf8_sequence(at, length - i);
        bool control = step == 1 ? *at < 0x20 || *at == 0x7F : step == 2 && at[0] == 0xC2 && at[1] < 0xA0;
        if (!step || control)
            shown[out++] = '?';
        else
            for (size_t j = 0; j < step; j++)
                shown[out++] = bytes[i + j];
        i += step ? step : 1;
    }
    const char *end = i < length ? more : more + sizeof more - 2;
    memcpy(shown + out, end, strlen(end) + 1);
    return shown;
}

static void format_number(const struct px_kind *kind, int64_t value, struct px_buffer *out)
{
    const struct px_unit *best = NULL;
    for (const struct px_unit *unit = kind->units; unit && unit->name; unit++)
        if (!best || (value && unit->factor > best->factor && value % unit->factor == 0))
            best = unit;
    px_buffer_printf(out, "%" PRId64 "%s", best ? value / best->factor : value, best ? best->name : "");
}

void px_field_accepts(const struct px_field *field, struct px_buffer *out)
{
    const struct px_field_info *info = &field->info;
    px_buffer_add_string(out, field->kind->accepts);
    if (field->kind->shape == PX_SHAPE_NUMBER) {
        px_buffer_add_string(out, info->maximum == INT64_MAX ? ", at least " : ", from ");
        format_number(field->kind, info->minimum, out);
        if (info->maximum != INT64_MAX) {
            px_buffer_add_string(out, " to ");
            format_number(field->kind, info->maximum, out);
        }
    }
    if (info->nullable)
        px_buffer_add_string(out, ", or none (in JSON null)");
}

int px_field_refuse(const struct px_table *table, const struct px_field *field, const char *shown, pyexec_error *error)
{
    px_auto_buffer struct px_buffer accepted = {0};
    px_field_accepts(field, &accepted);
    px_error_set(error, PYEXEC_INVALID_POLICY, "%s can't be %s; accepted is %s", field->info.name, shown,
                 px_buffer_shown(&accepted));
    return px_error_hint(error, "%s", field->kind->hint ? field->kind->hint : table->hint);
}

static int refuse_text(const struct px_table *table, const struct px_field *field, const char *text, size_t length,
                       pyexec_error *error)
{
    char shown[PX_SHOWN_MAX];
    return px_field_refuse(table, field, px_show(text, length, shown), error);
}

static int refuse_json(const struct px_table *table, const struct px_field *field, const json_t *value,
                       pyexec_error *error)
{
    char number[64];
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return px_field_refuse(table, field, "an object", error);
    case JSON_ARRAY:
        return px_field_refuse(table, field, "an array", error);
    case JSON_STRING:
        return refuse_text(table, field, json_string_value(value), json_string_length(value), error);
    case JSON_INTEGER:
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return px_field_refuse(table, field, number, error);
    case JSON_REAL:
        snprintf(number, sizeof number, "the real number %g", json_real_value(value));
        return px_field_refuse(table, field, number, error);
    case JSON_TRUE:
        return px_field_refuse(table, field, "true", error);
    case JSON_FALSE:
        return px_field_refuse(table, field, "false", error);
    case JSON_NULL:
        break;
    }
    return px_field_refuse(table, field, "null", error);
}

/* strcasecmp() is not used: its result depends on the locale. */
static bool same_unit(const char *text, size_t length, const char *unit)
{
    if (strlen(unit) != length)
        return false;
    for (size_t i = 0; i < length; i++) {
        bool letter = (unit[i] >= 'a' && unit[i] <= 'z') || (unit[i] >= 'A' && unit[i] <= 'Z');
        if (!letter || (text[i] | 0x20) != (unit[i] | 0x20))
            return false;
    }
    return true;
}

/* Reads digits and a unit of this kind. Returns false also when the product is too large. */
static bool parse_number(const struct px_kind *kind, const char *text, size_t length, int64_t *ret)
{
    int64_t value = 0;
    size_t i = 0;
    for (; i < length && text[i] >= '0' && text[i] <= '9'; i++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, text[i] - '0', &value))
            return false;
    if (!i)
        return false;
    if (!kind->units) {
        *ret = value;
        return i == length;
    }
    for (const struct px_unit *unit = kind->units; unit->name; unit++)
        if (same_unit(text + i, length - i, unit->name))
            return !__builtin_mul_overflow(value, unit->factor, ret);
    return false;
}

bool px_field_in_range(const struct px_field *field, int64_t value)
{
    if (value == PX_NONE)
        return field->info.nullable;
    return value >= field->info.minimum && value <= field->info.maximum;
}

static int replace_string(char **member, const char *text, size_t length, pyexec_error *error)
{
    char *copy = strndup(text, length);
    if (!copy)
        return px_error_oom(error);
    free(*member);
    *member = copy;
    return 0;
}

static int refuse_count(const struct px_table *table, const struct px_field *field, int most, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_POLICY, "%s has more than %d items", field->info.name, most);
    return px_error_hint(error, "%s", table->hint);
}

static int add_host(const struct px_table *table, const struct px_field *field, struct px_strings *list,
                    const char *item, size_t length, pyexec_error *error)
{
    char shown[PX_SHOWN_MAX], entry[PX_HOST_ENTRY_MAX + 3];
    const char *why = px_field_host(item, length, entry);
    if (why) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "%s can't have %s: %s; accepted is %s", field->info.name,
                     px_show(item, length, shown), why, field->kind->accepts);
        return px_error_hint(error, "%s", field->kind->hint);
    }
    if (list->count >= PX_EGRESS_HOSTS_MAX)
        return refuse_count(table, field, PX_EGRESS_HOSTS_MAX, error);
    return px_strings_add(list, entry, strlen(entry)) < 0 ? px_error_oom(error) : 0;
}

static int add_item(const struct px_table *table, const struct px_field *field, struct px_strings *list,
                    const char *item, size_t length, pyexec_error *error)
{
    if (field->kind == &px_kind_hosts)
        return add_host(table, field, list, item, length, error);
    if (!field->kind->valid(item, length))
        return refuse_text(table, field, item, length, error);
    int most = field->kind == &px_kind_networks ? PX_EGRESS_PRIVATE_MAX : PX_NAMES_MAX;
    if (list->count >= (size_t)most)
        return refuse_count(table, field, most, error);
    return px_strings_add(list, item, length) < 0 ? px_error_oom(error) : 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

int px_field_add_items(const struct px_table *table, const struct px_field *field, struct px_strings *list,
                       const char *text, pyexec_error *error)
{
    if (!text[strspn(text, " \t")])
        return 0;
    for (;;) {
        size_t length = strcspn(text, ",");
        const char *item = text, *end = text + length;
        while (item < end && is_blank(*item))
            item++;
        while (end > item && is_blank(end[-1]))
            end--;
        if (add_item(table, field, list, item, (size_t)(end - item), error) < 0)
            return -1;
        if (!text[length])
            return 0;
        text += length + 1;
    }
}

static int set_items(const struct px_table *table, const struct px_field *field, struct px_strings *member,
                     const char *text, const json_t *array, pyexec_error *error)
{
    px_auto(px_strings_done) struct px_strings list = {0};
    if (text && px_field_add_items(table, field, &list, text, error) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        if (!json_is_string(item))
            return refuse_json(table, field, item, error);
        if (add_item(table, field, &list, json_string_value(item), json_string_length(item), error) < 0)
            return -1;
    }
    px_strings_done(member);
    *member = list;
    list = (struct px_strings){0};
    return 0;
}

static int set_null(const struct px_field *field, void *member)
{
    if (field->kind->shape == PX_SHAPE_STRING) {
        free(*(char **)member);
        *(char **)member = NULL;
    } else {
        *(int64_t *)member = PX_NONE;
    }
    return 0;
}

static int set_number_text(const struct px_table *table, const struct px_field *field, int64_t *member,
                           const char *text, size_t length, pyexec_error *error)
{
    int64_t value;
    if (!parse_number(field->kind, text, length, &value) || !px_field_in_range(field, value))
        return refuse_text(table, field, text, length, error);
    *member = value;
    return 0;
}

int px_field_set_text(const struct px_table *table, const struct px_field *field, void *member, const char *text,
                      pyexec_error *error)
{
    size_t length = strlen(text);
    if (field->info.nullable && strcmp(text, "none") == 0)
        return set_null(field, member);
    switch (field->kind->shape) {
    case PX_SHAPE_NUMBER:
        return set_number_text(table, field, member, text, length, error);
    case PX_SHAPE_STRING:
        if (!field->kind->valid(text, length))
            break;
        return replace_string(member, text, length, error);
    case PX_SHAPE_BOOLEAN:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            break;
        *(bool *)member = *text == 't';
        return 0;
    case PX_SHAPE_STRINGS:
        return set_items(table, field, member, text, NULL, error);
    }
    return refuse_text(table, field, text, length, error);
}

int px_field_set_json(const struct px_table *table, const struct px_field *field, void *member, const json_t *value,
                      pyexec_error *error)
{
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    if (field->info.nullable && json_is_null(value))
        return set_null(field, member);
    switch (field->kind->shape) {
    case PX_SHAPE_NUMBER:
        if (text && field->kind->units)
            return set_number_text(table, field, member, text, length, error);
        /* Null is stored as the smallest integer. So this number itself is refused; otherwise it would be a way
         * around the rules for null. */
        if (!json_is_integer(value) || json_integer_value(value) == PX_NONE ||
            !px_field_in_range(field, json_integer_value(value)))
            break;
        *(int64_t *)member = json_integer_value(value);
        return 0;
    case PX_SHAPE_STRING:
        if (!text || !field->kind->valid(text, length))
            break;
        return replace_string(member, text, length, error);
    case PX_SHAPE_BOOLEAN:
        if (!json_is_boolean(value))
            break;
        *(bool *)member = json_is_true(value);
        return 0;
    case PX_SHAPE_STRINGS:
        if (!json_is_array(value))
            break;
        return set_items(table, field, member, NULL, value, error);
    }
    return refuse_json(table, field, value, error);
}
