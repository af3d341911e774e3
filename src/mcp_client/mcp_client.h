/* SPDX-License-Identifier: Apache-2.0 */
/* Other MCP servers, whose tools scripts call: "code mode" (docs/mcp.md).
 *
 *     struct px_clients *clients;
 *     px_clients_file_read(path, &file, &error);
 *     px_clients_open(&config, &clients, &error);         // starts the servers, without waiting for them
 *     px_clients_wait(clients, ms);                       // until each has sent its list of tools, or failed
 *     struct px_client_tools *tools = px_clients_tools(clients);
 *     pyexec_request_set_tools(request, tools->tools);    // a script of this request can call them
 *     ...
 *     px_client_tools_drop(tools);                        // after the request was freed
 *     px_clients_free(clients);                           // no process of a server is left
 *
 * Each server is a process. A thread of pyexec owns its pipes. A server may be hostile: the size of lines, lists, schemas and
 * answers is limited, and a server that exceeds a limit is ended. The next call starts a server again that has ended. */
#ifndef PX_MCP_CLIENT_MCP_CLIENT_H
#define PX_MCP_CLIENT_MCP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "pyexec.h"

struct px_clients;

/* The file of servers, read once. It must live longer than the clients that are opened from it. */
struct px_clients_file;

/* Fails with invalid_request when the file can't be read, or is not a valid file of servers. */
int px_clients_file_read(const char *path, struct px_clients_file **ret, pyexec_error *error);
void px_clients_file_free(struct px_clients_file *file);
/* `names` are separated by commas. Returns true if each is the name of a server. Otherwise copies the first unknown name to
 * `missing`, which has `size` bytes. */
bool px_clients_file_has(const struct px_clients_file *file, const char *names, char *missing, size_t size);

struct px_clients_config {
    const struct px_clients_file *file;
    const char *only; /* the names of the servers to start, separated by commas; NULL: all */
    int64_t call_timeout_ms, start_timeout_ms;
    void (*changed)(void *closure); /* called on a thread of a server when the tools have changed; may be NULL */
    void *closure;
};

int px_clients_open(const struct px_clients_config *config, struct px_clients **ret, pyexec_error *error);
/* Ends all processes. First free all requests that have got tools of these clients. */
void px_clients_free(struct px_clients *clients);

/* Waits until no server is starting. Waits for each server at most `ms` after its start. */
void px_clients_wait(struct px_clients *clients, int64_t ms);

/* The tools that all servers had at one moment, as modules. It never changes, so threads can share it. */
struct px_client_tools {
    pyexec_tools *tools;
    size_t count;
    char *problems; /* a line for each server that can't be used or of which tools are missing; "": no problem */
    char *names;    /* a line for each server: its module, and how many tools it has */
    struct px_clients *clients;
    unsigned references;
};

/* Returns NULL when there is no memory. */
struct px_client_tools *px_clients_tools(struct px_clients *clients);
void px_client_tools_drop(struct px_client_tools *tools);

/* The hidden command `mcp-keeper`, which starts a server, and ends it with all processes that it has started. argv has
 * DESCRIPTOR, FOLDER ("": the current one), COMMAND and ARGUMENTS. Returns the exit status. */
int px_client_keeper(int argc, char **argv);

#endif
