/* SPDX-License-Identifier: Apache-2.0 */
/* requires-python: PEP 440's version specifiers, for the versions that CPython's releases have: numbers and dots. */
#include <stdlib.h>
#include <string.h>

#include "env_build/env_python.h"

#define PARTS_MAX 4

struct version {
    unsigned long parts[PARTS_MAX];
    size_t count;
    bool wildcard; /* ends with ".*" */
};

/* Reads up to a comma or the end. Suffixes such as rc1 are not for releases. */
static bool read_version(const char **text, struct version *ret)
{
    const char *at = *text;
    *ret = (struct version){0};
    for (;;) {
        char *end;
        if (*at == '*' && ret->count) {
            ret->wildcard = true;
            at++;
            break;
        }
        if (*at < '0' || *at > '9' || ret->count == PARTS_MAX)
            return false;
        ret->parts[ret->count++] = strtoul(at, &end, 10);
        at = end;
        if (*at != '.')
            break;
        at++;
    }
    at += strspn(at, " \t");
    *text = at;
    return !*at || *at == ',';
}

/* Compares the first `count` parts; missing parts are 0. */
static int compare(const struct version *one, const struct version *other, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (one->parts[i] != other->parts[i])
            return one->parts[i] < other->parts[i] ? -1 : 1;
    return 0;
}

static bool holds(const struct version *version, const char *operator, size_t length, const struct version *bound)
{
    int order = compare(version, bound, PARTS_MAX);
    bool prefix = compare(version, bound, bound->count) == 0;
    if (length == 1)
        return *operator== '<' ? order < 0 : order> 0;
    switch (*operator) {
    case '<':
        return order <= 0;
    case '>':
        return order >= 0;
    case '!':
        return bound->wildcard ? !prefix : order != 0;
    case '~':
        return order >= 0 && compare(version, bound, bound->count - 1) == 0;
    default:
        return bound->wildcard ? prefix : order == 0;
    }
}

static bool is_operator(const char *operator, size_t length, const struct version *bound)
{
    if (length == 1)
        return (*operator== '<' || * operator== '>') && !bound->wildcard;
    if (length == 3)
        return strncmp(operator, "===", 3) == 0 && !bound->wildcard;
    if (length != 2 || operator[1] != '=' || !strchr("<>!~=", *operator))
        return false;
    if (*operator== '~')
        return bound->count > 1 && !bound->wildcard;
    return *operator== '!' || * operator== '=' || !bound->wildcard;
}

bool env_python_satisfies(const char *version, const char *requires, bool *ret_valid)
{
    struct version own;
    bool satisfied = read_version(&version, &own);
    *ret_valid = true;
    for (const char *at = requires + strspn(requires, " \t"); *at;) {
        struct version bound;
        const char *operator= at;
        size_t length = strspn(at, "<>=!~");
        at += length;
        at += strspn(at, " \t");
        if (!read_version(&at, &bound) || !is_operator(operator, length, &bound)) {
            *ret_valid = false;
            return false;
        }
        satisfied &= holds(&own, operator, length, &bound);
        at += *at == ',';
        at += strspn(at, " \t");
    }
    return satisfied;
}
