/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the MCP client use of each other. */
#ifndef PX_MCP_CLIENT_CLIENT_PRIVATE_H
#define PX_MCP_CLIENT_CLIENT_PRIVATE_H

#include <pthread.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "mcp_client/mcp_client.h"

#define PX_CLIENT_SERVERS_MAX 32
#define PX_CLIENT_TOOLS_MAX 1000         /* of all servers */
#define PX_CLIENT_TOOLS_BYTES (3u << 20) /* of their definitions */
#define PX_CLIENT_LINE_MAX (16u << 20)
#define PX_CLIENT_PAGES_MAX 50
#define PX_CLIENT_ERRORS_BYTES 2000 /* of standard error that are kept, the last ones */

/* ---- The file of servers (client_config.c) ---- */

struct px_client_entry {
    char *name;
    char **arguments;   /* the command first; NULL-terminated */
    char **environment; /* NAME=VALUE; NULL-terminated */
    char *folder;       /* "" for that of pyexec */
    char *greeting;     /* over HTTP: the first line for pyexec-mcp-http, with secrets; else NULL */
    json_t *approval;   /* the tools whose calls need approval: true for all, a list of names, or NULL for none */
};

struct px_client_entries {
    struct px_client_entry *items;
    size_t count;
};

struct px_clients_file {
    struct px_client_entries entries;
};

/* invalid_request: something is wrong with a server's entry. */
int px_client_entry_refuse(const char *name, const char *what, pyexec_error *error);
/* ${NAME} and ${NAME:-DEFAULT} become values of pyexec's environment, as other clients do it. `values` gets those values that
 * may be secrets, `missing` the name of a variable that is not there and has no default; each may be NULL. For free(). */
char *px_client_entry_expand(const char *text, json_t *values, struct px_buffer *missing);
/* True if it is a string without NUL. */
bool px_client_entry_is_text(const json_t *value);
/* Sets NAME=VALUE in its environment, which has room; `count` variables are there. */
int px_client_entry_put(struct px_client_entry *entry, size_t *count, const char *name, const char *value,
                        pyexec_error *error);

/* An entry with a url (client_http.c): its command and greeting. */
int px_client_http_read(struct px_client_entry *entry, const json_t *object, pyexec_error *error);
int px_client_http_environment(struct px_client_entry *entry, size_t *count, pyexec_error *error);
#define PX_CLIENT_HTTP_VARIABLES 12

/* ---- A server's process (client_process.c) ---- */

struct px_client_process {
    pid_t keeper;              /* 0: none */
    int input, output, errors; /* of the server; -1: closed */
    int life;                  /* the keeper ends the server when this is closed */
};

int px_client_process_start(struct px_client_process *process, const struct px_client_entry *entry,
                            pyexec_error *error);
/* Ends it and every process that it has started; waits for that. Returns its wait status, or -1. */
int px_client_process_end(struct px_client_process *process);

/* ---- One server (client_server.c) ---- */

enum px_client_state { PX_CLIENT_STARTING, PX_CLIENT_READY, PX_CLIENT_DOWN };

/* A request that waits for its response. */
struct px_client_request {
    struct px_client_request *next;
    int64_t id, deadline_ns;
    enum px_client_request_kind { PX_CLIENT_INITIALIZE, PX_CLIENT_DISCOVER, PX_CLIENT_LIST, PX_CLIENT_CALL } kind;
    pyexec_tool_call *call; /* PX_CLIENT_CALL */
    char *tool;             /* its original name */
};

struct px_client_server {
    struct px_clients *clients;
    const struct px_client_entry *entry;
    char module[64]; /* the name of its module in scripts */
    pthread_t thread;
    int wake; /* eventfd */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock. */
    enum px_client_state state;
    int64_t started_ns;
    bool ending;
    bool retry, retried; /* it is to be started again although no call came; it was, so that nobody waits for it */
    json_t *tools;       /* as the server told them; NULL: none yet */
    bool cut;            /* it told more */
    char problem[600];
    struct px_client_request *queue; /* calls that are not sent yet, the last one first */
    /* The thread's own. */
    struct px_client_process process;
    struct px_buffer in, out, errors;
    struct px_client_request *waiting;
    int64_t last_id, tried_ns;
    bool up; /* there is a process, or what stands for one */
    bool modern, listing;
    int64_t probe_at_ns, relist_at_ns, listed_ns; /* 0: not */
    json_t *told;                                 /* of a list that is not complete */
    size_t told_bytes, pages, unasked_bytes;
};

int px_client_server_start(struct px_client_server *server, pyexec_error *error);
void px_client_server_stop(struct px_client_server *server);

/* On its thread. */
void px_client_set_state(struct px_client_server *server, enum px_client_state state, const char *problem);
/* Ends the process, and tells all who wait why. */
void px_client_go_down(struct px_client_server *server, const char *why);

/* From any thread. Takes the call. */
void px_client_server_call(struct px_client_server *server, const char *tool, pyexec_tool_call *call);

/* ---- The protocol with it (client_protocol.c), on its thread ---- */

void px_client_protocol_start(struct px_client_server *server);
/* What is due without a message of the server. */
void px_client_protocol_tick(struct px_client_server *server);
/* Takes the lines of server->in that are complete. */
void px_client_take_lines(struct px_client_server *server);
/* It waits for its response from now on. Takes `arguments`. */
void px_client_send_call(struct px_client_server *server, struct px_client_request *request, json_t *arguments);
void px_client_request_free(struct px_client_request *request);
void px_client_request_fail(struct px_client_request *request, const char *text);
void px_client_fail_all(struct px_client_request *list, const char *text);

/* ---- Messages (client_messages.c) ---- */

/* Appends a request as a line; takes `params`. */
void px_client_message_request(struct px_buffer *out, bool modern, int64_t id, const char *method, json_t *params);
void px_client_message_notify(struct px_buffer *out, const char *method, json_t *params);
/* The line that answers a request of the server's. */
void px_client_message_answer(struct px_buffer *out, const json_t *message);

/* Answers the script's call from a tools/call result. */
void px_client_message_result(pyexec_tool_call *call, const json_t *result);
/* From an error of JSON-RPC. */
void px_client_message_error(pyexec_tool_call *call, const char *server, const json_t *error);

/* ---- Tools as modules (client_tools.c) ---- */

/* Chooses the names of the modules. */
void px_client_name_modules(struct px_client_server *servers, size_t count);

/* A tool in a script: its server, and its original name. */
struct px_client_tool {
    struct px_client_server *server;
    char *name;
};

struct px_client_set {
    struct px_client_tools shown; /* first */
    struct px_client_tool *items;
};

struct px_clients {
    pthread_mutex_t lock; /* the set's references, and `set` */
    struct px_clients_config config;
    struct px_client_server *servers;
    size_t count;
    struct px_client_set *set; /* NULL: to be made */
};

struct px_client_set *px_client_set_new(struct px_clients *clients);
void px_client_set_free(struct px_client_set *set);

/* The tools of a server have changed. */
void px_clients_changed(struct px_clients *clients);

#endif
