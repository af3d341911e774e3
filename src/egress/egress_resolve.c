/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of names, with c-ares.
 *
 * Each lookup has a channel of its own. So it uses sockets, and so source ports, of its own, which makes forged answers hard to get in
 * (RFC 5452); it reads the resolver's configuration as it is now; and nothing of one run's lookup is left for another one. There is no
 * cache: the machine's resolver has one. */
#include <ares.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "base/cleanup.h"
#include "base/retry.h"
#include "egress/egress_private.h"

#define LOOKUP_SOCKETS_MAX 16
#define LOOKUP_TRY_MS 2000 /* for the first try of a server; c-ares doubles it */
#define LOOKUP_TRIES 3
#define LOOKUP_ADDRESSES_MAX 4096 /* more than 64 KiB of an answer can have */
#define LOOKUP_EDNS_BYTES 1232    /* dnsflagday.net/2020: fits in one packet everywhere */

struct lookup_socket {
    ares_socket_t fd;
    struct event *event;
};

struct egress_lookup {
    struct egress_connection *connection;
    egress_resolved *resolved;
    ares_channel channel;
    struct event *timer;
    struct lookup_socket sockets[LOOKUP_SOCKETS_MAX];
    bool finished;
    int status;
    struct sockaddr_storage *addresses;
    size_t count;
};

static void free_sockets(struct egress_lookup *lookup)
{
    for (size_t i = 0; i < LOOKUP_SOCKETS_MAX; i++) {
        if (lookup->sockets[i].event)
            event_free(lookup->sockets[i].event);
        lookup->sockets[i].event = NULL;
    }
}

void px_egress_lookup_cancel(struct egress_lookup *lookup)
{
    if (!lookup)
        return;
    if (lookup->channel)
        ares_destroy(lookup->channel);
    free_sockets(lookup);
    if (lookup->timer)
        event_free(lookup->timer);
    free(lookup->addresses);
    free(lookup);
}

static const char *problem_text(int status)
{
    switch (status) {
    case ARES_ENOTFOUND:
        return "its name does not exist in the DNS";
    case ARES_ENODATA:
        return "its name has no address in the DNS";
    case ARES_ETIMEOUT:
        return "the DNS did not answer in time";
    case ARES_ECONNREFUSED:
        return "no DNS server can be reached";
    default:
        return ares_strerror(status);
    }
}

/* After each call of c-ares: waits for what it waits for, or ends the lookup. The channel must not be destroyed inside of a callback of
 * its own, so this is not called there. */
static void settle(struct egress_lookup *lookup)
{
    struct timeval wait;
    if (!lookup->finished) {
        const struct timeval *left = ares_timeout(lookup->channel, NULL, &wait);
        if (left)
            evtimer_add(lookup->timer, left);
        return;
    }
    struct egress_connection *connection = lookup->connection;
    const char *problem = lookup->count ? NULL : problem_text(lookup->status);
    px_auto_free struct sockaddr_storage *addresses = TAKE_PTR(lookup->addresses);
    size_t count = lookup->count;
    egress_resolved *resolved = lookup->resolved;
    px_egress_lookup_cancel(lookup);
    connection->lookup = NULL;
    resolved(connection, addresses, count, problem);
}

static void socket_ready(evutil_socket_t fd, short events, void *data)
{
    struct egress_lookup *lookup = data;
    ares_process_fd(lookup->channel, events & EV_READ ? fd : ARES_SOCKET_BAD, events & EV_WRITE ? fd : ARES_SOCKET_BAD);
    settle(lookup);
}

static void timer_fired(evutil_socket_t fd, short events, void *data)
{
    (void)fd;
    (void)events;
    struct egress_lookup *lookup = data;
    ares_process_fd(lookup->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    settle(lookup);
}

/* c-ares tells which sockets it has and waits for. Without room, its time is over before that socket is looked at. */
static void socket_changed(void *data, ares_socket_t fd, int readable, int writable)
{
    struct egress_lookup *lookup = data;
    struct lookup_socket *place = NULL;
    for (size_t i = 0; i < LOOKUP_SOCKETS_MAX; i++) {
        if (lookup->sockets[i].event && lookup->sockets[i].fd == fd) {
            place = &lookup->sockets[i];
            event_free(place->event);
            place->event = NULL;
            break;
        }
        if (!lookup->sockets[i].event && !place)
            place = &lookup->sockets[i];
    }
    if (!place || (!readable && !writable))
        return;
    short events = (short)((readable ? EV_READ : 0) | (writable ? EV_WRITE : 0) | EV_PERSIST);
    place->fd = fd;
    place->event = event_new(lookup->connection->run->egress->base, fd, events, socket_ready, lookup);
    if (place->event)
        event_add(place->event, NULL);
}

static void answered(void *data, int status, int timeouts, struct ares_addrinfo *result)
{
    (void)timeouts;
    struct egress_lookup *lookup = data;
    lookup->finished = true;
    lookup->status = status;
    for (const struct ares_addrinfo_node *node = result ? result->nodes : NULL; node; node = node->ai_next)
        if (lookup->count < LOOKUP_ADDRESSES_MAX && node->ai_addrlen <= sizeof *lookup->addresses)
            lookup->count++;
    lookup->addresses = calloc(lookup->count ? lookup->count : 1, sizeof *lookup->addresses);
    if (!lookup->addresses) {
        lookup->count = 0;
        lookup->status = ARES_ENOMEM;
    }
    size_t i = 0;
    for (const struct ares_addrinfo_node *node = result ? result->nodes : NULL; node && i < lookup->count;
         node = node->ai_next)
        if (node->ai_addrlen <= sizeof *lookup->addresses)
            memcpy(&lookup->addresses[i++], node->ai_addr, (size_t)node->ai_addrlen);
    if (result)
        ares_freeaddrinfo(result);
}

/* Keeps the servers of a channel that could read the configuration. */
static void keep_servers(struct egress *egress, ares_channel channel)
{
    struct ares_addr_port_node *servers = NULL;
    if (ares_get_servers_ports(channel, &servers) != ARES_SUCCESS)
        return;
    ares_free_data(egress->servers);
    egress->servers = servers;
}

/* c-ares takes a file that it may not read for one that is not there, and would ask a server of the machine itself. */
static bool can_read_configuration(void)
{
    px_auto_fd int fd = px_open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC, 0);
    return fd >= 0 || errno != EACCES;
}

/* The search list of resolv.conf is not used: a.example must not become a.example.company.internal. c-ares 1.18 obeys ARES_FLAG_NOSEARCH
 * in its older functions only, so the list is made empty too.
 *
 * When resolv.conf was replaced by another file after the start, Landlock does not allow to read it, because its rules are for files and not
 * for names. Then the servers of the old one are used; without them the program would need all of /etc. With all of these options, c-ares
 * does not read the file. */
static int make_channel(struct egress_lookup *lookup, struct egress *egress)
{
    char files_then_dns[] = "fb";
    struct ares_options options = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
        .timeout = LOOKUP_TRY_MS,
        .tries = LOOKUP_TRIES,
        .ednspsz = LOOKUP_EDNS_BYTES,
        .lookups = files_then_dns,
        .sock_state_cb = socket_changed,
        .sock_state_cb_data = lookup,
    };
    int options_set = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ | ARES_OPT_NDOTS |
                      ARES_OPT_DOMAINS | ARES_OPT_SOCK_STATE_CB;
    if (can_read_configuration() || !egress->servers) {
        int status = ares_init_options(&lookup->channel, &options, options_set);
        if (status == ARES_SUCCESS)
            keep_servers(egress, lookup->channel);
        return status;
    }
    int status = ares_init_options(&lookup->channel, &options,
                                   options_set | ARES_OPT_SERVERS | ARES_OPT_LOOKUPS | ARES_OPT_SORTLIST);
    if (status != ARES_SUCCESS)
        return status;
    status = ares_set_servers_ports(lookup->channel, egress->servers);
    if (status != ARES_SUCCESS)
        ares_destroy(lookup->channel);
    return status;
}

void px_egress_resolve_start(struct egress *egress)
{
    struct egress_lookup lookup = {.channel = NULL};
    if (make_channel(&lookup, egress) == ARES_SUCCESS)
        ares_destroy(lookup.channel);
}

void px_egress_resolve_done(struct egress *egress)
{
    ares_free_data(egress->servers);
    egress->servers = NULL;
}

struct egress_lookup *px_egress_lookup_new(struct egress_connection *connection, const char *name,
                                           egress_resolved *resolved)
{
    const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct egress_lookup *lookup = calloc(1, sizeof *lookup);
    const struct timeval now = {0};
    if (!lookup)
        return NULL;
    lookup->connection = connection;
    lookup->resolved = resolved;
    lookup->timer = evtimer_new(connection->run->egress->base, timer_fired, lookup);
    if (!lookup->timer || make_channel(lookup, connection->run->egress) != ARES_SUCCESS) {
        lookup->channel = NULL;
        px_egress_lookup_cancel(lookup);
        return NULL;
    }
    ares_getaddrinfo(lookup->channel, name, NULL, &hints, answered, lookup);
    /* It may be answered already, from /etc/hosts: the timer's callback then ends it, so that `resolved` is not called from here. */
    evtimer_add(lookup->timer, &now);
    return lookup;
}
