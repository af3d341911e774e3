/* SPDX-License-Identifier: Apache-2.0 */
#include "nats_link/mcp_route.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/spelling.h"

/* Returns a value that is a string of at most PX_MCP_ROUTE_STRING bytes, for free(); else NULL. */
static char *find_string(struct px_json_span text, const char *name)
{
    struct px_json_span found = px_json_find(text, name);
    if (!found.length || *found.at != '"' || found.length > PX_MCP_ROUTE_STRING)
        return NULL;
    px_auto_json json_t *value = px_json_loadb(found.at, found.length, JSON_DECODE_ANY, NULL);
    return json_is_string(value) ? strdup(json_string_value(value)) : NULL;
}

void px_mcp_route_read(struct px_mcp_route *ret, const char *bytes, size_t length)
{
    struct px_json_span whole = {bytes, length}, params = px_json_find(whole, "params");
    *ret = (struct px_mcp_route){.id = px_json_find(whole, "id"), .method = find_string(whole, "method")};
    ret->modern = px_json_find(px_json_find(params, "_meta"), "io.modelcontextprotocol/protocolVersion").at;
    if (!ret->method)
        return;
    if (strncmp(ret->method, "tasks/", strlen("tasks/")) == 0)
        ret->execution = find_string(params, "taskId");
    if (strcmp(ret->method, "tools/call") != 0)
        return;
    struct px_json_span arguments = px_json_find(params, "arguments");
    ret->task = px_json_find(params, "task").at;
    ret->tool = find_string(params, "name");
    ret->session = find_string(arguments, "session_id");
    ret->environment = find_string(arguments, "environment");
    if (px_mcp_route_calls(ret, "get_execution cancel_execution"))
        ret->execution = find_string(arguments, "execution_id");
}

void px_mcp_route_done(struct px_mcp_route *route)
{
    free(route->method);
    free(route->tool);
    free(route->session);
    free(route->execution);
    free(route->environment);
}

bool px_mcp_route_calls(const struct px_mcp_route *route, const char *tools)
{
    return route->tool && px_word_is_listed(tools, route->tool);
}
