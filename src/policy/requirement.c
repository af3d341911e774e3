/* SPDX-License-Identifier: Apache-2.0 */
/* The text comes from a caller who is not trusted, and becomes an argument of an installer. So only what is known is copied, character by
 * character. */
#include "policy/requirement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "policy/fields.h"

#define PACKAGE_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define REQUIREMENT_LONGEST ((size_t)200)

bool px_package_name(const char *requirement, char name[PX_PACKAGE_NAME_MAX])
{
    size_t length = 0;
    bool separator = false;
    for (const char *at = requirement; *at; at++) {
        char c = *at;
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (c == '-' || c == '_' || c == '.') {
            separator = true;
            continue;
        }
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            break;
        if (length + 3 > PX_PACKAGE_NAME_MAX || (separator && !length))
            return false;
        if (separator)
            name[length++] = '-';
        separator = false;
        name[length++] = c;
    }
    name[length] = '\0';
    return length > 0;
}

static void skip_spaces(const char **at)
{
    *at += strspn(*at, " \t");
}

/* Reads a name of a package or of an extra, which begins and ends with a letter or digit. */
static bool take_name(const char **at, char name[PX_PACKAGE_NAME_MAX])
{
    char copy[PX_PACKAGE_NAME_MAX];
    size_t length = strspn(*at, PACKAGE_LETTERS "-_.");
    if (!length || length >= sizeof copy || strchr("-_.", (*at)[0]) || strchr("-_.", (*at)[length - 1]))
        return false;
    snprintf(copy, sizeof copy, "%.*s", (int)length, *at);
    *at += length;
    return px_package_name(copy, name);
}

/* After the bracket. */
static bool take_extras(const char **at, const char *name, struct px_buffer *out, struct px_strings *named)
{
    char extra[PX_PACKAGE_NAME_MAX], both[2 * PX_PACKAGE_NAME_MAX + 4];
    for (const char *before = "[";; before = ",") {
        skip_spaces(at);
        if (!take_name(at, extra))
            return false;
        px_buffer_printf(out, "%s%s", before, extra);
        int length = snprintf(both, sizeof both, "%s[%s]", name, extra);
        if (px_strings_add(named, both, (size_t)length) < 0)
            out->failed = true;
        skip_spaces(at);
        if (**at != ',')
            break;
        ++*at;
    }
    px_buffer_add_byte(out, ']');
    return *(*at)++ == ']';
}

static bool take_versions(const char **at, struct px_buffer *out)
{
    static const char *const operators[] = {"===", "==", "!=", "<=", ">=", "~=", "<", ">"};
    for (const char *before = ""; **at; before = ",") {
        size_t i = 0;
        while (i < PX_COUNT(operators) && strncmp(*at, operators[i], strlen(operators[i])) != 0)
            i++;
        if (i == PX_COUNT(operators))
            return false;
        *at += strlen(operators[i]);
        skip_spaces(at);
        size_t length = strspn(*at, PACKAGE_LETTERS ".+!*_-");
        if (!length || !strchr(PACKAGE_LETTERS, **at))
            return false;
        px_buffer_printf(out, "%s%s%.*s", before, operators[i], (int)length, *at);
        *at += length;
        skip_spaces(at);
        if (!**at)
            return true;
        if (*(*at)++ != ',')
            return false;
        skip_spaces(at);
        if (!**at)
            return false;
    }
    return true;
}

static bool parse(const char *at, struct px_buffer *out, struct px_strings *named)
{
    char name[PX_PACKAGE_NAME_MAX];
    skip_spaces(&at);
    if (!take_name(&at, name))
        return false;
    px_buffer_add_string(out, name);
    if (px_strings_add(named, name, strlen(name)) < 0)
        out->failed = true;
    skip_spaces(&at);
    if (*at == '[') {
        at++;
        if (!take_extras(&at, name, out, named))
            return false;
        skip_spaces(&at);
    }
    return take_versions(&at, out);
}

int px_requirement_parse(const char *text, size_t length, struct px_buffer *ret, struct px_strings *ret_named,
                         pyexec_error *error)
{
    px_auto_buffer struct px_buffer out = {0};
    char shown[PX_SHOWN_MAX];
    if (length <= REQUIREMENT_LONGEST && strlen(text) == length && parse(text, &out, ret_named)) {
        px_buffer_add_buffer(ret, &out);
        return px_buffer_ok(ret) ? 0 : px_error_oom(error);
    }
    px_error_set(error, PYEXEC_INVALID_REQUEST, "packages: %s is not the name of a package with versions",
                 px_show(text, length, shown));
    return px_error_hint(
        error,
        "Write pandas, pandas==2.2.3 or pandas>=2,<3, at most %zu characters: no address, path, option or "
        "marker.",
        REQUIREMENT_LONGEST);
}

/* The last text that must be allowed is the item itself, unless it has versions or several extras. */
static bool is_item(const char *item, struct px_buffer *out, struct px_strings *named)
{
    return strlen(item) <= REQUIREMENT_LONGEST && parse(item, out, named) && px_buffer_ok(out) && named->count <= 2 &&
           strcmp(named->items[named->count - 1], px_buffer_string(out)) == 0;
}

int px_requirement_allow(struct px_strings *allowed, const char *item, pyexec_error *error)
{
    px_auto(px_strings_done) struct px_strings named = {0};
    px_auto_buffer struct px_buffer out = {0};
    if (is_item(item, &out, &named))
        return px_strings_add(allowed, out.data, out.length) < 0 ? px_error_oom(error) : 0;
    if (out.failed)
        return px_error_oom(error);
    px_error_set(error, PYEXEC_INVALID_POLICY, "allow_requests: '%.100s' is not the name of a package", item);
    return px_error_hint(error,
                         "Write names without versions, such as numpy,pandas, or with an extra: uvicorn[standard].");
}

int px_requirement_allow_all(struct px_strings *allowed, const char *items, pyexec_error *error)
{
    px_auto_free char *copy = strdup(items);
    if (!copy)
        return px_error_oom(error);
    for (char *rest = copy, *name; (name = strsep(&rest, ","));)
        if (*name && px_requirement_allow(allowed, name, error) < 0)
            return -1;
    return 0;
}
