/* SPDX-License-Identifier: Apache-2.0 */
/* What a script is told when its request is refused or failed. Libraries show different parts of an answer: requests, urllib3 and
 * aiohttp the reason phrase of a refused CONNECT, others the body. So the first sentence is in both. */
#include <event2/buffer.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "egress/client_hello.h"
#include "egress/egress_private.h"

static const char *const why_names[] = {PX_EGRESS_DENIALS, "", "resolve", "connect", "timeout", "upstream", NULL};

/* A fatal alert, access_denied (RFC 8446, 6.2). */
static const unsigned char tls_refused[] = {0x15, 3, 1, 0, 2, 2, 49};

const char *px_egress_why_name(enum egress_why why)
{
    return why_names[why];
}

static int status_of(enum egress_why why, const struct egress_connection *connection)
{
    if (why == EGRESS_WHY_LIMIT)
        return 429;
    return why == EGRESS_WHY_PROTOCOL && !connection->target.name[0] ? 400 : 403;
}

/* Sends the answer in the form that the client reads now, and ends the connection. */
static void answer(struct egress_connection *connection, int status, const char *reason, const char *text)
{
    px_auto_buffer struct px_buffer head = {0};
    struct evbuffer *input = bufferevent_get_input(connection->client);
    unsigned char first = 0;
    bool in_tunnel = connection->connect && connection->stage >= EGRESS_STAGE_PEEK;
    evbuffer_copyout(input, &first, 1);
    if (connection->response_started ||
        (in_tunnel && connection->mode == EGRESS_MODE_TUNNEL && first != PX_CLIENT_HELLO_RECORD)) {
        /* Nothing can be said any more, or in a way that is understood. */
    } else if (in_tunnel && connection->mode == EGRESS_MODE_TUNNEL) {
        bufferevent_write(connection->client, tls_refused, sizeof tls_refused);
    } else {
        px_buffer_printf(&head,
                         "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n"
                         "Connection: close\r\nProxy-Connection: close\r\n\r\n",
                         status, reason, strlen(text) + 1);
        px_buffer_printf(&head, "%s\n", text);
        if (px_buffer_ok(&head))
            bufferevent_write(connection->client, head.data, head.length);
    }
    px_egress_connection_flush(connection);
}

static void name_target(const struct egress_connection *connection, char *ret, size_t size)
{
    const struct px_http_authority *target = &connection->target;
    const char *name = *target->name ? target->name : target->shown;
    if (!*name)
        snprintf(ret, size, "this request");
    else if (target->port)
        snprintf(ret, size, "%s:%u", name, target->port);
    else
        snprintf(ret, size, "%s", name);
}

/* *ret_first is a sentence without its full stop, *ret_more says what to do. */
static void describe(struct egress_connection *connection, enum egress_why why, const char *address, const char *about,
                     struct px_buffer *first, struct px_buffer *more)
{
    char target[PX_HOST_NAME_MAX + 16];
    name_target(connection, target, sizeof target);
    px_buffer_printf(first, "pyexec refused %s: ", target);
    switch (why) {
    case EGRESS_WHY_HOST:
        if (about) {
            px_buffer_printf(first, "%s", about);
            px_buffer_printf(more, "allowed_hosts has names only, such as \"api.example.com:443\".");
        } else {
            px_buffer_printf(first, "it is not in allowed_hosts");
            px_buffer_printf(
                more,
                "Add \"%s\" to the policy field allowed_hosts; if there is a ceiling, an operator must allow it there too.",
                target);
        }
        return;
    case EGRESS_WHY_PORT:
        px_buffer_printf(first, "allowed_hosts has this host, but not this port");
        px_buffer_printf(more, "Add \"%s\" to the policy field allowed_hosts. An entry without a port means port 443.",
                         target);
        return;
    case EGRESS_WHY_ADDRESS:
        px_buffer_printf(first, "its name leads to %s, which is %s", address, about);
        px_buffer_printf(
            more,
            "Only public addresses can be reached. An operator can add a network to allow_private in the section [egress] of the configuration.");
        return;
    case EGRESS_WHY_NAME_MISMATCH:
        px_buffer_printf(first, "%s", about);
        px_buffer_printf(more,
                         "The name in TLS (SNI) or in the field Host must be the one that the proxy was asked for.");
        return;
    case EGRESS_WHY_LIMIT:
        px_buffer_printf(first, "%s", about);
        px_buffer_printf(
            more,
            "Close connections that are not needed, or try again later. The limit is in the section [egress] of the configuration.");
        return;
    default:
        px_buffer_printf(first, "%s", about);
        px_buffer_printf(
            more,
            "The proxy passes on HTTP/1.1 and TLS only. Use http://, https://, ws:// or wss:// with an unchanged HTTP library.");
    }
}

void px_egress_answer_denied(struct egress_connection *connection, enum egress_why why, const struct sockaddr *address,
                             const char *about)
{
    const struct px_http_authority *target = &connection->target;
    const char *host = *target->name ? target->name : target->shown;
    char shown[INET6_ADDRSTRLEN] = "";
    px_auto_buffer struct px_buffer first = {0}, more = {0}, text = {0};
    if (address)
        px_ip_address_format(address, shown, sizeof shown);
    describe(connection, why, shown, about, &first, &more);
    px_buffer_printf(&text, "%s. %s", px_buffer_shown(&first), px_buffer_shown(&more));
    px_egress_run_count(connection->run, host, target->port, why, address, px_buffer_shown(&text));
    answer(connection, status_of(why, connection), px_buffer_shown(&first), px_buffer_shown(&text));
}

void px_egress_answer_failed(struct egress_connection *connection, int status, enum egress_why why, const char *about)
{
    const struct px_http_authority *target = &connection->target;
    px_auto_buffer struct px_buffer text = {0};
    char shown[PX_HOST_NAME_MAX + 16];
    name_target(connection, shown, sizeof shown);
    px_buffer_printf(&text, "pyexec could not reach %s: %s", shown, about);
    /* The row of a connection that was made says "allowed". */
    if (!connection->counted)
        px_egress_run_count(connection->run, target->name, target->port, why, NULL, NULL);
    answer(connection, status, px_buffer_shown(&text), px_buffer_shown(&text));
}
