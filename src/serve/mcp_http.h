/* SPDX-License-Identifier: Apache-2.0 */
/* POST /mcp: Model Context Protocol over Streamable HTTP, for modern and legacy clients. It keeps no state of
 * clients between requests. */
#ifndef PX_SERVE_MCP_HTTP_H
#define PX_SERVE_MCP_HTTP_H

#include "mcp/mcp.h"

struct px_http_request;
struct px_mcp_request;

void px_mcp_http_answer(struct px_http_request *request);

/* Frees what a request has kept for MCP; NULL: nothing. */
void px_mcp_http_free(struct px_mcp_request *mcp);

/* Runs that continue after their answer (mcp_detached.c): the functions of struct px_mcp_executions. */
int px_mcp_http_start(struct px_mcp_call *call, const char *key, char ret_id[PX_MCP_EXECUTION_ID], pyexec_error *error);
bool px_mcp_http_show(struct px_mcp_call *call, const char *id, px_mcp_show_fn *show);
bool px_mcp_http_cancel(struct px_mcp_call *call, const char *id);
/* If the call waits for an execution, calls `answer` when its wait is over, and returns true. */
bool px_mcp_http_await(struct px_http_request *request, const struct px_mcp_call *call,
                       void (*answer)(struct px_http_request *request));

#endif
