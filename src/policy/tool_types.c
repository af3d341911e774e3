/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/tool_types.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/spelling.h"
#include "base/utf8.h"
#include "policy/inputs.h"

#define PARAMETER_CHARACTERS_MAX 100
#define TYPE_MAX 400        /* bytes of one type */
#define TYPE_DEPTH_MAX 4    /* maximum nesting of containers that a type shows */
#define TYPE_STEPS_MAX 400  /* maximum number of schemas that are read for one type */
#define TYPE_NESTED_MAX 64  /* maximum nesting of schemas, also by $ref */
#define TYPE_PARTS_MAX 16   /* the most parts of a union */
#define TYPE_CHOICES_MAX 30 /* the most choices of an enum */
#define TYPE_CHOICES_BYTES 300

/* ---- Names ---- */

static unsigned code_point(const unsigned char *at, size_t length)
{
    if (length == 1)
        return at[0];
    unsigned code = at[0] & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++)
        code = code << 6 | (at[i] & 0x3Fu);
    return code;
}

/* Letters that Python allows in identifiers and does not change (it normalises names to NFKC). */
static bool is_letter(unsigned code)
{
    static const struct {
        unsigned first, last;
    } letters[] = {{'A', 'Z'},       {'_', '_'},      {'a', 'z'},       {0xC0, 0xD6},     {0xD8, 0xF6},
                   {0xF8, 0xFF},     {0x391, 0x3A1},  {0x3A3, 0x3A9},   {0x3B1, 0x3C9},   {0x401, 0x401},
                   {0x410, 0x44F},   {0x451, 0x451},  {0x3041, 0x3096}, {0x30A1, 0x30FA}, {0x30FC, 0x30FC},
                   {0x4E00, 0x9FA5}, {0xAC00, 0xD7A3}};
    for (size_t i = 0; i < PX_COUNT(letters); i++)
        if (code >= letters[i].first && code <= letters[i].last)
            return true;
    return false;
}

bool px_tool_type_is_parameter(const char *name, size_t length)
{
    const unsigned char *at = (const unsigned char *)name;
    size_t characters = 0;
    for (size_t i = 0, n; i < length; i += n) {
        n = px_utf8_sequence(at + i, length - i);
        unsigned code = n ? code_point(at + i, n) : 0;
        if (!n || ++characters > PARAMETER_CHARACTERS_MAX || !(is_letter(code) || (i && code >= '0' && code <= '9')))
            return false;
    }
    return length && !px_name_is_keyword(name) && strcmp(name, "__debug__") != 0 &&
           strncmp(name, "_pyexec_", strlen("_pyexec_")) != 0;
}

/* ---- Values ---- */

/* Characters that a reader does not see, or that change the order of the characters around them. */
static bool is_hidden(unsigned code)
{
    return code < 0x20 || (code >= 0x7F && code <= 0x9F) || code == 0xAD || (code >= 0x200B && code <= 0x200F) ||
           (code >= 0x2028 && code <= 0x202E) || (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF ||
           (code >= 0xE0000 && code <= 0xE007F);
}

void px_tool_type_character(struct px_buffer *out, const char *bytes, size_t length)
{
    unsigned code = code_point((const unsigned char *)bytes, length);
    if (code == '\\')
        px_buffer_add_string(out, "\\\\");
    else if (!is_hidden(code))
        px_buffer_add(out, bytes, length);
    else if (code == '\n' || code == '\r' || code == '\t')
        px_buffer_printf(out, "\\%c", code == '\n' ? 'n' : code == '\r' ? 'r' : 't');
    else
        px_buffer_printf(out, code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
}

void px_tool_type_string(struct px_buffer *out, const char *bytes, size_t length)
{
    bool double_quotes = memchr(bytes, '\'', length) && !memchr(bytes, '"', length);
    char quote = double_quotes ? '"' : '\'';
    px_buffer_add_byte(out, quote);
    for (size_t i = 0, n; i < length; i += n) {
        n = px_utf8_sequence((const unsigned char *)bytes + i, length - i);
        n = n ? n : 1;
        if (bytes[i] == quote)
            px_buffer_add_byte(out, '\\');
        px_tool_type_character(out, bytes + i, n);
    }
    px_buffer_add_byte(out, quote);
}

static void write_real(struct px_buffer *out, double value)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    px_buffer_add_string(out, text);
    if (!strpbrk(text, ".e"))
        px_buffer_add_string(out, ".0");
}

void px_tool_type_value(struct px_buffer *out, const json_t *value)
{
    size_t i, count = 0;
    const char *key;
    json_t *item;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        px_buffer_add_byte(out, '{');
        json_object_foreach((json_t *)(uintptr_t)value, key, item) {
            px_buffer_add_string(out, count++ ? ", " : "");
            px_tool_type_string(out, key, strlen(key));
            px_buffer_add_string(out, ": ");
            px_tool_type_value(out, item);
        }
        px_buffer_add_byte(out, '}');
        break;
    case JSON_ARRAY:
        px_buffer_add_byte(out, '[');
        json_array_foreach(value, i, item) {
            px_buffer_add_string(out, i ? ", " : "");
            px_tool_type_value(out, item);
        }
        px_buffer_add_byte(out, ']');
        break;
    case JSON_STRING:
        px_tool_type_string(out, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        px_buffer_printf(out, "%lld", (long long)json_integer_value(value));
        break;
    case JSON_REAL:
        write_real(out, json_real_value(value));
        break;
    case JSON_TRUE:
        px_buffer_add_string(out, "True");
        break;
    case JSON_FALSE:
        px_buffer_add_string(out, "False");
        break;
    case JSON_NULL:
        px_buffer_add_string(out, "None");
        break;
    }
}

/* ---- Types ---- */

struct writer {
    const json_t *root;
    unsigned uses, steps, nested;
    int depth_max;
    bool over; /* the type can't be shown: it is too long, or too many schemas were read */
};

struct parts {
    struct px_buffer items[TYPE_PARTS_MAX];
    size_t count;
    bool any; /* one of them is Any, or there are too many */
};

static void write_type(struct writer *writer, const json_t *schema, int depth, struct px_buffer *out);

static void parts_done(struct parts *parts)
{
    for (size_t i = 0; i < parts->count; i++)
        px_buffer_done(&parts->items[i]);
}

static void write_any(struct writer *writer, struct px_buffer *out)
{
    writer->uses |= PX_TYPING_ANY;
    px_buffer_add_string(out, "Any");
}

/* Takes ownership of the text. */
static void add_part(struct parts *parts, struct px_buffer *text)
{
    bool known = strcmp(px_buffer_shown(text), "Any") == 0;
    parts->any |= known || (parts->count == TYPE_PARTS_MAX);
    for (size_t i = 0; i < parts->count && !known; i++)
        known = strcmp(px_buffer_shown(&parts->items[i]), px_buffer_shown(text)) == 0;
    if (known || parts->count == TYPE_PARTS_MAX)
        px_buffer_done(text);
    else
        parts->items[parts->count++] = *text;
}

static void write_union(struct writer *writer, struct parts *parts, struct px_buffer *out)
{
    if (parts->any || !parts->count)
        write_any(writer, out);
    for (size_t i = 0; i < parts->count && !parts->any; i++) {
        px_buffer_add_string(out, i ? " | " : "");
        px_buffer_add_string(out, px_buffer_string(&parts->items[i]));
    }
    parts_done(parts);
}

/* Appends Literal[…] if the choices can be written so. */
static bool write_literal(struct writer *writer, const json_t *choices, struct px_buffer *out)
{
    px_auto_buffer struct px_buffer text = {0};
    size_t i, count = json_array_size(choices);
    json_t *choice;
    if (!count || count > TYPE_CHOICES_MAX)
        return false;
    json_array_foreach(choices, i, choice) {
        if (!(json_is_string(choice) || json_is_integer(choice) || json_is_boolean(choice) || json_is_null(choice)))
            return false;
        px_buffer_add_string(&text, i ? ", " : "");
        px_tool_type_value(&text, choice);
        if (text.length > TYPE_CHOICES_BYTES)
            return false;
    }
    writer->uses |= PX_TYPING_LITERAL;
    px_buffer_add_string(out, "Literal[");
    px_buffer_add_string(out, px_buffer_string(&text));
    px_buffer_add_byte(out, ']');
    return true;
}

static bool write_choices(struct writer *writer, const json_t *schema, struct px_buffer *out)
{
    json_t *constant = json_object_get(schema, "const");
    px_auto_json json_t *one = constant ? json_pack("[O]", constant) : NULL;
    return write_literal(writer, one ? one : json_object_get(schema, "enum"), out);
}

static bool is_required(const json_t *schema, const char *key)
{
    size_t i;
    json_t *name;
    json_array_foreach(json_object_get(schema, "required"), i, name)
        if (json_is_string(name) && strcmp(json_string_value(name), key) == 0)
            return true;
    return false;
}

static void write_members(struct writer *writer, const json_t *schema, int depth, struct px_buffer *out)
{
    const char *key;
    json_t *member;
    size_t count = 0;
    writer->uses |= PX_TYPING_TYPED_DICT;
    px_buffer_add_string(out, "TypedDict[{");
    json_object_foreach(json_object_get(schema, "properties"), key, member) {
        bool required = is_required(schema, key);
        writer->over |= out->length > TYPE_MAX;
        if (writer->over)
            break;
        px_buffer_add_string(out, count++ ? ", " : "");
        px_tool_type_string(out, key, strlen(key));
        px_buffer_add_string(out, required ? ": " : ": NotRequired[");
        write_type(writer, member, depth + 1, out);
        px_buffer_add_string(out, required ? "" : "]");
        writer->uses |= required ? 0 : PX_TYPING_NOT_REQUIRED;
    }
    px_buffer_add_string(out, "}]");
}

static void write_container(struct writer *writer, const json_t *schema, const char *name, const char *words, int depth,
                            struct px_buffer *out)
{
    px_buffer_add_string(out, name);
    if (!json_is_object(schema) || !json_object_size(schema) || depth >= writer->depth_max)
        return;
    px_buffer_add_string(out, words);
    write_type(writer, schema, depth + 1, out);
    px_buffer_add_byte(out, ']');
}

/* Appends the type for one word of `type`. */
static void write_kind(struct writer *writer, const json_t *schema, const char *kind, int depth, struct px_buffer *out)
{
    static const char *const plain[][2] = {
        {"string", "str"}, {"integer", "int"}, {"number", "float"}, {"boolean", "bool"}, {"null", "None"}};
    for (size_t i = 0; i < PX_COUNT(plain); i++)
        if (strcmp(kind, plain[i][0]) == 0) {
            px_buffer_add_string(out, plain[i][1]);
            return;
        }
    if (strcmp(kind, "array") == 0)
        write_container(writer, json_object_get(schema, "items"), "list", "[", depth, out);
    else if (strcmp(kind, "object") != 0)
        write_any(writer, out);
    else if (json_object_size(json_object_get(schema, "properties")) && depth < writer->depth_max)
        write_members(writer, schema, depth, out);
    else
        write_container(writer, json_object_get(schema, "additionalProperties"), "dict", "[str, ", depth, out);
}

static void write_kinds(struct writer *writer, const json_t *schema, const json_t *kinds, int depth,
                        struct px_buffer *out)
{
    struct parts parts = {0};
    size_t i;
    json_t *kind;
    json_array_foreach(kinds, i, kind) {
        struct px_buffer text = {0};
        write_kind(writer, schema, json_is_string(kind) ? json_string_value(kind) : "", depth, &text);
        add_part(&parts, &text);
    }
    write_union(writer, &parts, out);
}

static void write_alternatives(struct writer *writer, const json_t *list, int depth, struct px_buffer *out)
{
    struct parts parts = {0};
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one) {
        struct px_buffer text = {0};
        write_type(writer, one, depth, &text);
        add_part(&parts, &text);
        if (writer->over || parts.any)
            break;
    }
    write_union(writer, &parts, out);
}

/* Appends the type of the first schema in allOf that has one. */
static void write_first(struct writer *writer, const json_t *list, int depth, struct px_buffer *out)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one) {
        px_auto_buffer struct px_buffer text = {0};
        write_type(writer, one, depth, &text);
        if (strcmp(px_buffer_shown(&text), "Any") != 0 || writer->over) {
            px_buffer_add_string(out, px_buffer_string(&text));
            return;
        }
    }
    write_any(writer, out);
}

/* Returns the schema that "#/$defs/NAME" refers to, or NULL. */
static const json_t *resolve(const json_t *root, const char *reference)
{
    const json_t *at = root;
    if (*reference++ != '#')
        return NULL;
    while (at && *reference == '/') {
        px_auto_buffer struct px_buffer key = {0};
        for (reference++; *reference && *reference != '/'; reference++) {
            bool escaped = *reference == '~' && (reference[1] == '0' || reference[1] == '1');
            px_buffer_add_byte(&key, !escaped ? *reference : reference[1] == '0' ? '~' : '/');
            reference += escaped;
        }
        at = json_object_get(at, px_buffer_shown(&key));
    }
    return *reference ? NULL : at;
}

static void write_one(struct writer *writer, const json_t *schema, int depth, struct px_buffer *out)
{
    const json_t *kinds = json_object_get(schema, "type"), *reference = json_object_get(schema, "$ref");
    const json_t *any = json_object_get(schema, "anyOf"), *one = json_object_get(schema, "oneOf");
    const json_t *all = json_object_get(schema, "allOf");
    if (write_choices(writer, schema, out))
        return;
    if (json_is_string(reference))
        write_type(writer, resolve(writer->root, json_string_value(reference)), depth, out);
    else if (json_is_array(any) || json_is_array(one))
        write_alternatives(writer, json_is_array(any) ? any : one, depth, out);
    else if (json_is_string(kinds))
        write_kind(writer, schema, json_string_value(kinds), depth, out);
    else if (json_is_array(kinds))
        write_kinds(writer, schema, kinds, depth, out);
    else if (json_is_array(all))
        write_first(writer, all, depth, out);
    else if (json_object_get(schema, "properties"))
        write_kind(writer, schema, "object", depth, out);
    else
        write_any(writer, out);
}

static void write_type(struct writer *writer, const json_t *schema, int depth, struct px_buffer *out)
{
    if (++writer->steps > TYPE_STEPS_MAX || writer->nested == TYPE_NESTED_MAX || out->length > TYPE_MAX)
        writer->over = true;
    writer->nested++;
    if (writer->over || !json_is_object(schema))
        write_any(writer, out);
    else
        write_one(writer, schema, depth, out);
    writer->nested--;
}

void px_tool_type_write(struct px_buffer *out, const json_t *schema, const json_t *root, unsigned *uses)
{
    for (int depth_max = TYPE_DEPTH_MAX; depth_max >= 0; depth_max--) {
        struct writer writer = {.root = root, .depth_max = depth_max};
        px_auto_buffer struct px_buffer text = {0};
        write_type(&writer, schema, 0, &text);
        if (writer.over || text.length > TYPE_MAX)
            continue;
        *uses |= writer.uses;
        px_buffer_add_string(out, px_buffer_string(&text));
        return;
    }
    *uses |= PX_TYPING_ANY;
    px_buffer_add_string(out, "Any");
}
