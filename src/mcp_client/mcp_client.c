/* SPDX-License-Identifier: Apache-2.0 */
#include "mcp_client/mcp_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fds.h"
#include "mcp_client/client_private.h"

/* Commas separate the names. */
static bool is_named(const char *names, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = names, *end; *at; at = *end ? end + 1 : end) {
        end = strchrnul(at, ',');
        if ((size_t)(end - at) == length && memcmp(at, name, length) == 0)
            return true;
    }
    return false;
}

static int make_servers(struct px_clients *clients, pyexec_error *error)
{
    const struct px_client_entries *entries = &clients->config.file->entries;
    const char *only = clients->config.only;
    clients->servers = calloc(entries->count + 1, sizeof *clients->servers);
    if (!clients->servers)
        return px_error_oom(error);
    for (size_t i = 0; i < entries->count; i++) {
        if (only && !is_named(only, entries->items[i].name))
            continue;
        struct px_client_server *server = &clients->servers[clients->count];
        server->clients = clients;
        server->entry = &entries->items[i];
        server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (server->wake < 0)
            return px_error_exhausted(error, errno, "can't make the descriptor of an MCP server");
        server->process = (struct px_client_process){0, -1, -1, -1, -1};
        pthread_mutex_init(&server->lock, NULL);
        px_cond_init(&server->changed);
        clients->count++;
    }
    px_client_name_modules(clients->servers, clients->count);
    return 0;
}

static void stop_servers(struct px_clients *clients, size_t count)
{
    for (size_t i = 0; i < count; i++)
        px_client_server_stop(&clients->servers[i]);
    for (size_t i = 0; i < count; i++)
        pthread_join(clients->servers[i].thread, NULL);
}

static void free_clients(struct px_clients *clients)
{
    px_client_set_free(clients->set);
    for (size_t i = 0; i < clients->count; i++) {
        struct px_client_server *server = &clients->servers[i];
        px_close_fd(&server->wake);
        json_decref(server->tools);
        json_decref(server->told);
        px_buffer_done(&server->errors);
        pthread_mutex_destroy(&server->lock);
        pthread_cond_destroy(&server->changed);
    }
    free(clients->servers);
    pthread_mutex_destroy(&clients->lock);
    free(clients);
}

int px_clients_open(const struct px_clients_config *config, struct px_clients **ret, pyexec_error *error)
{
    struct px_clients *clients = calloc(1, sizeof *clients);
    if (!clients)
        return px_error_oom(error);
    pthread_mutex_init(&clients->lock, NULL);
    clients->config = *config;
    int status = make_servers(clients, error);
    clients->config.only = NULL; /* the text belongs to the caller, and is not used any more */
    for (size_t i = 0; i < clients->count && status == 0; i++)
        if ((status = px_client_server_start(&clients->servers[i], error)) < 0)
            stop_servers(clients, i);
    if (status < 0)
        free_clients(clients);
    else
        *ret = clients;
    return status;
}

void px_clients_free(struct px_clients *clients)
{
    if (!clients)
        return;
    stop_servers(clients, clients->count);
    free_clients(clients);
}

/* A server that ended is started again by the next call. A server that has sent no list yet can't get calls, so it is started
 * again here, at most once in each start_timeout. The caller holds its lock. */
static void retry(struct px_client_server *server)
{
    int64_t pause_ns = server->clients->config.start_timeout_ms * PX_NS_PER_MS;
    if (server->state != PX_CLIENT_DOWN || server->tools || px_now_ns() - server->started_ns < pause_ns)
        return;
    server->started_ns = px_now_ns();
    server->retry = server->retried = true;
    px_wake(server->wake);
}

void px_clients_wait(struct px_clients *clients, int64_t ms)
{
    for (size_t i = 0; i < clients->count; i++) {
        struct px_client_server *server = &clients->servers[i];
        pthread_mutex_lock(&server->lock);
        /* There is no need to wait for a server that has sent its list before: its tools are known, and its calls wait for it. */
        retry(server);
        while (server->state == PX_CLIENT_STARTING && !server->tools && !server->retried &&
               px_cond_wait_until(&server->changed, &server->lock, server->started_ns + ms * 1000000) == 0)
            ;
        pthread_mutex_unlock(&server->lock);
    }
}

void px_clients_changed(struct px_clients *clients)
{
    pthread_mutex_lock(&clients->lock);
    struct px_client_set *old = TAKE_PTR(clients->set);
    pthread_mutex_unlock(&clients->lock);
    if (old)
        px_client_tools_drop(&old->shown);
    if (clients->config.changed)
        clients->config.changed(clients->config.closure);
}

struct px_client_tools *px_clients_tools(struct px_clients *clients)
{
    pthread_mutex_lock(&clients->lock);
    if (!clients->set)
        clients->set = px_client_set_new(clients);
    struct px_client_tools *tools = clients->set ? &clients->set->shown : NULL;
    if (tools)
        tools->references++;
    pthread_mutex_unlock(&clients->lock);
    return tools;
}

void px_client_tools_drop(struct px_client_tools *tools)
{
    if (!tools)
        return;
    struct px_clients *clients = tools->clients;
    pthread_mutex_lock(&clients->lock);
    bool last = --tools->references == 0;
    pthread_mutex_unlock(&clients->lock);
    if (last)
        px_client_set_free((struct px_client_set *)tools);
}
