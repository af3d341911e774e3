/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the MCP server among themselves. */
#ifndef PX_MCP_MCP_PRIVATE_H
#define PX_MCP_MCP_PRIVATE_H

#include "mcp/mcp.h"

struct px_mcp_tool {
    const char *name, *title, *annotations;
    const char *description;    /* NULL: made from the policy */
    const char *input, *output; /* JSON Schemas: arguments are checked by the first */
    bool slow;
    void (*serve)(struct px_mcp_call *call, json_t *arguments);
};

extern const struct px_mcp_tool px_mcp_tools[]; /* mcp_call.c */
extern const size_t px_mcp_tool_count;

const struct px_mcp_tool *px_mcp_tool_find(const char *name);

/* The members of a tools/list result, new; NULL: out of memory (mcp_tools.c). */
json_t *px_mcp_tool_list(const struct px_mcp_call *call);
extern const char px_mcp_instructions[];

/* Checks arguments by a tool's schema: known, there where required, of the right type. */
int px_mcp_check_arguments(const struct px_mcp_tool *tool, json_t *arguments, pyexec_error *error);

/* What a result says, as content for people and models: a new array (mcp_content.c). */
json_t *px_mcp_content(const json_t *result);
/* A text as content, its middle left out when it is long; and an image. New; NULL: out of memory. */
json_t *px_mcp_text(const char *text, size_t length);
json_t *px_mcp_image(const char *mime_type, const char *base64);

/* Answers. `result` is taken; NULL: out of memory. */
void px_mcp_answer(struct px_mcp_call *call, json_t *result);
/* A tool's. `content` is taken; `structured` is JSON, or NULL: none. */
void px_mcp_answer_tool(struct px_mcp_call *call, json_t *content, const char *structured, bool failed);

/* Between them its progress is told; after the end it can't be withdrawn. */
void px_mcp_begin(struct px_mcp_call *call);
void px_mcp_end(struct px_mcp_call *call);

pyexec_executor *px_mcp_executor(const struct px_mcp_call *call);

#endif
