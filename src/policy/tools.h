/* SPDX-License-Identifier: Apache-2.0 */
/* The tools that a caller offers to a script: names, definitions, callbacks. */
#ifndef PX_POLICY_TOOLS_H
#define PX_POLICY_TOOLS_H

#include <pthread.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/json.h"
#include "base/thread.h"
#include "protocol/wire.h"
#include "pyexec.h"

/* The tool that answers the script's input() and getpass.getpass(). */
#define PX_TOOL_INPUT "input"

struct px_tools;

struct px_tool {
    char *name;       /* for a function of a module "MODULE.NAME" */
    char *definition; /* {"name", "module", "description", "parameters", "returns"} as JSON text */
    size_t length;
    bool approval; /* its calls are held for the approver of the request */
    pyexec_tool_fn callback;
    void *userdata;
    struct px_tools *owner;
};

/* The tools of one owner, who may not free them while one of their callbacks runs. */
struct px_tools {
    struct px_tool **items;
    size_t count, most;
    pthread_mutex_t lock;
    pthread_cond_t quiet;
    bool shared;             /* several requests use the tools; each has its own approver, or none */
    pyexec_tool_fn approver; /* the approver of the request that owns the tools; NULL: none */
    void *approver_data;
    size_t threads; /* threads that call one of the tools, or that wait for a call and last called one of these tools */
    struct px_ended_threads ended;
};

/* Returns NULL when there is no memory. */
struct px_tools *px_tools_new(void);

/* Waits for the callbacks that still run and joins their threads, then frees the tools. No execution may offer them now.
 * `tools` may be NULL. */
void px_tools_free(struct px_tools *tools);

/* A copy for another owner, with the same callbacks; NULL with an error when there is no memory. */
struct px_tools *px_tools_copy(const struct px_tools *tools, pyexec_error *error);

static inline void px_drop_tools(struct px_tools **tools)
{
    px_tools_free(*tools);
    *tools = NULL;
}

/* Adds a tool, or replaces the one of the same name. `module` is NULL for a global function. `schema_json` is
 * {"description", "parameters", "returns", "approval"}; all of these may be left out. Returns 0, or -1 with invalid_request. */
int px_tools_add(struct px_tools *tools, const char *module, const char *name, const char *schema_json,
                 pyexec_tool_fn callback, void *userdata, pyexec_error *error);

/* The same for each definition of a list. The definitions contain their names. */
int px_tools_add_list(struct px_tools *tools, const json_t *list, pyexec_tool_fn callback, void *userdata,
                      pyexec_error *error);

/* Reads such a list from text. */
int px_tools_read_list(const char *tools_json, json_t **ret, pyexec_error *error);

/* A thread that calls callbacks is always counted by one owner of tools, and this owner waits for the thread. The thread
 * enters before it calls the owner's callback, and leaves after it has entered another owner. */
void px_tools_enter(struct px_tools *tools);
void px_tools_leave(struct px_tools *tools);
/* Leaves at the end of the thread. The thread does nothing after this. */
void px_tools_end_thread(struct px_tools *tools);

/* The tools of one execution: those of the call, and those of the session whose names the call does not use. */
struct px_tool_list {
    const struct px_tool *items[PX_TOOLS_MAX];
    size_t count;
    struct px_tools *approver; /* has the approver; NULL: nobody approves calls */
};

/* The request's own tools hide those of the same name that it shares with other requests, and both hide those of its
 * session. Returns 0, or -1 with invalid_request when there are too many or they are too large together. */
int px_tool_list_fill(struct px_tool_list *list, const pyexec_request *request, pyexec_error *error);
const struct px_tool *px_tool_list_find(const struct px_tool_list *list, const char *name);

/* Copies the session's tools, which may be NULL, into the request. A tool without a callback gets the request's. The
 * request has the copies until it is freed, or executed again. Returns 0, or -1 with invalid_request when the request
 * has no callback either. */
int px_tools_inherit(pyexec_request *request, const struct px_tools *session_tools, pyexec_error *error);

/* Writes the definitions as a JSON array. */
void px_tools_write(const struct px_tools *tools, struct px_buffer *out);
void px_tool_list_write(const struct px_tool_list *list, struct px_buffer *out);

#endif
