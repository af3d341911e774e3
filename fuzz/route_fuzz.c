/* SPDX-License-Identifier: Apache-2.0 */
/* Finds where a message of the Model Context Protocol belongs, as a gateway and a worker of a fleet do without parsing it. What they find must be
 * what the server of the node finds, which parses it. */
#include "base/cleanup.h"
#include "base/json.h"
#include "fuzz.h"
#include "nats_link/mcp_route.h"

static void require_same(const char *found, const json_t *value)
{
    if (found)
        require(json_is_string(value) && strcmp(json_string_value(value), found) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    px_auto(px_mcp_route_done) struct px_mcp_route route;
    json_error_t problem;
    px_mcp_route_read(&route, (const char *)data, size);
    px_auto_json json_t *message =
        px_json_read((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (!message)
        return 0;
    const json_t *params = json_object_get(message, "params"), *arguments = json_object_get(params, "arguments");
    bool task = route.method && strncmp(route.method, "tasks/", 6) == 0;
    require_same(route.method, json_object_get(message, "method"));
    require_same(route.tool, json_object_get(params, "name"));
    require_same(route.session, json_object_get(arguments, "session_id"));
    require_same(route.environment, json_object_get(arguments, "environment"));
    require_same(route.execution,
                 task ? json_object_get(params, "taskId") : json_object_get(arguments, "execution_id"));
    require(!route.id.at || json_object_get(message, "id"));
    return 0;
}
