/* SPDX-License-Identifier: Apache-2.0 */
/* Functions on whole structs by their tables, and lists of strings. */
#include "policy/fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/spelling.h"

bool px_strings_has(const struct px_strings *strings, const char *item)
{
    for (size_t i = 0; i < strings->count; i++)
        if (strcmp(strings->items[i], item) == 0)
            return true;
    return false;
}

int px_strings_add(struct px_strings *strings, const char *item, size_t length)
{
    px_auto_free char *copy = strndup(item, length);
    if (!copy)
        return -1;
    if (px_strings_has(strings, copy))
        return 0;
    /* The list is full exactly when the count is a power of two, so that no capacity has to be stored. */
    if ((strings->count & (strings->count - 1)) == 0) {
        size_t capacity = strings->count ? strings->count * 2 : 1;
        char **items = reallocarray(strings->items, capacity, sizeof *items);
        if (!items)
            return -1;
        strings->items = items;
    }
    strings->items[strings->count++] = TAKE_PTR(copy);
    return 0;
}

void px_strings_done(struct px_strings *strings)
{
    for (size_t i = 0; i < strings->count; i++)
        free(strings->items[i]);
    free(strings->items);
    *strings = (struct px_strings){0};
}

static void free_member(const struct px_field *field, void *member)
{
    if (field->kind->shape == PX_SHAPE_STRINGS) {
        px_strings_done(member);
    } else if (field->kind->shape == PX_SHAPE_STRING) {
        free(*(char **)member);
        *(char **)member = NULL;
    }
}

void px_table_done(const struct px_table *table, void *base)
{
    for (size_t i = 0; i < table->count; i++)
        free_member(&table->fields[i], px_field_in(&table->fields[i], base));
    memset(base, 0, table->size);
}

int px_table_init(const struct px_table *table, void *base, pyexec_error *error)
{
    memset(base, 0, table->size);
    for (size_t i = 0; i < table->count; i++) {
        const struct px_field *field = &table->fields[i];
        if (px_field_set_text(table, field, px_field_in(field, base), field->info.default_text, error) < 0)
            return -1;
    }
    return 0;
}

static int copy_member(const struct px_field *field, void *ret, const void *from)
{
    switch (field->kind->shape) {
    case PX_SHAPE_NUMBER:
        *(int64_t *)ret = *(const int64_t *)from;
        return 0;
    case PX_SHAPE_BOOLEAN:
        *(bool *)ret = *(const bool *)from;
        return 0;
    case PX_SHAPE_STRING: {
        const char *text = *(char *const *)from;
        *(char **)ret = text ? strdup(text) : NULL;
        return text && !*(char **)ret ? -1 : 0;
    }
    case PX_SHAPE_STRINGS: {
        const struct px_strings *list = from;
        for (size_t i = 0; i < list->count; i++)
            if (px_strings_add(ret, list->items[i], strlen(list->items[i])) < 0)
                return -1;
        return 0;
    }
    }
    return -1;
}

int px_field_replace(const struct px_field *field, void *member, const void *from, pyexec_error *error)
{
    free_member(field, member);
    return copy_member(field, member, from) < 0 ? px_error_oom(error) : 0;
}

int px_table_copy(const struct px_table *table, void *ret, const void *from, pyexec_error *error)
{
    memset(ret, 0, table->size);
    for (size_t i = 0; i < table->count; i++)
        if (copy_member(&table->fields[i], px_field_in(&table->fields[i], ret), px_field_of(&table->fields[i], from)) <
            0)
            return px_error_oom(error);
    return 0;
}

static bool strings_equal(const struct px_strings *one, const struct px_strings *other)
{
    bool equal = one->count == other->count;
    for (size_t i = 0; equal && i < one->count; i++)
        equal = strcmp(one->items[i], other->items[i]) == 0;
    return equal;
}

static bool member_equal(const struct px_field *field, const void *one, const void *other)
{
    const char *text, *other_text;
    switch (field->kind->shape) {
    case PX_SHAPE_NUMBER:
        return *(const int64_t *)one == *(const int64_t *)other;
    case PX_SHAPE_BOOLEAN:
        return *(const bool *)one == *(const bool *)other;
    case PX_SHAPE_STRING:
        text = *(char *const *)one;
        other_text = *(char *const *)other;
        return text && other_text ? strcmp(text, other_text) == 0 : text == other_text;
    case PX_SHAPE_STRINGS:
        return strings_equal(one, other);
    }
    return false;
}

bool px_table_equal(const struct px_table *table, const void *one, const void *other)
{
    bool equal = true;
    for (size_t i = 0; equal && i < table->count; i++)
        equal =
            member_equal(&table->fields[i], px_field_of(&table->fields[i], one), px_field_of(&table->fields[i], other));
    return equal;
}

static json_t *strings_to_json(const struct px_strings *list)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < list->count; i++) {
        if (json_array_append_new(array, json_string(list->items[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

json_t *px_field_to_json(const struct px_field *field, const void *member)
{
    switch (field->kind->shape) {
    case PX_SHAPE_NUMBER:
        return *(const int64_t *)member == PX_NONE ? json_null() : json_integer(*(const int64_t *)member);
    case PX_SHAPE_BOOLEAN:
        return json_boolean(*(const bool *)member);
    case PX_SHAPE_STRING:
        return *(char *const *)member ? json_string(*(char *const *)member) : json_null();
    case PX_SHAPE_STRINGS:
        return strings_to_json(member);
    }
    return NULL;
}

json_t *px_table_to_json(const struct px_table *table, const void *base)
{
    json_t *object = json_object();
    for (size_t i = 0; object && i < table->count; i++) {
        const struct px_field *field = &table->fields[i];
        /* json_object_set_new() refuses NULL, which a failed allocation gives. */
        if (json_object_set_new(object, field->info.name, px_field_to_json(field, px_field_of(field, base))) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

int px_table_merge_json(const struct px_table *table, void *base, const json_t *object, pyexec_error *error)
{
    if (!object) /* the caller made `object`, and there was no memory for it */
        return px_error_oom(error);
    if (!json_is_object(object)) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "%s must be a JSON object", table->name);
        return px_error_hint(error, "%s", table->hint);
    }
    const char *key;
    json_t *value;
    /* jansson's iterators want a pointer to a mutable object but only read it. */
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        size_t row = px_table_find_key(table, key);
        if (row == table->count)
            return px_table_unknown(table, key, true, error);
        const struct px_field *field = &table->fields[row];
        if (px_field_set_json(table, field, px_field_in(field, base), value, error) < 0)
            return -1;
    }
    return 0;
}

static bool name_ends_in_ms(const char *name)
{
    size_t length = strlen(name);
    return length >= 3 && (name[length - 3] == '_' || name[length - 3] == '-') && strcmp(name + length - 2, "ms") == 0;
}

/* A duration without a unit has the unit that the name has, else seconds: timeout_ms = 5000, timeout = 5. */
static const char *duration_with_unit(const char *name, const char *text, char with[32])
{
    size_t length = strspn(text, "0123456789");
    if (!length || text[length] || length > 24)
        return text;
    snprintf(with, 32, "%s%s", text, name_ends_in_ms(name) ? "ms" : "s");
    return with;
}

int px_table_set_text(const struct px_table *table, void *base, const char *name, const char *text, pyexec_error *error)
{
    char with[32];
    size_t row = px_table_find(table, name);
    if (row == table->count)
        return px_table_unknown(table, name, false, error);
    const struct px_field *field = &table->fields[row];
    if (field->kind == &px_kind_duration)
        text = duration_with_unit(name, text, with);
    return px_field_set_text(table, field, px_field_in(field, base), text, error);
}

static bool same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if ((*a == '-' ? '_' : *a) != (*b == '-' ? '_' : *b))
            return false;
    return *a == *b;
}

size_t px_table_find(const struct px_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct px_field_info *info = &table->fields[i].info;
        if (same_name(name, info->name) || (info->alias && same_name(name, info->alias)))
            return i;
    }
    return table->count;
}

size_t px_table_find_key(const struct px_table *table, const char *key)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->fields[i].info.name, key) == 0)
            return i;
    return table->count;
}

int px_table_unknown(const struct px_table *table, const char *name, bool json, pyexec_error *error)
{
    char shown[PX_SHOWN_MAX];
    struct px_spelling nearest = {.wanted = name};
    const char *key = NULL;
    for (size_t i = 0; i < table->count; i++) {
        const struct px_field_info *info = &table->fields[i].info;
        const char *before = nearest.best;
        px_spelling_offer(&nearest, info->name);
        if (info->alias)
            px_spelling_offer(&nearest, info->alias);
        if (nearest.best != before)
            key = info->name;
    }
    px_error_set(error, PYEXEC_INVALID_POLICY, "%s has no key %s", table->name, px_show(name, strlen(name), shown));
    if (!key)
        return px_error_hint(error, "%s", table->hint);
    return px_error_hint(error, "Did you mean %s? %s", json ? key : nearest.best, table->hint);
}
