/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/mcp_servers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"

/* The servers of a principal, and the number of their users. */
struct px_principal_servers {
    struct px_principal_servers *next;
    char *principal, *names;
    struct px_clients *clients;
    size_t users;
    bool old; /* the principal may use other servers now */
    int64_t used_ns;
};

struct px_mcp_servers {
    struct px_mcp_config config;
    struct px_clients_file *file;
    pthread_t thread;
    pthread_mutex_t lock; /* protects what follows */
    pthread_cond_t changed;
    struct px_principal_servers *list;
    bool ending;
};

static void free_one(struct px_principal_servers *one)
{
    px_clients_free(one->clients);
    free(one->principal);
    free(one->names);
    free(one);
}

/* Takes the servers that nobody needs any more out of the list. Returns when the next one may be idle for too long. */
static int64_t take_idle(struct px_mcp_servers *servers, struct px_principal_servers **ret)
{
    int64_t now = px_now_ns(), idle_ns = servers->config.idle_timeout_ms * PX_NS_PER_MS, next = INT64_MAX;
    struct px_principal_servers **at = &servers->list;
    while (*at) {
        struct px_principal_servers *one = *at;
        if (!one->users && (one->old || now - one->used_ns >= idle_ns)) {
            *at = one->next;
            one->next = *ret;
            *ret = one;
            continue;
        }
        if (!one->users && one->used_ns + idle_ns < next)
            next = one->used_ns + idle_ns;
        at = &one->next;
    }
    return next;
}

/* Ends servers without the lock: their processes may take seconds. */
static void *end_idle(void *argument)
{
    struct px_mcp_servers *servers = argument;
    pthread_mutex_lock(&servers->lock);
    while (!servers->ending) {
        struct px_principal_servers *idle = NULL;
        int64_t next = take_idle(servers, &idle);
        if (idle) {
            pthread_mutex_unlock(&servers->lock);
            while (idle) {
                struct px_principal_servers *one = idle;
                idle = one->next;
                free_one(one);
            }
            pthread_mutex_lock(&servers->lock);
        } else if (next == INT64_MAX) {
            pthread_cond_wait(&servers->changed, &servers->lock);
        } else {
            px_cond_wait_until(&servers->changed, &servers->lock, next);
        }
    }
    pthread_mutex_unlock(&servers->lock);
    return NULL;
}

static void release(struct px_mcp_servers *servers)
{
    px_clients_file_free(servers->file);
    pthread_mutex_destroy(&servers->lock);
    pthread_cond_destroy(&servers->changed);
    free(servers);
}

int px_mcp_servers_new(const struct px_mcp_config *config, struct px_mcp_servers **ret, pyexec_error *error)
{
    *ret = NULL;
    if (!config->servers)
        return 0;
    struct px_mcp_servers *servers = calloc(1, sizeof *servers);
    if (!servers)
        return px_error_oom(error);
    servers->config = *config;
    if (px_clients_file_read(config->servers, &servers->file, error) < 0) {
        free(servers);
        return -1;
    }
    pthread_mutex_init(&servers->lock, NULL);
    px_cond_init(&servers->changed);
    int failed = pthread_create(&servers->thread, NULL, end_idle, servers);
    if (failed) {
        release(servers);
        return px_error_exhausted(error, failed, "can't start a thread for MCP servers");
    }
    *ret = servers;
    return 0;
}

void px_mcp_servers_free(struct px_mcp_servers *servers)
{
    if (!servers)
        return;
    pthread_mutex_lock(&servers->lock);
    servers->ending = true;
    pthread_cond_signal(&servers->changed);
    pthread_mutex_unlock(&servers->lock);
    pthread_join(servers->thread, NULL);
    while (servers->list) {
        struct px_principal_servers *one = servers->list;
        servers->list = one->next;
        free_one(one);
    }
    release(servers);
}

int px_mcp_servers_check(const struct px_mcp_servers *servers, const char *principal, const char *names,
                         pyexec_error *error)
{
    char missing[128] = "";
    if (!names || !*names || (servers && px_clients_file_has(servers->file, names, missing, sizeof missing)))
        return 0;
    if (!servers) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "mcp_servers: '%s' may use '%.100s', but there are no MCP servers",
                     principal, names);
        return px_error_hint(error, "Name their file with --mcp-servers or [mcp] servers.");
    }
    px_error_set(error, PYEXEC_INVALID_POLICY, "mcp_servers: '%s' may use '%s', which is not in %.200s", principal,
                 missing, servers->config.servers);
    return px_error_hint(error, "Give names of mcpServers in that file, separated by commas. A server that is "
                                "disabled there can't be used.");
}

/* Call with the lock held. */
static struct px_principal_servers *find(struct px_mcp_servers *servers, const char *principal, const char *names)
{
    struct px_principal_servers *found = NULL;
    for (struct px_principal_servers *at = servers->list; at; at = at->next) {
        if (at->old || strcmp(at->principal, principal) != 0)
            continue;
        if (strcmp(at->names, names) == 0)
            found = at;
        else
            at->old = true;
    }
    return found;
}

/* Call with the lock held: starting them takes no time. */
static int add(struct px_mcp_servers *servers, const char *principal, const char *names,
               struct px_principal_servers **ret, pyexec_error *error)
{
    struct px_principal_servers *one = calloc(1, sizeof *one);
    if (!one)
        return px_error_oom(error);
    one->principal = strdup(principal);
    one->names = strdup(names);
    const struct px_clients_config config = {.file = servers->file,
                                             .only = one->names,
                                             .call_timeout_ms = servers->config.call_timeout_ms,
                                             .start_timeout_ms = servers->config.start_timeout_ms};
    int status = one->principal && one->names ? px_clients_open(&config, &one->clients, error) : px_error_oom(error);
    if (status < 0) {
        free_one(one);
        return -1;
    }
    one->next = servers->list;
    servers->list = one;
    *ret = one;
    return 0;
}

int px_mcp_servers_take(struct px_mcp_servers *servers, const char *principal, const char *names,
                        struct px_principal_servers **ret, pyexec_error *error)
{
    *ret = NULL;
    if (!servers || !names || !*names)
        return 0;
    pthread_mutex_lock(&servers->lock);
    struct px_principal_servers *one = find(servers, principal, names);
    int status = one ? 0 : add(servers, principal, names, &one, error);
    if (status == 0)
        one->users++;
    pthread_cond_signal(&servers->changed);
    pthread_mutex_unlock(&servers->lock);
    *ret = status == 0 ? one : NULL;
    return status;
}

struct px_clients *px_principal_servers_clients(struct px_principal_servers *held)
{
    return held ? held->clients : NULL;
}

void px_mcp_servers_give(struct px_mcp_servers *servers, struct px_principal_servers *held)
{
    if (!held)
        return;
    pthread_mutex_lock(&servers->lock);
    held->users--;
    held->used_ns = px_now_ns();
    pthread_cond_signal(&servers->changed);
    pthread_mutex_unlock(&servers->lock);
}
