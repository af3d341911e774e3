/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json_scan.h"

#include <string.h>

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && strchr(" \t\r\n", *at))
        at++;
    return at;
}

static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\')
            at++;
    return at < end ? at + 1 : end;
}

/* Returns the end of the value that begins here. */
static const char *skip_value(const char *at, const char *end)
{
    size_t depth = 0;
    while (at < end) {
        if (*at == '"') {
            at = skip_string(at, end);
        } else if (*at == '[' || *at == '{') {
            depth++;
            at++;
            continue;
        } else if (depth && (*at == ']' || *at == '}')) {
            depth--;
            at++;
        } else if (depth) {
            at++;
            continue;
        } else {
            while (at < end && !strchr(",]} \t\r\n", *at))
                at++;
        }
        if (!depth)
            return at;
    }
    return end;
}

static bool is_name(const char *at, const char *after, const char *name)
{
    size_t length = strlen(name);
    return (size_t)(after - at) == length + 2 && memcmp(at + 1, name, length) == 0;
}

struct json_part json_scan_member(struct json_part object, const char *name)
{
    const struct json_part none = {NULL, 0};
    if (!object.at || !object.length || *object.at != '{')
        return none;
    const char *end = object.at + object.length, *at = skip_space(object.at + 1, end);
    while (at < end && *at == '"') {
        const char *after = skip_string(at, end), *colon = skip_space(after, end);
        if (colon == end) /* the text is cut */
            return none;
        const char *value = skip_space(colon + 1, end);
        const char *past = skip_value(value, end);
        if (is_name(at, after, name))
            return (struct json_part){value, (size_t)(past - value)};
        at = skip_space(past, end);
        at = at < end ? skip_space(at + 1, end) : end; /* past the comma */
    }
    return none;
}

struct json_part json_scan_item(struct json_part array, size_t index)
{
    const struct json_part none = {NULL, 0};
    if (!array.at || !array.length || *array.at != '[')
        return none;
    const char *end = array.at + array.length, *at = skip_space(array.at + 1, end);
    while (at < end && *at != ']') {
        const char *past = skip_value(at, end);
        if (!index--)
            return (struct json_part){at, (size_t)(past - at)};
        at = skip_space(past, end);
        at = at < end ? skip_space(at + 1, end) : end;
    }
    return none;
}
