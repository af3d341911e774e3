/* SPDX-License-Identifier: Apache-2.0 */
/* Tunnels to hosts with secrets: secret_relay.c between the two sides of a connection. */
#include <event2/buffer.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "egress/egress_private.h"

/* ---- Packets ---- */

static json_t *null_or(const char *text)
{
    return text ? json_string(text) : json_null();
}

void px_egress_secret_authority(struct egress *egress, const int *fds, size_t count)
{
    const char *why = NULL, *certificate = NULL;
    if (egress->authority)
        why = "the authority came twice";
    else if (count < 2)
        why = "the files of the authority did not arrive";
    else
        why = px_authority_new(fds[0], fds[1], &egress->authority);
    if (!why)
        certificate = px_authority_certificate(egress->authority);
    (void)px_egress_packets_send_now(egress, json_pack("{s:s, s:o, s:o}", "event", "authority", "certificate",
                                                       null_or(certificate), "why", null_or(why)));
}

void px_egress_secret_add(struct egress *egress, const json_t *packet, const int *fds, size_t count)
{
    const char *name = json_string_value(json_object_get(packet, "name")), *why;
    if (!egress->authority || !count)
        why = "its value did not arrive, or there is no authority";
    else
        why = px_secret_add(&egress->secrets, egress->authority, packet, fds[0]);
    (void)px_egress_packets_send_now(
        egress, json_pack("{s:s, s:s, s:o}", "event", "secret", "name", name ? name : "", "why", null_or(why)));
}

/* ---- Connections ---- */

bool px_egress_secret_begin(struct egress_connection *connection)
{
    const struct egress_run *run = connection->run;
    const struct px_http_authority *target = &connection->target;
    if (!px_secret_relay_wanted(run->secrets, run->secret_count, target->name, target->port))
        return false;
    connection->mode = EGRESS_MODE_SECRET;
    connection->secret =
        px_secret_relay_new(run->egress->authority, run->secrets, run->secret_count, target->name, target->port);
    if (connection->secret)
        px_egress_secret_move(connection);
    else
        px_egress_connection_close(connection);
    return true;
}

static void report_problem(struct egress_connection *connection)
{
    const char *text;
    enum egress_why why = EGRESS_WHY_CONNECT;
    switch (px_secret_relay_problem(connection->secret, &text)) {
    case PX_SECRET_NO_PROBLEM:
        return;
    case PX_SECRET_PROBLEM_PROTOCOL:
        why = EGRESS_WHY_PROTOCOL;
        break;
    case PX_SECRET_PROBLEM_NAME:
        why = EGRESS_WHY_NAME_MISMATCH;
        break;
    case PX_SECRET_PROBLEM_SILENT:
        why = EGRESS_WHY_TIMEOUT;
        break;
    case PX_SECRET_PROBLEM_SERVER:
        break;
    }
    px_egress_run_count(connection->run, connection->target.name, connection->target.port, why, NULL, text);
}

/* Bytes are counted as the script sends and gets them. Back-pressure: the relay takes no more than a part of what is read while one side
 * does not take its bytes, and so the watermark of that buffer stops the reading. */
void px_egress_secret_move(struct egress_connection *connection)
{
    const struct px_secret_ends ends = {
        .client_in = bufferevent_get_input(connection->client),
        .client_out = bufferevent_get_output(connection->client),
        .server_in = bufferevent_get_input(connection->server),
        .server_out = bufferevent_get_output(connection->server),
        .client_ended = connection->client_ended,
        .server_ended = connection->server_ended,
    };
    size_t had = evbuffer_get_length(ends.client_in), waited = evbuffer_get_length(ends.client_out);
    bool goes_on = px_secret_relay_move(connection->secret, &ends);
    px_egress_run_add_bytes(connection, had - evbuffer_get_length(ends.client_in),
                            evbuffer_get_length(ends.client_out) - waited);
    if (goes_on)
        return;
    report_problem(connection);
    if (connection->client_ended)
        px_egress_connection_close(connection);
    else
        px_egress_connection_flush(connection);
}

void px_egress_secret_silent(struct egress_connection *connection, const char *about)
{
    px_secret_relay_silent(connection->secret, bufferevent_get_output(connection->client), about);
    report_problem(connection);
    px_egress_connection_flush(connection);
}
