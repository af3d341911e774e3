/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mime.h"

#include <stdbool.h>
#include <string.h>

#define MIME_NAME_MAX 127

static bool is_token(const char *text, size_t length)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789!#$&^_.+-";
    for (size_t i = 0; i < length; i++)
        if (!memchr(allowed, text[i], sizeof allowed - 1))
            return false;
    return length > 0;
}

static bool is(const char *name, size_t length, const char *wanted)
{
    return strlen(wanted) == length && memcmp(name, wanted, length) == 0;
}

static bool ends(const char *name, size_t length, const char *end)
{
    size_t of_end = strlen(end);
    return length > of_end && memcmp(name + length - of_end, end, of_end) == 0;
}

enum px_mime px_mime_of(const char *name, size_t length)
{
    const char *slash = length && length <= MIME_NAME_MAX ? memchr(name, '/', length) : NULL;
    if (!slash || !is_token(name, (size_t)(slash - name)) || !is_token(slash + 1, length - (size_t)(slash + 1 - name)))
        return PX_MIME_BAD;
    /* Vega-Lite's charts have the type application/vnd.vegalite.v6.json. */
    if (is(name, length, "application/json") || ends(name, length, "+json") || ends(name, length, ".json"))
        return PX_MIME_JSON;
    if ((length > 5 && memcmp(name, "text/", 5) == 0) || ends(name, length, "+xml") ||
        is(name, length, "application/javascript") || is(name, length, "application/xml"))
        return PX_MIME_TEXT;
    return PX_MIME_BINARY;
}

/* Counts the characters as JSON writes them. */
static size_t escaped(const char *data, size_t length)
{
    static const char shorts[] = "\"\\\b\f\n\r\t";
    size_t cost = length;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        cost += memchr(shorts, c, sizeof shorts - 1) ? 1 : 5;
    }
    return cost;
}

size_t px_mime_least_cost(enum px_mime mime, size_t length)
{
    return mime == PX_MIME_BINARY ? (length + 2) / 3 * 4 : length;
}

size_t px_mime_cost(enum px_mime mime, const char *data, size_t length)
{
    return mime == PX_MIME_TEXT ? escaped(data, length) : px_mime_least_cost(mime, length);
}
