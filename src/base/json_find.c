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

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && is_space(*at))
        at++;
    return at;
}

/* Returns the end of the value that begins at `at`, without the space after it. */
static const char *skip_value(const char *at, const char *end)
{
    const char *begin = at;
    size_t depth = 0;
    while (at < end) {
        bool opens = *at == '{' || *at == '[', closes = *at == '}' || *at == ']';
        if (!depth && (closes || *at == ','))
            break;
        depth = depth + opens - closes;
        at = *at == '"' ? skip_string(at, end) : at + 1;
    }
    while (at > begin && is_space(at[-1]))
        at--;
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

struct px_json_span px_json_item(struct px_json_span text, size_t index)
{
    if (!text.at || !text.length || *text.at != '[')
        return (struct px_json_span){0};
    for (const char *end = text.at + text.length, *at = skip_space(text.at + 1, end); at < end && *at != ']';) {
        const char *past = skip_value(at, end);
        if (!index--)
            return (struct px_json_span){at, (size_t)(past - at)};
        at = skip_space(past, end);
        at = at < end ? skip_space(at + 1, end) : end; /* past the comma */
    }
    return (struct px_json_span){0};
}
