/* SPDX-License-Identifier: Apache-2.0 */
/* From a name to a connection: resolve it, check every address, connect to those that were checked, and keep the first one that answers. The
 * name is not resolved a second time, so that a DNS server that changes its answer (rebinding) gains nothing.
 *
 * With an upstream proxy (`upstream`), that proxy resolves the name: only it may be able to. The name is looked up here all the same,
 * and refused if it leads to an address that is not public. If it has no address here, the upstream proxy decides. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/retry.h"
#include "egress/egress_private.h"

#define EGRESS_ATTEMPT_DELAY_MS 250 /* between two attempts, as RFC 8305 recommends */

static bool has_upstream(const struct egress_connection *connection)
{
    return connection->run->egress->upstream_host[0] != '\0';
}

static void fail(struct egress_connection *connection, int status, enum egress_why why, const char *about)
{
    if (connection->to_upstream) {
        char text[256];
        snprintf(text, sizeof text, "the upstream proxy of the configuration ([egress] upstream) can't be reached: %s",
                 about);
        px_egress_answer_failed(connection, status, EGRESS_WHY_UPSTREAM, text);
    } else {
        px_egress_answer_failed(connection, status, why, about);
    }
}

/* ---- Connect ---- */

static uint16_t port_of(const struct egress_connection *connection)
{
    return connection->to_upstream ? connection->run->egress->upstream_port : connection->target.port;
}

static void end_attempt(struct egress_attempt *attempt)
{
    if (!attempt->event)
        return;
    event_free(attempt->event);
    attempt->event = NULL;
    px_close_fd(&attempt->fd);
}

void px_egress_dial_cancel(struct egress_connection *connection)
{
    for (size_t i = 0; i < EGRESS_ATTEMPTS_MAX; i++)
        end_attempt(&connection->attempts[i]);
}

static void dial_more(struct egress_connection *connection);

/* The socket is connected, or has failed, or its time is over. */
static void attempt_over(evutil_socket_t fd, short events, void *data)
{
    struct egress_attempt *attempt = data;
    struct egress_connection *connection = attempt->connection;
    int problem = ETIMEDOUT;
    socklen_t size = sizeof problem;
    if ((events & EV_WRITE) && getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size) == 0 && problem == 0) {
        connection->address_used = attempt->address;
        fd = TAKE_FD(attempt->fd);
        px_egress_dial_cancel(connection);
        px_egress_connection_connected(connection, fd);
        return;
    }
    end_attempt(attempt);
    connection->dial_problem = problem;
    dial_more(connection);
}

static int begin_attempt(struct egress_connection *connection, struct egress_attempt *attempt)
{
    struct egress *egress = connection->run->egress;
    struct sockaddr_storage to = connection->addresses[attempt->address];
    socklen_t length = to.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    const struct timeval most = {.tv_sec = egress->connect_timeout_ms / 1000,
                                 .tv_usec = egress->connect_timeout_ms % 1000 * 1000};
    if (to.ss_family == AF_INET)
        ((struct sockaddr_in *)&to)->sin_port = htons(port_of(connection));
    else
        ((struct sockaddr_in6 *)&to)->sin6_port = htons(port_of(connection));
    px_auto_fd int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || (px_connect_nonblocking(fd, (const struct sockaddr *)&to, length) < 0 && errno != EINPROGRESS))
        return -1;
    attempt->connection = connection;
    attempt->event = event_new(egress->base, fd, EV_WRITE, attempt_over, attempt);
    if (!attempt->event)
        return -1;
    attempt->fd = TAKE_FD(fd);
    return event_add(attempt->event, &most);
}

/* Begins the next attempt. Each has its whole time, and does not wait for the end of the ones before it: where one address, or one family,
 * does not answer, the others do after a quarter of a second (RFC 8305, 5). */
static void dial_more(struct egress_connection *connection)
{
    struct egress_attempt *free_place = NULL;
    bool one_waits = false;
    for (size_t i = 0; i < EGRESS_ATTEMPTS_MAX; i++)
        if (connection->attempts[i].event)
            one_waits = true;
        else
            free_place = &connection->attempts[i];
    while (free_place && connection->address_next < connection->address_count) {
        free_place->address = connection->address_next++;
        if (begin_attempt(connection, free_place) == 0) {
            px_egress_connection_stage(connection, EGRESS_STAGE_CONNECT, EGRESS_ATTEMPT_DELAY_MS);
            return;
        }
        end_attempt(free_place);
    }
    int problem = connection->dial_problem;
    if (one_waits)
        return;
    if (problem == ETIMEDOUT)
        fail(connection, 504, EGRESS_WHY_TIMEOUT, "it did not accept a connection in time");
    else
        fail(connection, 502, EGRESS_WHY_CONNECT, problem ? strerror(problem) : "no network leads to its addresses");
}

/* Takes one address of each family in turn: where one of the families does not work, the second attempt is of the other (RFC 8305, 4). */
static void keep_addresses(struct egress_connection *connection, const struct sockaddr_storage *addresses, size_t count)
{
    bool used[EGRESS_ADDRESSES_MAX * 8] = {false};
    size_t looked = count < PX_COUNT(used) ? count : PX_COUNT(used);
    connection->address_count = connection->address_next = 0;
    connection->dial_problem = 0;
    for (sa_family_t last = AF_UNSPEC; connection->address_count < EGRESS_ADDRESSES_MAX;) {
        size_t best = looked;
        for (size_t i = looked; i > 0; i--)
            if (!used[i - 1] &&
                (best == looked || addresses[i - 1].ss_family != last || addresses[best].ss_family == last))
                best = i - 1;
        if (best == looked)
            return;
        used[best] = true;
        last = addresses[best].ss_family;
        connection->addresses[connection->address_count++] = addresses[best];
    }
}

/* ---- Resolve ---- */

static void upstream_resolved(struct egress_connection *connection, const struct sockaddr_storage *addresses,
                              size_t count, const char *problem)
{
    if (!count) {
        fail(connection, 502, EGRESS_WHY_UPSTREAM, problem);
        return;
    }
    keep_addresses(connection, addresses, count);
    dial_more(connection);
}

static void dial_upstream(struct egress_connection *connection)
{
    const struct egress *egress = connection->run->egress;
    struct sockaddr_storage address = {0};
    connection->to_upstream = true;
    if (inet_pton(AF_INET, egress->upstream_host, &((struct sockaddr_in *)&address)->sin_addr) == 1)
        address.ss_family = AF_INET;
    else if (inet_pton(AF_INET6, egress->upstream_host, &((struct sockaddr_in6 *)&address)->sin6_addr) == 1)
        address.ss_family = AF_INET6;
    if (address.ss_family) {
        upstream_resolved(connection, &address, 1, NULL);
        return;
    }
    px_egress_connection_stage(connection, EGRESS_STAGE_RESOLVE, egress->resolve_timeout_ms);
    connection->lookup = px_egress_lookup_new(connection, egress->upstream_host, upstream_resolved);
    if (!connection->lookup)
        fail(connection, 502, EGRESS_WHY_UPSTREAM, "the resolver can't be used");
}

static void resolved(struct egress_connection *connection, const struct sockaddr_storage *addresses, size_t count,
                     const char *problem)
{
    for (size_t i = 0; i < count; i++) {
        const struct sockaddr *address = (const struct sockaddr *)&addresses[i];
        const char *is = px_egress_decide_address(connection->run->egress, address);
        if (is) {
            px_egress_answer_denied(connection, EGRESS_WHY_ADDRESS, address, is);
            return;
        }
    }
    if (has_upstream(connection)) {
        dial_upstream(connection);
    } else if (!count) {
        fail(connection, 502, EGRESS_WHY_RESOLVE, problem);
    } else {
        keep_addresses(connection, addresses, count);
        dial_more(connection);
    }
}

void px_egress_dial(struct egress_connection *connection)
{
    int64_t timeout = connection->run->egress->resolve_timeout_ms;
    if (has_upstream(connection) && timeout > EGRESS_UPSTREAM_CHECK_MS)
        timeout = EGRESS_UPSTREAM_CHECK_MS;
    px_egress_connection_stage(connection, EGRESS_STAGE_RESOLVE, timeout);
    connection->lookup = px_egress_lookup_new(connection, connection->target.name, resolved);
    if (!connection->lookup)
        resolved(connection, NULL, 0,
                 "the resolver can't be used: its configuration can't be read, or there is no memory");
}

void px_egress_dial_timeout(struct egress_connection *connection)
{
    if (connection->stage == EGRESS_STAGE_CONNECT) {
        dial_more(connection);
        return;
    }
    if (connection->stage == EGRESS_STAGE_RESOLVE) {
        px_egress_lookup_cancel(connection->lookup);
        connection->lookup = NULL;
        if (has_upstream(connection) && !connection->to_upstream) {
            dial_upstream(connection);
            return;
        }
    }
    fail(connection, 504, EGRESS_WHY_TIMEOUT,
         connection->stage == EGRESS_STAGE_RESOLVE ? "the DNS did not answer in time" : "it did not answer in time");
}

/* ---- The upstream proxy's answer to our CONNECT ---- */

void px_egress_dial_upstream_read(struct egress_connection *connection)
{
    struct evbuffer *input = bufferevent_get_input(connection->server);
    size_t have = evbuffer_get_length(input);
    const char *bytes = (const char *)evbuffer_pullup(input, -1), *why;
    size_t length = bytes ? px_http_head_length(bytes, have, &connection->response_scanned) : 0;
    static struct px_http_head head; /* one thread, and it is not used after this function */
    if (!length && have < PX_HTTP_HEAD_MAX)
        return;
    why = length ? px_http_response_parse(bytes, length, &head) : "its head is too long";
    if (!why && head.status >= 200 && head.status < 300) {
        evbuffer_drain(input, length);
        connection->response_scanned = 0;
        px_egress_connection_reached(connection);
        return;
    }
    char text[160];
    if (why)
        snprintf(text, sizeof text, "the upstream proxy's answer is not understood: %s", why);
    else
        snprintf(text, sizeof text, "the upstream proxy refused it with HTTP %d", head.status);
    px_egress_answer_failed(connection, 502, EGRESS_WHY_UPSTREAM, text);
}
