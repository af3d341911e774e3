/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a fleet a message of the Model Context Protocol belongs: to the node of a session, to that of an execution, or to any. The message
 * is not parsed (json_find.h); the node's HTTP server, which parses it, checks the session again. */
#ifndef PX_NATS_LINK_MCP_ROUTE_H
#define PX_NATS_LINK_MCP_ROUTE_H

#include <stdbool.h>

#include "base/json_find.h"

#define PX_MCP_ROUTE_PATH "/mcp"
#define PX_MCP_ROUTE_STRING 1024u /* bytes of a member that says where a message belongs */

struct px_mcp_route {
    struct px_json_span id; /* of a request; NULL: a notification */
    char *method;
    char *tool;        /* that tools/call names */
    char *session;     /* its argument session_id */
    char *execution;   /* execution_id, or taskId */
    char *environment; /* its argument environment */
    bool modern;       /* of the revision without sessions */
    bool task;         /* the client expects a task, not a tool's answer */
};

/* What is not there, or not a string, is NULL. */
void px_mcp_route_read(struct px_mcp_route *ret, const char *bytes, size_t length);
void px_mcp_route_done(struct px_mcp_route *route);
/* True if the route's tool is one of these words. */
bool px_mcp_route_calls(const struct px_mcp_route *route, const char *tools);

#endif
