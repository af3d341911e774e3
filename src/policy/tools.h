/* SPDX-License-Identifier: Apache-2.0 */
/* The tools that a caller offers to a script: names, definitions, callbacks. */
#ifndef PX_POLICY_TOOLS_H
#define PX_POLICY_TOOLS_H

#include <pthread.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/json.h"
#include "protocol/wire.h"
#include "pyexec.h"

struct px_tools;

struct px_tool {
    char *name;
    char *definition; /* {"name", "description", "parameters", "returns"} as JSON text */
    size_t length;
    pyexec_tool_fn callback;
    void *userdata;
    struct px_tools *owner;
};

/* Those of one owner, which may not free them while one of their callbacks runs. */
struct px_tools {
    struct px_tool **items;
    size_t count, bytes;
    pthread_mutex_t lock;
    pthread_cond_t quiet;
    size_t running; /* callbacks, on threads of their own */
};

/* NULL: out of memory. */
struct px_tools *px_tools_new(void);

/* Waits for the callbacks that still run. NULL is none. */
void px_tools_free(struct px_tools *tools);

/* Replaces one of the same name. `schema_json` is {"description", "parameters", "returns", "approval"}; all of them
 * may be left out. 0, or -1 with invalid_request. */
int px_tools_add(struct px_tools *tools, const char *name, const char *schema_json, pyexec_tool_fn callback,
                 void *userdata, pyexec_error *error);

/* The same for each of a list of definitions, which have their names in them. */
int px_tools_add_list(struct px_tools *tools, const json_t *list, pyexec_tool_fn callback, void *userdata,
                      pyexec_error *error);

/* Around each callback. */
void px_tools_enter(struct px_tools *tools);
void px_tools_leave(struct px_tools *tools);

/* What one execution offers: a call's own tools, and the session's whose names the call does not use. */
struct px_tool_list {
    const struct px_tool *items[PX_TOOLS_MAX];
    size_t count;
};

/* `first` wins; both may be NULL. 0, or -1 with invalid_request: too many, or too large together. */
int px_tool_list_fill(struct px_tool_list *list, const struct px_tools *first, const struct px_tools *second,
                      pyexec_error *error);
const struct px_tool *px_tool_list_find(const struct px_tool_list *list, const char *name);

/* The definitions as a JSON array. */
void px_tool_list_write(const struct px_tool_list *list, struct px_buffer *out);

#endif
