/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of a script: reads its request, and calls the part of the program whose turn it is. */
#include <errno.h>
#include <event2/buffer.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "egress/egress_private.h"

static void set_timer(struct egress_connection *connection, int64_t ms)
{
    const struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(connection->timer, &wait);
}

void px_egress_connection_stage(struct egress_connection *connection, enum egress_stage stage, int64_t timeout_ms)
{
    connection->stage = stage;
    connection->active_ns = px_now_ns();
    set_timer(connection, timeout_ms);
}

void px_egress_connection_close(struct egress_connection *connection)
{
    px_egress_lookup_cancel(connection->lookup);
    px_egress_dial_cancel(connection);
    if (connection->client)
        bufferevent_free(connection->client);
    if (connection->server)
        bufferevent_free(connection->server);
    if (connection->timer)
        event_free(connection->timer);
    *connection->previous = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    connection->run->connection_count--;
    connection->run->egress->connection_count--;
    px_buffer_done(&connection->request);
    px_secret_relay_free(connection->secret);
    free(connection);
}

/* ---- The end ---- */

static void linger(struct egress_connection *connection)
{
    int64_t idle = connection->run->egress->idle_timeout_ms;
    shutdown(bufferevent_getfd(connection->client), SHUT_WR);
    px_egress_connection_stage(connection, EGRESS_STAGE_LINGER,
                               idle < EGRESS_LINGER_TIMEOUT_MS ? idle : EGRESS_LINGER_TIMEOUT_MS);
    evbuffer_drain(bufferevent_get_input(connection->client), SIZE_MAX);
    bufferevent_enable(connection->client, EV_READ);
    if (connection->client_ended)
        px_egress_connection_close(connection);
}

void px_egress_connection_flush(struct egress_connection *connection)
{
    px_egress_lookup_cancel(connection->lookup);
    connection->lookup = NULL;
    px_egress_dial_cancel(connection);
    if (connection->server)
        bufferevent_free(connection->server);
    connection->server = NULL;
    px_egress_connection_stage(connection, EGRESS_STAGE_FLUSH, connection->run->egress->idle_timeout_ms);
    if (evbuffer_get_length(bufferevent_get_output(connection->client)) == 0)
        linger(connection);
}

static void idle_over(struct egress_connection *connection, int64_t idle_ms)
{
    char about[128];
    snprintf(about, sizeof about,
             "no byte came or went for %g s (idle_timeout in the section [egress] of the configuration)",
             (double)idle_ms / 1000);
    if (connection->mode == EGRESS_MODE_PLAIN && !connection->response_started)
        px_egress_answer_failed(connection, 504, EGRESS_WHY_TIMEOUT, about);
    else if (connection->mode == EGRESS_MODE_SECRET)
        px_egress_secret_silent(connection, about);
    else
        px_egress_connection_close(connection);
}

static void timer_fired(evutil_socket_t fd, short events, void *data)
{
    (void)fd;
    (void)events;
    struct egress_connection *connection = data;
    int64_t idle = connection->run->egress->idle_timeout_ms,
            past = (px_now_ns() - connection->active_ns) / PX_NS_PER_MS;
    switch (connection->stage) {
    case EGRESS_STAGE_HEAD:
        px_egress_answer_denied(connection, EGRESS_WHY_PROTOCOL, NULL, "the request did not come in time");
        return;
    case EGRESS_STAGE_PEEK:
        px_egress_answer_denied(connection, EGRESS_WHY_PROTOCOL, NULL,
                                "the tunnel stayed empty; a server that speaks first can't be reached");
        return;
    case EGRESS_STAGE_RESOLVE:
    case EGRESS_STAGE_CONNECT:
    case EGRESS_STAGE_UPSTREAM:
        px_egress_dial_timeout(connection);
        return;
    case EGRESS_STAGE_RELAY:
        if (past < idle)
            set_timer(connection, idle - past);
        else
            idle_over(connection, idle);
        return;
    case EGRESS_STAGE_FLUSH:
    case EGRESS_STAGE_LINGER:
        px_egress_connection_close(connection);
    }
}

/* ---- The request ---- */

/* CONNECT NAME:PORT. The field Host is not needed, but must not name another host. */
static void take_connect(struct egress_connection *connection, const struct px_http_head *head, size_t length)
{
    struct px_http_authority host;
    struct px_http_text text = {NULL, 0};
    enum px_http_framing framing;
    uint64_t body;
    const char *bad_name = px_http_authority_parse(head->target, 0, &connection->target);
    connection->connect = true;
    connection->mode = EGRESS_MODE_TUNNEL;
    if (!bad_name && !connection->target.has_port)
        bad_name = "the port is missing";
    if (!px_egress_decide_host(connection, bad_name))
        return;
    const char *why = px_http_request_framing(head, &framing, &body);
    if (!why && framing != PX_HTTP_NO_BODY && body > 0)
        why = "CONNECT has a body";
    size_t hosts = px_http_field_count(head, "host", &text);
    if (!why && hosts > 1)
        why = "the request has two fields Host";
    if (why) {
        px_egress_answer_denied(connection, EGRESS_WHY_PROTOCOL, NULL, why);
        return;
    }
    if (hosts == 1 && (px_http_authority_parse(text, connection->target.port, &host) ||
                       strcmp(host.name, connection->target.name) != 0 || host.port != connection->target.port)) {
        px_egress_answer_denied(connection, EGRESS_WHY_NAME_MISMATCH, NULL,
                                "the field Host of CONNECT names another host");
        return;
    }
    evbuffer_drain(bufferevent_get_input(connection->client), length);
    connection->scanned = 0;
    px_egress_dial(connection);
}

static void take_absolute(struct egress_connection *connection, const struct px_http_head *head, size_t length)
{
    struct px_http_text path = {NULL, 0};
    const char *bad_name = px_http_absolute_parse(head->target, &connection->target, &path);
    connection->mode = EGRESS_MODE_PLAIN;
    if (!*connection->target.shown) { /* no address of the form http://NAME */
        px_egress_answer_denied(connection, EGRESS_WHY_PROTOCOL, NULL, bad_name ? bad_name : "the address has no host");
        return;
    }
    if (!px_egress_decide_host(connection, bad_name) || !px_egress_plain_prepare(connection, head, path))
        return;
    evbuffer_drain(bufferevent_get_input(connection->client), length);
    connection->scanned = 0;
    px_egress_dial(connection);
}

static void read_head(struct egress_connection *connection)
{
    static struct px_http_head head; /* one thread, and it is not used after this function */
    struct evbuffer *input = bufferevent_get_input(connection->client);
    size_t have = evbuffer_get_length(input);
    const char *bytes = have ? (const char *)evbuffer_pullup(input, -1) : NULL;
    size_t length = bytes ? px_http_head_length(bytes, have, &connection->scanned) : 0;
    const char *why = length                    ? px_http_request_parse(bytes, length, &head)
                      : have < PX_HTTP_HEAD_MAX ? px_http_request_begin(bytes, have, &head)
                                                : "the head of the request is too long";
    if (!length && !why)
        return;
    if (why)
        px_egress_answer_denied(connection, EGRESS_WHY_PROTOCOL, NULL, why);
    else if (px_http_text_is(head.method, "CONNECT"))
        take_connect(connection, &head, length);
    else
        take_absolute(connection, &head, length);
}

/* ---- Events ---- */

static void client_readable(struct bufferevent *client, void *data)
{
    struct egress_connection *connection = data;
    connection->active_ns = px_now_ns();
    switch (connection->stage) {
    case EGRESS_STAGE_HEAD:
        read_head(connection);
        return;
    case EGRESS_STAGE_PEEK:
        px_egress_tunnel_peek(connection);
        return;
    case EGRESS_STAGE_RELAY:
        if (connection->mode == EGRESS_MODE_TUNNEL)
            px_egress_tunnel_move(connection);
        else if (connection->mode == EGRESS_MODE_SECRET)
            px_egress_secret_move(connection);
        else
            px_egress_plain_client_read(connection);
        return;
    case EGRESS_STAGE_LINGER:
        evbuffer_drain(bufferevent_get_input(client), SIZE_MAX);
        return;
    default: /* it stays there; EGRESS_READ_MAX limits it */
        return;
    }
}

static void client_written(struct bufferevent *client, void *data)
{
    struct egress_connection *connection = data;
    connection->active_ns = px_now_ns();
    if (connection->stage == EGRESS_STAGE_FLUSH) {
        if (evbuffer_get_length(bufferevent_get_output(client)) == 0)
            linger(connection);
        return;
    }
    if (connection->stage != EGRESS_STAGE_RELAY)
        return;
    if (connection->mode == EGRESS_MODE_SECRET) {
        px_egress_secret_move(connection);
        return;
    }
    if (!connection->server_ended)
        px_egress_flow_go_on(connection->server, client);
    if (connection->mode == EGRESS_MODE_TUNNEL)
        px_egress_tunnel_ended(connection);
}

/* In a tunnel, an end of one direction is passed on. Otherwise the client has gone away: scripts that give up waiting would soon have too many
 * connections if the proxy went on waiting for them. */
static void client_event(struct bufferevent *client, short events, void *data)
{
    (void)client;
    struct egress_connection *connection = data;
    bool ended = events & BEV_EVENT_EOF, tunnel = connection->mode == EGRESS_MODE_TUNNEL;
    connection->client_ended = true;
    if (ended && connection->stage == EGRESS_STAGE_RELAY && connection->mode == EGRESS_MODE_SECRET)
        px_egress_secret_move(connection);
    else if (ended && connection->stage == EGRESS_STAGE_RELAY && tunnel)
        px_egress_tunnel_ended(connection);
    else if (ended && connection->stage == EGRESS_STAGE_FLUSH)
        return;
    else
        px_egress_connection_close(connection);
}

static void server_readable(struct bufferevent *server, void *data)
{
    (void)server;
    struct egress_connection *connection = data;
    connection->active_ns = px_now_ns();
    if (connection->stage == EGRESS_STAGE_UPSTREAM)
        px_egress_dial_upstream_read(connection);
    else if (connection->stage == EGRESS_STAGE_RELAY && connection->mode == EGRESS_MODE_TUNNEL)
        px_egress_tunnel_move(connection);
    else if (connection->stage == EGRESS_STAGE_RELAY && connection->mode == EGRESS_MODE_SECRET)
        px_egress_secret_move(connection);
    else if (connection->stage == EGRESS_STAGE_RELAY)
        px_egress_plain_server_read(connection);
}

static void server_written(struct bufferevent *server, void *data)
{
    struct egress_connection *connection = data;
    connection->active_ns = px_now_ns();
    if (connection->stage != EGRESS_STAGE_RELAY)
        return;
    if (connection->mode == EGRESS_MODE_SECRET) {
        px_egress_secret_move(connection);
        return;
    }
    if (!connection->client_ended)
        px_egress_flow_go_on(connection->client, server);
    if (connection->mode == EGRESS_MODE_TUNNEL)
        px_egress_tunnel_ended(connection);
}

/* After an error, what the server sent before it still goes to the client. */
static void server_over(struct egress_connection *connection, bool failed)
{
    connection->server_ended = true;
    if (connection->stage == EGRESS_STAGE_UPSTREAM)
        px_egress_answer_failed(connection, 502, EGRESS_WHY_UPSTREAM,
                                "the upstream proxy closed the connection without an answer");
    else if (connection->stage == EGRESS_STAGE_PEEK)
        px_egress_connection_close(connection);
    else if (connection->mode == EGRESS_MODE_PLAIN)
        px_egress_plain_server_ended(connection);
    else if (connection->mode == EGRESS_MODE_SECRET)
        px_egress_secret_move(connection);
    else if (failed)
        px_egress_connection_flush(connection);
    else
        px_egress_tunnel_ended(connection);
}

static void server_event(struct bufferevent *server, short events, void *data)
{
    (void)server;
    server_over(data, events & BEV_EVENT_ERROR);
}

/* ---- The two sides ---- */

static struct bufferevent *make_side(struct egress_connection *connection, int fd, bufferevent_data_cb readable,
                                     bufferevent_data_cb written, bufferevent_event_cb event)
{
    struct bufferevent *side =
        bufferevent_socket_new(connection->run->egress->base, fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (!side) {
        close(fd);
        return NULL;
    }
    bufferevent_setcb(side, readable, written, event, connection);
    bufferevent_setwatermark(side, EV_READ, 0, EGRESS_READ_MAX);
    bufferevent_setwatermark(side, EV_WRITE, EGRESS_WRITE_LOW, 0);
    return side;
}

void px_egress_connection_connected(struct egress_connection *connection, int fd)
{
    const struct egress *egress = connection->run->egress;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection->server = make_side(connection, fd, server_readable, server_written, server_event);
    if (!connection->server) {
        px_egress_answer_failed(connection, 502, EGRESS_WHY_CONNECT, strerror(ENOMEM));
        return;
    }
    if (!connection->to_upstream || connection->mode == EGRESS_MODE_PLAIN) {
        px_egress_connection_reached(connection);
        return;
    }
    px_egress_connection_stage(connection, EGRESS_STAGE_UPSTREAM, egress->connect_timeout_ms);
    struct evbuffer *output = bufferevent_get_output(connection->server);
    evbuffer_add_printf(output, "CONNECT %s:%u HTTP/1.1\r\nHost: %s:%u\r\n", connection->target.name,
                        connection->target.port, connection->target.name, connection->target.port);
    if (*egress->upstream_auth)
        evbuffer_add_printf(output, "Proxy-Authorization: %s\r\n", egress->upstream_auth);
    evbuffer_add_printf(output, "\r\n");
    bufferevent_enable(connection->server, EV_READ);
}

void px_egress_connection_reached(struct egress_connection *connection)
{
    static const char connected[] = "HTTP/1.1 200 Connection established\r\n\r\n";
    const struct sockaddr *address = (const struct sockaddr *)&connection->addresses[connection->address_used];
    connection->counted = true;
    connection->row = px_egress_run_count(connection->run, connection->target.name, connection->target.port,
                                          EGRESS_WHY_NONE, connection->to_upstream ? NULL : address, NULL);
    if (connection->mode == EGRESS_MODE_PLAIN) {
        px_egress_plain_begin(connection);
        return;
    }
    bufferevent_write(connection->client, connected, sizeof connected - 1);
    bufferevent_disable(connection->server, EV_READ);
    px_egress_connection_stage(connection, EGRESS_STAGE_PEEK, connection->run->egress->request_timeout_ms);
    px_egress_tunnel_peek(connection);
}

/* Twice the limit is taken, so that a refusal can be said. */
void px_egress_connection_new(struct egress_run *run, int fd)
{
    struct egress *egress = run->egress;
    int on = 1;
    bool full = run->connection_count >= 2 * px_egress_run_limit(run) ||
                egress->connection_count >= 2 * egress->max_connections;
    struct egress_connection *connection = full ? NULL : calloc(1, sizeof *connection);
    if (!connection) {
        close(fd);
        px_egress_run_count(run, "", 0, EGRESS_WHY_LIMIT, NULL,
                            "pyexec closed a connection: there are far too many at the same time.");
        return;
    }
    connection->run = run;
    connection->row = -1;
    connection->next = run->connections;
    connection->previous = &run->connections;
    if (run->connections)
        run->connections->previous = &connection->next;
    run->connections = connection;
    run->connection_count++;
    egress->connection_count++;
    connection->timer = evtimer_new(egress->base, timer_fired, connection);
    connection->client = make_side(connection, fd, client_readable, client_written, client_event);
    if (!connection->timer || !connection->client) {
        px_egress_connection_close(connection);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    px_egress_connection_stage(connection, EGRESS_STAGE_HEAD, egress->request_timeout_ms);
    bufferevent_enable(connection->client, EV_READ | EV_WRITE);
}
