/* SPDX-License-Identifier: Apache-2.0 */
/* Tunnels: what CONNECT asked for. Its first bytes say whether it carries TLS or HTTP, and for which host; nothing is sent to the server
 * before that is known. Then bytes are passed on in both directions until both sides have ended. */
#include <event2/buffer.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "egress/client_hello.h"
#include "egress/egress_private.h"

static void refuse_name(struct egress_connection *connection, const char *what, const char *name)
{
    char text[2 * PX_HOST_NAME_MAX];
    snprintf(text, sizeof text, "%s '%s'", what, name);
    px_egress_answer_denied(connection, EGRESS_WHY_NAME_MISMATCH, NULL, text);
}

static void begin_tls(struct egress_connection *connection, const unsigned char *bytes, size_t length)
{
    char name[PX_HOST_NAME_MAX + 1];
    switch (px_client_hello_parse(bytes, length, name)) {
    case PX_CLIENT_HELLO_MORE:
        return;
    case PX_CLIENT_HELLO_BAD:
        px_egress_answer_denied(connection, EGRESS_WHY_PROTOCOL, NULL,
                                "the tunnel begins with a message that is no ClientHello of TLS, or that is too long");
        return;
    case PX_CLIENT_HELLO_NO_NAME:
        px_egress_answer_denied(connection, EGRESS_WHY_NAME_MISMATCH, NULL, "the TLS client names no server (SNI)");
        return;
    case PX_CLIENT_HELLO_NAME:
        break;
    }
    if (strcmp(name, connection->target.name) != 0) {
        refuse_name(connection, "the TLS client asks for another server (SNI):", name);
        return;
    }
    px_egress_connection_stage(connection, EGRESS_STAGE_RELAY, connection->run->egress->idle_timeout_ms);
    bufferevent_enable(connection->server, EV_READ);
    if (!px_egress_secret_begin(connection))
        px_egress_tunnel_move(connection);
}

/* A request in the tunnel: ws:// of some libraries, and http:// of a few. It is treated as if the proxy had been asked for it, with the
 * tunnel's host. */
static void begin_http(struct egress_connection *connection, const char *bytes, size_t have)
{
    size_t length = px_http_head_length(bytes, have, &connection->scanned);
    static struct px_http_head head; /* one thread, and it is not used after this function */
    const char *why = length                    ? px_http_request_parse(bytes, length, &head)
                      : have < PX_HTTP_HEAD_MAX ? px_http_request_begin(bytes, have, &head)
                                                : "the head of a request is too long";
    if (!length && !why)
        return;
    connection->mode = EGRESS_MODE_PLAIN; /* from here on an answer is an HTTP response */
    if (!why && head.target.bytes[0] != '/' && !px_http_text_is(head.target, "*"))
        why = "a request inside of a tunnel must have a path";
    if (why) {
        px_egress_answer_denied(connection, EGRESS_WHY_PROTOCOL, NULL, why);
        return;
    }
    if (!px_egress_plain_prepare(connection, &head, head.target))
        return;
    evbuffer_drain(bufferevent_get_input(connection->client), length);
    px_egress_plain_begin(connection);
}

void px_egress_tunnel_peek(struct egress_connection *connection)
{
    struct evbuffer *input = bufferevent_get_input(connection->client);
    size_t length = evbuffer_get_length(input);
    const unsigned char *bytes = length ? evbuffer_pullup(input, -1) : NULL;
    if (!bytes)
        return;
    if (bytes[0] == PX_CLIENT_HELLO_RECORD)
        begin_tls(connection, bytes, length);
    else if (bytes[0] >= 'A' && bytes[0] <= 'Z')
        begin_http(connection, (const char *)bytes, length);
    else
        px_egress_answer_denied(connection, EGRESS_WHY_PROTOCOL, NULL, "the tunnel carries neither TLS nor HTTP");
}

static size_t move(struct bufferevent *from, struct bufferevent *to, bool stopped)
{
    struct evbuffer *input = bufferevent_get_input(from);
    size_t length = evbuffer_get_length(input);
    if (stopped) {
        evbuffer_drain(input, length);
        return 0;
    }
    if (length) {
        bufferevent_write_buffer(to, input);
        px_egress_flow_hold(from, to);
    }
    return length;
}

void px_egress_tunnel_move(struct egress_connection *connection)
{
    size_t sent = move(connection->client, connection->server, connection->server_shut);
    size_t received = move(connection->server, connection->client, connection->client_shut);
    px_egress_run_add_bytes(connection, sent, received);
    px_egress_tunnel_ended(connection);
}

/* Tells `to` that nothing follows, when it has everything. Returns true if it has been told. */
static bool pass_end(struct bufferevent *to, bool *shut)
{
    if (!*shut && evbuffer_get_length(bufferevent_get_output(to)) == 0) {
        shutdown(bufferevent_getfd(to), SHUT_WR);
        *shut = true;
    }
    return *shut;
}

void px_egress_tunnel_ended(struct egress_connection *connection)
{
    bool to_server = connection->client_ended && pass_end(connection->server, &connection->server_shut);
    bool to_client = connection->server_ended && pass_end(connection->client, &connection->client_shut);
    if (to_server && to_client)
        px_egress_connection_close(connection);
}
