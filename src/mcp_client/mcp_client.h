/* SPDX-License-Identifier: Apache-2.0 */
/* Other MCP servers, whose tools scripts call: "code mode" (docs/mcp.md).
 *
 *     struct px_clients *clients;
 *     px_clients_file_read(path, &file, &error);
 *     px_clients_open(&config, &clients, &error);         // starts the servers, without waiting for them
 *     px_clients_wait(clients, ms);                       // until each has told its tools, or failed
 *     struct px_client_tools *tools = px_clients_tools(clients);
 *     pyexec_request_set_tools(request, tools->tools);    // a script of this request can call them
 *     ...
 *     px_client_tools_drop(tools);                        // after the request was freed
 *     px_clients_free(clients);                           // no process of a server is left
 *
 * Each server is a process with a thread here that owns its pipes. What servers send is hostile: lines, lists, schemas and
 * answers are bounded, and one that breaks the bounds is ended. A server that ends is started again at the next call. */
#ifndef PX_MCP_CLIENT_MCP_CLIENT_H
#define PX_MCP_CLIENT_MCP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "pyexec.h"

struct px_clients;

/* The file of servers, read once. It must live longer than the clients that are opened from it. */
struct px_clients_file;

/* invalid_request: the file can't be read, or is not a file of servers. */
int px_clients_file_read(const char *path, struct px_clients_file **ret, pyexec_error *error);
void px_clients_file_free(struct px_clients_file *file);
/* `names` has names with commas between them. True if each is that of a server; else `missing`, of `size` bytes, gets the
 * first that is not. */
bool px_clients_file_has(const struct px_clients_file *file, const char *names, char *missing, size_t size);

struct px_clients_config {
    const struct px_clients_file *file;
    const char *only; /* names of the servers to start, with commas between them; NULL: all */
    int64_t call_timeout_ms, start_timeout_ms;
    void (*changed)(
        void *closure); /* the tools are other ones than before; called on a thread of a server. NULL: nobody */
    void *closure;
};

int px_clients_open(const struct px_clients_config *config, struct px_clients **ret, pyexec_error *error);
/* Ends all processes. No request that was given their tools may be in use. */
void px_clients_free(struct px_clients *clients);

/* Until no server is starting; at most so long, counted from when each was started. */
void px_clients_wait(struct px_clients *clients, int64_t ms);

/* The tools of all servers at one moment, as modules. Shared; never changes. */
struct px_client_tools {
    pyexec_tools *tools;
    size_t count;
    char *problems; /* a line for each server that is not there, or whose tools are not all there; "" */
    char *names;    /* a line for each server: its module, and how many tools it has */
    struct px_clients *clients;
    unsigned references;
};

/* NULL: no memory. */
struct px_client_tools *px_clients_tools(struct px_clients *clients);
void px_client_tools_drop(struct px_client_tools *tools);

/* The hidden command that starts a server and ends it with all processes that it has started: argv is DESCRIPTOR, FOLDER
 * ("" for none), COMMAND, ARGUMENTS. Returns the exit status. */
int px_client_keeper(int argc, char **argv);

#endif
