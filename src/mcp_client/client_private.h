/* SPDX-License-Identifier: Apache-2.0 */
/* Types and functions that the files of the MCP client share. */
#ifndef PX_MCP_CLIENT_CLIENT_PRIVATE_H
#define PX_MCP_CLIENT_CLIENT_PRIVATE_H

#include <pthread.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "mcp_client/mcp_client.h"

#define PX_CLIENT_SERVERS_MAX 32
#define PX_CLIENT_TOOLS_MAX 1000         /* tools of all servers together */
#define PX_CLIENT_TOOLS_BYTES (3u << 20) /* bytes of the definitions of these tools */
#define PX_CLIENT_LINE_MAX (16u << 20)
#define PX_CLIENT_PAGES_MAX 50
#define PX_CLIENT_ERRORS_BYTES 2000 /* how many of the last bytes of standard error are kept */

/* ---- The file of servers (client_config.c) ---- */

struct px_client_entry {
    char *name;
    char **arguments;   /* the command first; NULL-terminated */
    char **environment; /* NAME=VALUE; NULL-terminated */
    char *folder;       /* where the server runs; "": in the current folder of pyexec */
    char *greeting;     /* for a server over HTTP: the first line for pyexec-mcp-http, which has secrets; else NULL */
    json_t *approval;   /* the tools whose calls need approval: true for all, a list of names, or NULL for none */
};

struct px_client_entries {
    struct px_client_entry *items;
    size_t count;
};

struct px_clients_file {
    struct px_client_entries entries;
};

/* Sets the error invalid_request for a server's entry. Returns -1. */
int px_client_entry_refuse(const char *name, const char *what, pyexec_error *error);
/* Replaces ${NAME} and ${NAME:-DEFAULT} by the values of pyexec's environment, as other clients do. Adds the values that may be
 * secrets to `values`, and the first name that is not set and has no default to `missing`. Both may be NULL. The caller frees
 * the text. */
char *px_client_entry_expand(const char *text, json_t *values, struct px_buffer *missing);
/* Returns true if the value is a string without NUL. */
bool px_client_entry_is_text(const json_t *value);
/* Sets NAME=VALUE in the entry's environment, which must have room. *count is the number of variables that it has. */
int px_client_entry_put(struct px_client_entry *entry, size_t *count, const char *name, const char *value,
                        pyexec_error *error);

/* Read an entry with a `url` (client_http.c): its command and greeting, and its environment. */
int px_client_http_read(struct px_client_entry *entry, const json_t *object, pyexec_error *error);
int px_client_http_environment(struct px_client_entry *entry, size_t *count, pyexec_error *error);
#define PX_CLIENT_HTTP_VARIABLES 12

/* ---- A server's process (client_process.c) ---- */

struct px_client_process {
    pid_t keeper;              /* 0: no process */
    int input, output, errors; /* pipes to and from the server; -1: closed */
    int life;                  /* the keeper ends the server when this is closed */
};

int px_client_process_start(struct px_client_process *process, const struct px_client_entry *entry,
                            pyexec_error *error);
/* Ends the server and every process that it has started, and waits until they have ended. Returns the wait status of the
 * keeper, or -1. */
int px_client_process_end(struct px_client_process *process);

/* ---- One server (client_server.c) ---- */

enum px_client_state { PX_CLIENT_STARTING, PX_CLIENT_READY, PX_CLIENT_DOWN };

/* A request that waits for its response. */
struct px_client_request {
    struct px_client_request *next;
    int64_t id, deadline_ns;
    enum px_client_request_kind { PX_CLIENT_INITIALIZE, PX_CLIENT_DISCOVER, PX_CLIENT_LIST, PX_CLIENT_CALL } kind;
    pyexec_tool_call *call; /* the script's call, if the kind is PX_CLIENT_CALL */
    char *tool;             /* the name of the tool, as the server has it */
};

struct px_client_server {
    struct px_clients *clients;
    const struct px_client_entry *entry;
    char module[64]; /* the name of its module in scripts */
    pthread_t thread;
    int wake; /* eventfd */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* `lock` protects these members. */
    enum px_client_state state;
    int64_t started_ns;
    bool ending;
    bool retry,
        retried;   /* retry: start it again, although no call came; retried: px_clients_wait() no longer waits for it */
    json_t *tools; /* the list of the server; NULL: it has sent none yet */
    bool cut;      /* the list is not complete */
    char problem[600];
    struct px_client_request *queue; /* calls that are not sent yet, the newest first */
    /* Only the server's thread uses these members. */
    struct px_client_process process;
    struct px_buffer in, out, errors;
    struct px_client_request *waiting;
    int64_t last_id, tried_ns;
    bool up; /* a process runs; a fuzz target sets it without one */
    bool modern, listing;
    int64_t probe_at_ns, relist_at_ns, listed_ns; /* 0: nothing is due */
    json_t *told;                                 /* the tools of the pages received so far, while a list is read */
    size_t told_bytes, pages, unasked_bytes;
};

int px_client_server_start(struct px_client_server *server, pyexec_error *error);
void px_client_server_stop(struct px_client_server *server);

/* Call it on the server's thread. */
void px_client_set_state(struct px_client_server *server, enum px_client_state state, const char *problem);
/* Ends the process, and fails all calls that wait, with this reason. */
void px_client_go_down(struct px_client_server *server, const char *why);

/* Takes ownership of the call. May be called on any thread. */
void px_client_server_call(struct px_client_server *server, const char *tool, pyexec_tool_call *call);

/* ---- The protocol with a server (client_protocol.c), on the server's thread ---- */

void px_client_protocol_start(struct px_client_server *server);
/* Sends the requests that are due at this time. */
void px_client_protocol_tick(struct px_client_server *server);
/* Handles the complete lines of server->in. */
void px_client_take_lines(struct px_client_server *server);
/* Sends the call; from now on it waits for its response. Takes ownership of `arguments`. */
void px_client_send_call(struct px_client_server *server, struct px_client_request *request, json_t *arguments);
void px_client_request_free(struct px_client_request *request);
void px_client_request_fail(struct px_client_request *request, const char *text);
void px_client_fail_all(struct px_client_request *list, const char *text);

/* ---- Messages (client_messages.c) ---- */

/* Appends a request as a line. Takes ownership of `params`. */
void px_client_message_request(struct px_buffer *out, bool modern, int64_t id, const char *method, json_t *params);
void px_client_message_notify(struct px_buffer *out, const char *method, json_t *params);
/* Appends the answer to a request of the server. */
void px_client_message_answer(struct px_buffer *out, const json_t *message);

/* Answers the script's call from a tools/call result. */
void px_client_message_result(pyexec_tool_call *call, const json_t *result);
/* Answers the script's call from a JSON-RPC error. */
void px_client_message_error(pyexec_tool_call *call, const char *server, const json_t *error);

/* ---- Tools as modules (client_tools.c) ---- */

/* Chooses the names of the modules. */
void px_client_name_modules(struct px_client_server *servers, size_t count);

/* A tool in a script: its server, and the name that it has there. */
struct px_client_tool {
    struct px_client_server *server;
    char *name;
};

struct px_client_set {
    struct px_client_tools shown; /* must be the first member */
    struct px_client_tool *items;
};

struct px_clients {
    pthread_mutex_t lock; /* protects `set`, and the references of all sets */
    struct px_clients_config config;
    struct px_client_server *servers;
    size_t count;
    struct px_client_set *set; /* NULL: it is made when it is needed */
};

struct px_client_set *px_client_set_new(struct px_clients *clients);
void px_client_set_free(struct px_client_set *set);

/* To be called when the tools of a server have changed. */
void px_clients_changed(struct px_clients *clients);

#endif
