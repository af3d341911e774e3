/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/secret_http.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "egress/http_target.h"

#define OWN_FIELDS_MAX 256 /* bytes of the fields that every request gets, without Host */

static void add_text(struct px_buffer *to, struct px_http_text text)
{
    px_buffer_add(to, text.bytes, text.length);
}

static void add_field(struct px_buffer *to, const struct px_http_field *field)
{
    add_text(to, field->name);
    px_buffer_add_string(to, ": ");
    add_text(to, field->value);
    px_buffer_add_string(to, "\r\n");
}

/* ---- Requests ---- */

static const char *check_target(const struct px_http_head *head)
{
    if (head->minor != 1)
        return "a request to a host with a secret must be HTTP/1.1";
    if (px_http_text_is(head->method, "CONNECT") || px_http_text_is(head->method, "TRACE"))
        return "a host with a secret gets no CONNECT and no TRACE";
    if (head->target.bytes[0] != '/' &&
        !(px_http_text_is(head->target, "*") && px_http_text_is(head->method, "OPTIONS")))
        return "a request inside of a tunnel must have a path";
    for (size_t i = 0; i < head->target.length; i++)
        if ((unsigned char)head->target.bytes[i] <= ' ' || (unsigned char)head->target.bytes[i] >= 0x7f)
            return "the path has a byte that is not printable ASCII";
    return NULL;
}

/* Only WebSocket may take over the connection. */
static const char *check_upgrade(const struct px_http_head *head, struct px_secret_request *ret)
{
    static const struct px_http_text word = {"upgrade", 7};
    struct px_http_text upgrade = {NULL, 0};
    size_t count = px_http_field_count(head, "upgrade", &upgrade);
    ret->websocket = false;
    if (count == 0 || (count == 1 && px_http_text_is(upgrade, "h2c")))
        return NULL; /* the field is left out, and so the server does not change to HTTP/2 */
    if (count > 1 || !px_http_text_is(upgrade, "websocket"))
        return "the request asks for an upgrade to another protocol than WebSocket";
    if (!px_http_text_is(head->method, "GET") || !px_http_list_has(head, "connection", word) ||
        ret->framing != PX_HTTP_NO_BODY)
        return "the upgrade to WebSocket is incomplete";
    ret->websocket = true;
    return NULL;
}

static enum px_secret_refusal check_host(const struct px_http_head *head, const char *host, uint16_t port,
                                         const char **ret_why)
{
    struct px_http_authority authority;
    struct px_http_text text = {NULL, 0};
    size_t count = px_http_field_count(head, "host", &text);
    *ret_why = count ? "the request has two fields Host" : "the request has no field Host";
    if (count != 1)
        return PX_SECRET_BAD_PROTOCOL;
    *ret_why = "the request is for another host (field Host) than the connection";
    if (px_http_authority_parse(text, PX_HOST_ENTRY_DEFAULT_PORT, &authority) || strcmp(authority.name, host) != 0 ||
        authority.port != port)
        return PX_SECRET_OTHER_HOST;
    return PX_SECRET_GOOD;
}

/* HTTP2-Settings belongs to the upgrade that is left out. Compressed frames of WebSocket would hide a secret. */
static bool is_dropped(const struct px_http_head *head, const struct px_http_field *field,
                       const struct px_secret_use *uses, size_t count)
{
    static const char *const names[] = {"host", "accept-encoding", "sec-websocket-extensions", "http2-settings"};
    for (size_t i = 0; i < PX_COUNT(names); i++)
        if (px_http_text_is(field->name, names[i]))
            return true;
    for (size_t i = 0; i < count; i++)
        if (px_http_text_is(field->name, uses[i].secret->header))
            return true;
    return px_http_field_is_hop(head, field);
}

static size_t room_for(size_t head_length, const char *host, const struct px_secret_use *uses, size_t count)
{
    size_t room = head_length + 2 * PX_HTTP_FIELDS_MAX + strlen(host) + OWN_FIELDS_MAX;
    for (size_t i = 0; i < count; i++)
        room += strlen(uses[i].secret->header) + strlen(uses[i].secret->before) + uses[i].secret->length +
                strlen(uses[i].secret->after) + sizeof ": \r\n";
    return room;
}

static void write_request(const struct px_http_head *head, const char *host, uint16_t port,
                          const struct px_secret_use *uses, size_t count, const struct px_secret_request *request,
                          struct px_buffer *to)
{
    add_text(to, head->method);
    px_buffer_add_byte(to, ' ');
    add_text(to, head->target);
    px_buffer_printf(to, " HTTP/1.1\r\nHost: %s", host);
    if (port != PX_HOST_ENTRY_DEFAULT_PORT)
        px_buffer_printf(to, ":%u", port);
    px_buffer_add_string(to, "\r\nAccept-Encoding: identity\r\n");
    for (size_t i = 0; i < count; i++) {
        const struct px_secret *secret = uses[i].secret;
        px_buffer_add_string(to, secret->header);
        px_buffer_add_string(to, ": ");
        px_buffer_add_string(to, secret->before);
        px_buffer_add(to, secret->value, secret->length);
        px_buffer_add_string(to, secret->after);
        px_buffer_add_string(to, "\r\n");
    }
    for (size_t i = 0; i < head->count; i++)
        if (!is_dropped(head, &head->fields[i], uses, count))
            add_field(to, &head->fields[i]);
    px_buffer_add_string(to, request->websocket ? "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                             : request->closes  ? "Connection: close\r\n\r\n"
                                                : "Connection: keep-alive\r\n\r\n");
}

enum px_secret_refusal px_secret_http_request(const struct px_http_head *head, size_t head_length, const char *host,
                                              uint16_t port, const struct px_secret_use *uses, size_t count,
                                              struct px_secret_request *ret, struct px_buffer *to, const char **ret_why)
{
    static const struct px_http_text close_word = {"close", 5};
    const char *why = px_http_request_framing(head, &ret->framing, &ret->length);
    if (!why)
        why = check_target(head);
    if (!why)
        why = check_upgrade(head, ret);
    if (why) {
        *ret_why = why;
        return PX_SECRET_BAD_PROTOCOL;
    }
    enum px_secret_refusal refusal = check_host(head, host, port, ret_why);
    if (refusal)
        return refusal;
    ret->no_body = px_http_text_is(head->method, "HEAD");
    ret->closes = px_http_list_has(head, "connection", close_word);
    /* A buffer that grows leaves copies of what it had. */
    if (px_buffer_reserve(to, room_for(head_length, host, uses, count)))
        write_request(head, host, port, uses, count, ret, to);
    return PX_SECRET_GOOD;
}

/* ---- Responses ---- */

/* A secret in a compressed body would not be found. */
static const char *check_coding(const struct px_http_head *head, enum px_http_framing framing)
{
    for (size_t i = 0; i < head->count; i++)
        if (framing != PX_HTTP_NO_BODY && px_http_text_is(head->fields[i].name, "content-encoding") &&
            head->fields[i].value.length && !px_http_text_is(head->fields[i].value, "identity"))
            return "its answer is compressed, although only 'identity' was asked for, so a secret in it could not be found";
    return NULL;
}

static bool is_dropped_from_response(const struct px_http_head *head, const struct px_http_field *field)
{
    static const char *const names[] = {"transfer-encoding", "trailer", "alt-svc", "sec-websocket-extensions"};
    for (size_t i = 0; i < PX_COUNT(names); i++)
        if (px_http_text_is(field->name, names[i]))
            return true;
    return px_http_field_is_hop(head, field);
}

const char *px_secret_http_response(const struct px_http_head *head, const struct px_secret_request *request,
                                    enum px_http_framing *ret, uint64_t *ret_length, struct px_buffer *to)
{
    const char *why = px_http_response_framing(head, request->no_body, ret, ret_length);
    if (!why)
        why = check_coding(head, *ret);
    if (!why && head->status == 101 && !request->websocket)
        why = "it switches to a protocol that was not asked for";
    if (why)
        return why;
    px_buffer_printf(to, "HTTP/1.1 %d ", head->status);
    add_text(to, head->reason);
    px_buffer_add_string(to, "\r\n");
    for (size_t i = 0; i < head->count; i++)
        if (!is_dropped_from_response(head, &head->fields[i]))
            add_field(to, &head->fields[i]);
    if (*ret == PX_HTTP_CHUNKED || *ret == PX_HTTP_UNTIL_END)
        px_buffer_add_string(to, "Transfer-Encoding: chunked\r\n");
    if (head->status == 101)
        px_buffer_add_string(to, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    else if (head->status >= 200 && (request->closes || *ret == PX_HTTP_UNTIL_END))
        px_buffer_add_string(to, "Connection: close\r\n");
    px_buffer_add_string(to, "\r\n");
    return NULL;
}
