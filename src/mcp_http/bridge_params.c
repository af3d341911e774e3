/* SPDX-License-Identifier: Apache-2.0 */
/* In revision 2026-07-28 a tool can require an argument as a header too: the schema of the parameter has the mark
 * "x-mcp-header". The protocol says that a tool with a mark in any other place must not be offered. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "mcp_http/bridge.h"

#define MARK "x-mcp-header"
#define MARKS_DEPTH_MAX 40
#define HEADERS_OF_TOOL_MAX 64u
#define SAFE_INTEGER INT64_C(9007199254740991)

/* Counts the marks in this value, in any place. A parameter that is named x-mcp-header is not a mark. */
static size_t count_marks(const json_t *value, int depth)
{
    const char *key;
    json_t *member;
    size_t i, count = 0;
    if (depth == MARKS_DEPTH_MAX)
        return 0;
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
        count += (strcmp(key, MARK) == 0 && !json_is_object(member)) + count_marks(member, depth + 1);
    json_array_foreach(value, i, member)
        count += count_marks(member, depth + 1);
    return count;
}

static bool is_token(const json_t *value)
{
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    return text && length && length <= 100 && strspn(text, allowed) == length;
}

static bool is_listed(const json_t *list, const char *header)
{
    size_t i;
    json_t *row;
    json_array_foreach(list, i, row)
        if (strcasecmp(json_string_value(json_array_get(row, 0)), header) == 0)
            return true;
    return false;
}

/* Adds [HEADER, STEP, ...] to the list for each valid mark. Returns how many it added. */
static size_t collect(const json_t *schema, const json_t *path, json_t *list, int depth)
{
    const char *name;
    json_t *property;
    size_t taken = 0;
    if (depth == MARKS_DEPTH_MAX)
        return 0;
    json_object_foreach(json_object_get(schema, "properties"), name, property) {
        const json_t *mark = json_object_get(property, MARK);
        const char *type = json_string_value(json_object_get(property, "type"));
        px_auto_json json_t *here = px_json_copy(path);
        px_json_append(here, json_string(name));
        if (is_token(mark) && type && !is_listed(list, json_string_value(mark)) &&
            json_array_size(list) < HEADERS_OF_TOOL_MAX &&
            (strcmp(type, "string") == 0 || strcmp(type, "integer") == 0 || strcmp(type, "boolean") == 0)) {
            json_t *row = px_json_deep_copy(here);
            if (row && json_array_insert_new(row, 0, json_string(json_string_value(mark))) == 0) {
                px_json_append(list, row);
                taken++;
            } else {
                json_decref(row);
            }
        }
        taken += collect(property, here, list, depth + 1);
    }
    return taken;
}

bool px_bridge_params_learn(struct px_bridge *bridge, json_t *result)
{
    json_t *tools = json_object_get(result, "tools");
    bool dropped = false;
    for (size_t i = 0; i < json_array_size(tools);) {
        const json_t *tool = json_array_get(tools, i), *schema = json_object_get(tool, "inputSchema");
        const char *name = json_string_value(json_object_get(tool, "name"));
        size_t marks = count_marks(schema, 0);
        px_auto_json json_t *list = json_array(), *path = json_array();
        if (name)
            json_object_del(bridge->params, name);
        if (marks && collect(schema, path, list, 0) != marks) {
            json_array_remove(tools, i);
            dropped = true;
            continue;
        }
        if (marks && name)
            px_json_set(bridge->params, name, json_incref(list));
        i++;
    }
    return dropped;
}

void px_bridge_params_add(struct px_bridge_exchange *exchange, const json_t *params)
{
    const json_t *list = json_object_get(exchange->bridge->params, json_string_value(json_object_get(params, "name")));
    size_t i, at;
    json_t *row, *step;
    json_array_foreach(list, i, row) {
        const json_t *value = json_object_get(params, "arguments");
        char name[128], number[32];
        json_array_foreach(row, at, step)
            if (at)
                value = json_object_get(value, json_string_value(step));
        snprintf(name, sizeof name, "Mcp-Param-%s", json_string_value(json_array_get(row, 0)));
        json_int_t integer = json_integer_value(value);
        if (json_is_string(value)) {
            px_bridge_exchange_header(exchange, name, json_string_value(value), json_string_length(value));
        } else if (json_is_boolean(value)) {
            const char *word = json_is_true(value) ? "true" : "false";
            px_bridge_exchange_header(exchange, name, word, strlen(word));
        } else if (json_is_integer(value) && integer <= SAFE_INTEGER && integer >= -SAFE_INTEGER) {
            snprintf(number, sizeof number, "%lld", (long long)integer);
            px_bridge_exchange_header(exchange, name, number, strlen(number));
        }
    }
}
