/* SPDX-License-Identifier: Apache-2.0 */
/* Functions and types that the files of the MCP server share. */
#ifndef PX_MCP_MCP_PRIVATE_H
#define PX_MCP_MCP_PRIVATE_H

#include "mcp/mcp.h"

struct px_mcp_tool {
    const char *name, *title, *annotations;
    const char *description;    /* NULL: the description is made from the policy */
    const char *input, *output; /* JSON Schemas of arguments and result; `output` NULL: the result object */
    bool slow;
    void (*serve)(struct px_mcp_call *call, json_t *arguments);
    bool forks; /* it clones processes, so it takes a turn */
    bool (*offered)(
        const struct px_policy *policy); /* whether it is listed for sessions with this policy; NULL: always */
};

extern const struct px_mcp_tool px_mcp_tools[]; /* mcp_call.c */
extern const size_t px_mcp_tool_count;

const struct px_mcp_tool *px_mcp_tool_find(const char *name);

/* Makes the members of a tools/list result. NULL: there is no memory (mcp_tools.c). */
json_t *px_mcp_tool_list(const struct px_mcp_call *call);
extern const char px_mcp_instructions[];

/* Checks arguments against a tool's schema: no unknown ones, all required ones, each of the right type. */
int px_mcp_check_arguments(const struct px_mcp_tool *tool, json_t *arguments, pyexec_error *error);

/* Returns PREFIX and the argument session_id; the caller frees it. NULL when no id is given, or when there is no memory. */
char *px_mcp_session_key(const struct px_mcp_call *call, json_t *arguments);

/* Makes content for people and models from a result: a new array (mcp_content.c). */
json_t *px_mcp_content(const pyexec_result *result);
/* The first makes content from a text, without its middle if it is long; the second from an image. NULL when there
 * is no memory. */
json_t *px_mcp_text(const char *text, size_t length);
json_t *px_mcp_image(const char *mime_type, const char *base64);

/* Returns a new array with the text of an error for a model. */
json_t *px_mcp_error_content(const pyexec_error *error);

/* Set the answer. They take ownership of `result`; NULL: there is no memory. The second adds members that are JSON text
 * already, such as `"a":1,"b":2`; NULL: none. */
void px_mcp_answer(struct px_mcp_call *call, json_t *result);
void px_mcp_answer_with(struct px_mcp_call *call, json_t *result, const char *members);
/* Refuses a request whose client must have this extension of the protocol. */
void px_mcp_refuse_without(struct px_mcp_call *call, const char *extension);
/* The answer of a tool. Takes ownership of `content`; `structured` is JSON, or NULL for none. */
void px_mcp_answer_tool(struct px_mcp_call *call, json_t *content, const char *structured, bool failed);
/* The answer of a tool that did its work: a text for the model and the same as JSON. NULL for either: there was no memory. */
void px_mcp_answer_note(struct px_mcp_call *call, const char *structured, const char *note);
/* The same with an object, of which it takes ownership. */
void px_mcp_answer_object(struct px_mcp_call *call, json_t *structured, const char *note);

/* Progress of `call` is sent between these two functions. After the second one the client can't cancel `call` any more. */
void px_mcp_begin(struct px_mcp_call *call);
void px_mcp_end(struct px_mcp_call *call);

/* Runs that continue after their answer (mcp_executions.c). */
bool px_mcp_has_legacy_tasks(const struct px_mcp_call *call);
bool px_mcp_asks_for_task(const struct px_mcp_call *call);
void px_mcp_detach(struct px_mcp_call *call, const char *key);
void px_mcp_get_execution(struct px_mcp_call *call, json_t *arguments);
void px_mcp_cancel_execution(struct px_mcp_call *call, json_t *arguments);
void px_mcp_get_task(struct px_mcp_call *call);
void px_mcp_get_task_result(struct px_mcp_call *call);
void px_mcp_update_task(struct px_mcp_call *call);
void px_mcp_cancel_task(struct px_mcp_call *call);

/* Tools for sessions that can be forked (mcp_fork.c). */
void px_mcp_fork_session(struct px_mcp_call *call, json_t *arguments);
bool px_mcp_offers_fork(const struct px_policy *policy);
void px_mcp_undo(struct px_mcp_call *call, json_t *arguments);
bool px_mcp_offers_undo(const struct px_policy *policy);
#define PX_MCP_CHECKPOINT "checkpoint" /* an argument of run_python, listed where undo is */

/* Environments (mcp_environments.c). */
#define PX_MCP_NO_RESOURCE (-32002)
void px_mcp_describe_environments(struct px_buffer *out, const struct px_mcp_call *call);
bool px_mcp_offers_environments(const struct px_mcp_call *call);
/* Moves the argument `environment` of run_python into the policy of the run, or of the session that it makes. */
int px_mcp_take_environment(json_t *arguments, bool session, pyexec_error *error);
void px_mcp_list_resources(struct px_mcp_call *call);
void px_mcp_list_resource_templates(struct px_mcp_call *call);
void px_mcp_read_resource(struct px_mcp_call *call);
/* As px_mcp_answer(); a modern client is told how long the answer stays true. */
void px_mcp_answer_fresh(struct px_mcp_call *call, json_t *result);

pyexec_executor *px_mcp_executor(const struct px_mcp_call *call);

#endif
