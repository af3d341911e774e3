/* SPDX-License-Identifier: Apache-2.0 */
/* POST /mcp: Model Context Protocol over Streamable HTTP, in both eras, without state of its own. */
#ifndef PX_SERVE_MCP_HTTP_H
#define PX_SERVE_MCP_HTTP_H

struct px_http_request;
struct px_mcp_request;

void px_mcp_http_answer(struct px_http_request *request);

/* What a request keeps of it; NULL is nothing. */
void px_mcp_http_free(struct px_mcp_request *mcp);

#endif
