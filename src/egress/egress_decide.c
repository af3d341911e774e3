/* SPDX-License-Identifier: Apache-2.0 */
/* Decides which hosts and addresses may be reached. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/retry.h"
#include "egress/egress_private.h"

/* Whether the list has the target. */
static bool is_listed(const struct egress_run *run, const struct px_http_authority *target, bool *ret_other_port)
{
    *ret_other_port = false;
    for (size_t i = 0; i < run->host_count; i++) {
        if (!px_host_entry_names(&run->hosts[i], target->name))
            continue;
        if (run->hosts[i].port == target->port)
            return true;
        *ret_other_port = true;
    }
    return false;
}

bool px_egress_decide_host(struct egress_connection *connection, const char *bad_name)
{
    const struct egress_run *run = connection->run;
    size_t limit = px_egress_run_limit(run), all = run->egress->max_connections;
    bool other_port = false;
    char about[160];
    if (run->connection_count > limit && limit == run->egress->max_run_connections)
        snprintf(about, sizeof about, "this run has too many connections at the same time (max_run_connections: %zu)",
                 limit);
    else
        snprintf(about, sizeof about,
                 "this run has too many connections at the same time: its share of all (max_connections: %zu) is %zu",
                 all, limit);
    if (run->connection_count > limit)
        px_egress_answer_denied(connection, EGRESS_WHY_LIMIT, NULL, about);
    else if (run->egress->connection_count > all)
        px_egress_answer_denied(connection, EGRESS_WHY_LIMIT, NULL, "all runs together have too many connections");
    else if (bad_name || !connection->target.port)
        px_egress_answer_denied(connection, EGRESS_WHY_HOST, NULL, bad_name);
    else if (is_listed(run, &connection->target, &other_port))
        return true;
    else
        px_egress_answer_denied(connection, other_port ? EGRESS_WHY_PORT : EGRESS_WHY_HOST, NULL, NULL);
    return false;
}

/* A public address can be one of the machine's own, and a connection to it would get behind its firewall. The kernel says so without
 * sending a packet: it gives a socket that is connected to an own address the same address (ip-route(8), table local). */
static bool is_own(const struct sockaddr *address)
{
    struct sockaddr_storage to = {0}, from = {0};
    socklen_t length = address->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    px_auto_fd int fd = socket(address->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    memcpy(&to, address, length);
    socklen_t size = sizeof from;
    if (fd < 0 || px_connect_nonblocking(fd, (const struct sockaddr *)&to, length) < 0 ||
        getsockname(fd, (struct sockaddr *)&from, &size) < 0)
        return fd < 0; /* an address without a route is not reached anyway */
    return to.ss_family == AF_INET
               ? ((struct sockaddr_in *)&to)->sin_addr.s_addr == ((struct sockaddr_in *)&from)->sin_addr.s_addr
               : memcmp(&((struct sockaddr_in6 *)&to)->sin6_addr, &((struct sockaddr_in6 *)&from)->sin6_addr, 16) == 0;
}

const char *px_egress_decide_address(const struct egress *egress, const struct sockaddr *address)
{
    if (px_ip_networks_have(egress->private_networks, egress->private_count, address))
        return NULL;
    const char *is = px_public_address_check(address);
    if (!is && is_own(address))
        is = "an address of this machine itself";
    return is;
}
