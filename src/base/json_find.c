/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_find.h"

#include <stdbool.h>
#include <string.h>

/* Returns the byte after a string that begins at `at`, or `end`. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\' && at + 1 < end)
            at++;
    return at < end ? at + 1 : end;
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
        at++;
    return at;
}

/* Returns the end of the value that begins at `at`. */
static const char *skip_value(const char *at, const char *end)
{
    size_t depth = 0;
    while (at < end) {
        bool opens = *at == '{' || *at == '[', closes = *at == '}' || *at == ']';
        if (!depth && (closes || *at == ','))
            break;
        depth = depth + opens - closes;
        at = *at == '"' ? skip_string(at, end) : at + 1;
    }
    return at;
}

struct px_json_span px_json_find(struct px_json_span text, const char *name)
{
    size_t depth = 0, length = strlen(name);
    if (!text.at)
        return text;
    for (const char *at = text.at, *end = at + text.length; at < end;) {
        const char *begin = at;
        if (*at != '"') {
            depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
            at++;
            continue;
        }
        at = skip_string(at, end);
        if (depth != 1 || (size_t)(at - begin) != length + 2 || memcmp(begin + 1, name, length) != 0)
            continue;
        at = skip_space(at, end);
        if (at == end || *at != ':')
            continue;
        at = skip_space(at + 1, end);
        return (struct px_json_span){at, (size_t)(skip_value(at, end) - at)};
    }
    return (struct px_json_span){0};
}
