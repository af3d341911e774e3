/* SPDX-License-Identifier: Apache-2.0 */
/* POST /mcp: Model Context Protocol over Streamable HTTP, for modern and legacy clients. It keeps no state of
 * clients between requests. */
#ifndef PX_SERVE_MCP_HTTP_H
#define PX_SERVE_MCP_HTTP_H

struct px_http_request;
struct px_mcp_request;

void px_mcp_http_answer(struct px_http_request *request);

/* Frees what a request has kept for MCP; NULL: nothing. */
void px_mcp_http_free(struct px_mcp_request *mcp);

#endif
