/* SPDX-License-Identifier: Apache-2.0 */
/* The input is the lines that an MCP server sends to pyexec, its client: the start, lists of tools, answers to calls. Between the
 * lines scripts call its tools; these requests have the ids 3, 4 and so on. At the end no request and no call may be left. */
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "fuzz.h"
#include "mcp_client/client_private.h"

#define CALLS_MAX 6u

static struct px_client_entry entry = {.name = (char *)(uintptr_t) "fuzz"};

static void init_server(struct px_client_server *server, struct px_clients *clients)
{
    *clients = (struct px_clients){.config = {.call_timeout_ms = 60000, .start_timeout_ms = 60000}};
    *server = (struct px_client_server){.clients = clients, .entry = &entry, .wake = -1};
    server->process = (struct px_client_process){0, -1, -1, -1, -1};
    pthread_mutex_init(&clients->lock, NULL);
    pthread_mutex_init(&server->lock, NULL);
    px_cond_init(&server->changed);
    clients->servers = server;
    clients->count = 1;
    px_client_name_modules(server, 1);
    server->up = true;
    px_client_protocol_start(server);
}

/* Writes the stubs of the tools, and sends a call of the first tool. */
static void use_tools(struct px_client_server *server, size_t *calls)
{
    pyexec_error error;
    px_auto_free char *stubs = NULL;
    bool fresh = !server->clients->set;
    struct px_client_tools *tools = px_clients_tools(server->clients);
    require(tools && tools->count <= PX_CLIENT_TOOLS_MAX);
    if (fresh)
        require(pyexec_tools_stubs(tools->tools, 0, 4000, &stubs, &error) == 0 && strlen(stubs) <= 4000);
    if (tools->count && *calls < CALLS_MAX) {
        const struct px_client_set *set = (const struct px_client_set *)tools;
        struct px_client_request *request = calloc(1, sizeof *request);
        require(request);
        *request = (struct px_client_request){
            .kind = PX_CLIENT_CALL, .call = fuzz_call_new(), .tool = strdup(set->items[0].name)};
        require(request->tool);
        px_client_send_call(server, request, json_object());
        ++*calls;
    }
    px_client_tools_drop(tools);
}

/* Requires that each line for the server is a JSON-RPC message. */
static void require_output(struct px_client_server *server)
{
    require(px_buffer_ok(&server->out));
    const char *at = px_buffer_shown(&server->out), *end;
    for (; (end = strchr(at, '\n')); at = end + 1) {
        px_auto_json json_t *message = px_json_loadb(at, (size_t)(end - at), JSON_ALLOW_NUL, NULL);
        require(json_is_object(message) && json_object_get(message, "jsonrpc"));
        require(json_object_get(message, "method") || json_object_get(message, "id"));
    }
    require(!*at);
    px_buffer_done(&server->out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct px_clients clients;
    struct px_client_server server;
    size_t calls = 0;
    init_server(&server, &clients);
    for (size_t at = 0; at < size && server.up;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t length = end ? (size_t)(end - (data + at)) + 1 : size - at;
        px_buffer_add(&server.in, data + at, length);
        px_client_take_lines(&server);
        if (server.relist_at_ns)
            server.relist_at_ns = 1; /* a time in the past, so that the list is due at once */
        if (server.up)
            px_client_protocol_tick(&server);
        if (server.up && server.state == PX_CLIENT_READY)
            use_tools(&server, &calls);
        require_output(&server);
        at += length;
    }
    px_client_go_down(&server, "is ended");
    px_client_set_free(TAKE_PTR(clients.set));
    require(!server.waiting && !server.in.length && fuzz_calls_held() == 0);
    json_decref(server.tools);
    pthread_mutex_destroy(&server.lock);
    pthread_cond_destroy(&server.changed);
    pthread_mutex_destroy(&clients.lock);
    return 0;
}
