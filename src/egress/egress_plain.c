/* SPDX-License-Identifier: Apache-2.0 */
/* Plain HTTP: one request and its response for each connection. The head of the request is parsed and written again, so that the server
 * sees exactly what was checked. Both sides are told that the connection ends after the response, so there is never a second
 * request that would need the same checks. */
#include <event2/buffer.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "egress/egress_private.h"

#define HTTP_DEFAULT_PORT 80

/* ---- The request ---- */

static void refuse(struct egress_connection *connection, const char *why)
{
    px_egress_answer_denied(connection, EGRESS_WHY_PROTOCOL, NULL, why);
}

static void refuse_host(struct egress_connection *connection, struct px_http_text host)
{
    char text[PX_HOST_NAME_MAX + 64];
    int length = (int)(host.length < PX_HOST_NAME_MAX ? host.length : PX_HOST_NAME_MAX);
    snprintf(text, sizeof text, "the request is for another host (field Host): '%.*s'", length, host.bytes);
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f)
            *at = '?';
    px_egress_answer_denied(connection, EGRESS_WHY_NAME_MISMATCH, NULL, text);
}

/* The field Host must name the target: without it, or with another one, the server would take the request for another site. */
static bool check_host(struct egress_connection *connection, const struct px_http_head *head)
{
    struct px_http_authority authority;
    struct px_http_text host = {NULL, 0};
    size_t count = px_http_field_count(head, "host", &host);
    if (count > 1 || (count == 0 && head->minor > 0)) {
        refuse(connection, count ? "the request has two fields Host" : "the request has no field Host");
        return false;
    }
    if (count == 1 &&
        (px_http_authority_parse(host, HTTP_DEFAULT_PORT, &authority) ||
         strcmp(authority.name, connection->target.name) != 0 || authority.port != connection->target.port)) {
        refuse_host(connection, host);
        return false;
    }
    return true;
}

/* Only WebSocket may take over the connection (RFC 6455): bytes for a server that speaks another protocol then are not checked. */
static const char *check_upgrade(struct egress_connection *connection, const struct px_http_head *head)
{
    static const struct px_http_text word = {"upgrade", 7};
    struct px_http_text upgrade = {NULL, 0};
    size_t count = px_http_field_count(head, "upgrade", &upgrade);
    if (!count)
        return NULL;
    if (count > 1 || !px_http_text_is(upgrade, "websocket"))
        return "the request asks for an upgrade to another protocol than WebSocket";
    if (!px_http_text_is(head->method, "GET") || head->minor == 0 || !px_http_list_has(head, "connection", word))
        return "the upgrade to WebSocket is incomplete";
    connection->wants_upgrade = true;
    return NULL;
}

static void add_text(struct px_buffer *to, struct px_http_text text)
{
    px_buffer_add(to, text.bytes, text.length);
}

static void add_fields(struct px_buffer *to, const struct px_http_head *head, bool skip_host)
{
    for (size_t i = 0; i < head->count; i++) {
        const struct px_http_field *field = &head->fields[i];
        if (px_http_field_is_hop(head, field) || (skip_host && px_http_text_is(field->name, "host")))
            continue;
        add_text(to, field->name);
        px_buffer_add_string(to, ": ");
        add_text(to, field->value);
        px_buffer_add_string(to, "\r\n");
    }
}

static void add_target(struct egress_connection *connection, struct px_buffer *to)
{
    const struct px_http_authority *target = &connection->target;
    px_buffer_add_string(to, target->name);
    if (target->port != HTTP_DEFAULT_PORT)
        px_buffer_printf(to, ":%u", target->port);
}

/* An upstream proxy gets the whole address, any other server only the path (RFC 9112, 3.2). */
static void write_head(struct egress_connection *connection, const struct px_http_head *head, struct px_http_text path)
{
    const struct egress *egress = connection->run->egress;
    struct px_buffer *to = &connection->request;
    bool to_proxy = *egress->upstream_host && !connection->connect;
    add_text(to, head->method);
    px_buffer_add_byte(to, ' ');
    if (to_proxy) {
        px_buffer_add_string(to, "http://");
        add_target(connection, to);
    }
    if (path.length == 0)
        px_buffer_add_byte(to, px_http_text_is(head->method, "OPTIONS") && !to_proxy ? '*' : '/');
    else if (path.bytes[0] == '?')
        px_buffer_add_byte(to, '/');
    add_text(to, path);
    px_buffer_printf(to, " HTTP/1.%d\r\nHost: ", head->minor);
    add_target(connection, to);
    px_buffer_add_string(to, "\r\n");
    add_fields(to, head, true);
    if (to_proxy && *egress->upstream_auth)
        px_buffer_printf(to, "Proxy-Authorization: %s\r\n", egress->upstream_auth);
    px_buffer_add_string(to, connection->wants_upgrade ? "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                                                       : "Connection: close\r\n\r\n");
}

bool px_egress_plain_prepare(struct egress_connection *connection, const struct px_http_head *head,
                             struct px_http_text path)
{
    enum px_http_framing framing;
    uint64_t length;
    const char *why = px_http_request_framing(head, &framing, &length);
    if (!why)
        why = check_upgrade(connection, head);
    if (!why && connection->wants_upgrade && framing != PX_HTTP_NO_BODY)
        why = "a request for an upgrade has a body";
    if (!why && px_http_text_is(head->method, "CONNECT"))
        why = "CONNECT inside of a request";
    if (why) {
        refuse(connection, why);
        return false;
    }
    if (!check_host(connection, head))
        return false;
    connection->answer_has_no_body = px_http_text_is(head->method, "HEAD");
    px_http_body_init(&connection->request_body, framing, length);
    write_head(connection, head, path);
    if (px_buffer_ok(&connection->request))
        return true;
    px_egress_connection_close(connection);
    return false;
}

void px_egress_plain_begin(struct egress_connection *connection)
{
    px_egress_connection_stage(connection, EGRESS_STAGE_RELAY, connection->run->egress->idle_timeout_ms);
    bufferevent_write(connection->server, connection->request.data, connection->request.length);
    px_egress_run_add_bytes(connection, connection->request.length, 0);
    px_buffer_done(&connection->request);
    bufferevent_enable(connection->server, EV_READ);
    px_egress_plain_client_read(connection);
}

/* Moves the bytes of a body. Returns how many, or -1 if they can't be a body. */
static ptrdiff_t move_body(struct px_http_body *body, struct bufferevent *from, struct bufferevent *to)
{
    struct evbuffer *input = bufferevent_get_input(from);
    size_t have = body->done ? 0 : evbuffer_get_length(input);
    const char *bytes = have ? (const char *)evbuffer_pullup(input, -1) : NULL;
    ptrdiff_t taken = bytes ? px_http_body_take(body, bytes, have) : 0;
    if (taken > 0) {
        evbuffer_remove_buffer(input, bufferevent_get_output(to), (size_t)taken);
        px_egress_flow_hold(from, to);
    }
    return taken;
}

/* Bytes after the body stay unread: a second request needs a new connection. */
void px_egress_plain_client_read(struct egress_connection *connection)
{
    ptrdiff_t moved = move_body(&connection->request_body, connection->client, connection->server);
    if (moved < 0)
        refuse(connection, "the body of the request is not coded as it says (chunked)");
    else
        px_egress_run_add_bytes(connection, (uint64_t)moved, 0);
}

/* ---- The response ---- */

static void fail(struct egress_connection *connection, const char *why)
{
    char text[200];
    snprintf(text, sizeof text, "its answer is not understood: %s", why);
    px_egress_answer_failed(connection, 502, EGRESS_WHY_CONNECT, text);
}

static void begin_upgraded(struct egress_connection *connection)
{
    connection->mode = EGRESS_MODE_TUNNEL;
    px_egress_tunnel_move(connection);
}

static void write_response_head(struct egress_connection *connection, const struct px_http_head *head)
{
    px_auto_buffer struct px_buffer to = {0};
    bool upgraded = head->status == 101;
    px_buffer_printf(&to, "HTTP/1.%d %d ", head->minor, head->status);
    add_text(&to, head->reason);
    px_buffer_add_string(&to, "\r\n");
    add_fields(&to, head, false);
    if (upgraded)
        px_buffer_add_string(&to, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    else if (head->status >= 200)
        px_buffer_add_string(&to, "Connection: close\r\n");
    px_buffer_add_string(&to, "\r\n");
    if (!px_buffer_ok(&to))
        return;
    bufferevent_write(connection->client, to.data, to.length);
    px_egress_run_add_bytes(connection, 0, to.length);
    px_egress_flow_hold(connection->server, connection->client); /* a server may send heads (1xx) without an end */
}

/* Returns true if the body follows now; the connection may be gone otherwise. */
static bool take_response_head(struct egress_connection *connection)
{
    static struct px_http_head head; /* one thread, and it is not used after this function */
    struct evbuffer *input = bufferevent_get_input(connection->server);
    size_t have = evbuffer_get_length(input);
    const char *bytes = have ? (const char *)evbuffer_pullup(input, -1) : NULL;
    size_t length = bytes ? px_http_head_length(bytes, have, &connection->response_scanned) : 0;
    enum px_http_framing framing;
    uint64_t body;
    if (!length) {
        if (have >= PX_HTTP_HEAD_MAX)
            fail(connection, "its head is too long");
        return false;
    }
    const char *why = px_http_response_parse(bytes, length, &head);
    if (!why)
        why = px_http_response_framing(&head, connection->answer_has_no_body, &framing, &body);
    if (!why && head.status == 101 && !connection->wants_upgrade)
        why = "it switches to a protocol that was not asked for";
    if (why) {
        fail(connection, why);
        return false;
    }
    write_response_head(connection, &head);
    evbuffer_drain(input, length);
    connection->response_scanned = 0;
    if (head.status == 101) {
        connection->response_started = true;
        begin_upgraded(connection);
        return false;
    }
    if (head.status < 200)
        return true; /* another head follows */
    connection->response_started = true;
    px_http_body_init(&connection->response_body, framing, body);
    return true;
}

void px_egress_plain_server_read(struct egress_connection *connection)
{
    while (!connection->response_started) {
        if (!take_response_head(connection))
            return;
        if (!connection->response_started && evbuffer_get_length(bufferevent_get_input(connection->server)) == 0)
            return;
    }
    ptrdiff_t moved = move_body(&connection->response_body, connection->server, connection->client);
    if (moved >= 0)
        px_egress_run_add_bytes(connection, 0, (uint64_t)moved);
    if (moved < 0 || connection->response_body.done)
        px_egress_connection_flush(connection);
}

void px_egress_plain_server_ended(struct egress_connection *connection)
{
    if (connection->response_started)
        px_egress_connection_flush(connection);
    else
        px_egress_answer_failed(connection, 502, EGRESS_WHY_CONNECT, "it closed the connection without an answer");
}
