/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/secret_relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/x509_vfy.h>

#include "base/cleanup.h"
#include "egress/http_body.h"
#include "egress/secret_http.h"
#include "egress/secret_side.h"

#define RELAY_OUTPUT_MAX 131072 /* bytes that wait for one side: nothing more is made for it */
#define RELAY_TEXT_MAX 512

enum request_stage {
    REQUEST_HEAD,
    REQUEST_BODY,
    REQUEST_WAIT, /* for the end of its response */
};

enum response_stage {
    RESPONSE_NONE, /* there is no request */
    RESPONSE_HEAD,
    RESPONSE_BODY,
};

struct px_secret_relay {
    char host[PX_HOST_NAME_MAX + 1];
    uint16_t port;
    struct px_secret_use *uses; /* those for this host; copies that share the texts */
    struct px_scrub_pattern *patterns;
    size_t count;

    struct px_side client, server;
    enum request_stage request_stage;
    enum response_stage response_stage;
    struct px_secret_request request;
    struct px_http_body request_body, response_body;
    enum px_http_framing response_framing;
    size_t request_scanned, response_scanned;
    unsigned long responses;
    struct px_scrub scrub;
    bool tunnel; /* after the upgrade to WebSocket */
    bool over;

    enum px_secret_problem problem;
    char text[RELAY_TEXT_MAX];
};

/* ---- The relay ---- */

static bool is_for(const struct px_secret_use *use, const char *host, uint16_t port)
{
    return use->secret->host.port == port && strcmp(use->secret->host.name, host) == 0;
}

bool px_secret_relay_wanted(const struct px_secret_use *uses, size_t count, const char *host, uint16_t port)
{
    for (size_t i = 0; i < count; i++)
        if (is_for(&uses[i], host, port))
            return true;
    return false;
}

void px_secret_relay_free(struct px_secret_relay *relay)
{
    if (!relay)
        return;
    px_side_done(&relay->client);
    px_side_done(&relay->server);
    px_scrub_done(&relay->scrub);
    free(relay->uses);
    free(relay->patterns);
    free(relay);
}

static SSL *accept_side(const struct px_secret_relay *relay)
{
    SSL *ssl = relay->count ? SSL_new(relay->uses[0].secret->context) : NULL;
    if (ssl)
        SSL_set_accept_state(ssl);
    return ssl;
}

struct px_secret_relay *px_secret_relay_new(struct px_authority *authority, const struct px_secret_use *uses,
                                            size_t count, const char *host, uint16_t port)
{
    struct px_secret_relay *relay = calloc(1, sizeof *relay);
    if (!relay)
        return NULL;
    relay->port = port;
    snprintf(relay->host, sizeof relay->host, "%s", host);
    relay->uses = calloc(count ? count : 1, sizeof *relay->uses);
    relay->patterns = calloc(count ? count : 1, sizeof *relay->patterns);
    for (size_t i = 0; relay->uses && relay->patterns && i < count; i++)
        if (is_for(&uses[i], host, port)) {
            relay->patterns[relay->count] =
                (struct px_scrub_pattern){uses[i].secret->value, uses[i].replacement, uses[i].secret->length};
            relay->uses[relay->count++] = uses[i];
        }
    px_scrub_init(&relay->scrub, relay->patterns, relay->count);
    bool good = relay->count && px_side_init(&relay->client, accept_side(relay));
    if (good && px_side_init(&relay->server, px_authority_connect(authority, host)))
        return relay;
    px_secret_relay_free(relay);
    return NULL;
}

enum px_secret_problem px_secret_relay_problem(const struct px_secret_relay *relay, const char **ret_text)
{
    *ret_text = relay->text;
    return relay->problem;
}

/* ---- Problems ---- */

static void close_client(struct px_secret_relay *relay)
{
    px_side_close(&relay->client);
    relay->over = true;
}

/* Tells the script with a response of ours, if none of the server's has begun. */
static void refuse(struct px_secret_relay *relay, enum px_secret_problem problem, int status, const char *about)
{
    char head[256];
    const char *reason = status == 504 ? "Gateway Timeout" : status == 502 ? "Bad Gateway" : "Refused by pyexec";
    relay->problem = problem;
    snprintf(relay->text, sizeof relay->text, "pyexec %s %s:%u: %s.",
             status >= 500 ? "could not reach" : "refused a request to", relay->host, relay->port, about);
    if (px_side_is_ready(&relay->client) && relay->response_stage != RESPONSE_BODY && !relay->tunnel) {
        int length = snprintf(head, sizeof head,
                              "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n"
                              "Connection: close\r\n\r\n",
                              status, reason, strlen(relay->text) + 1);
        px_side_write(&relay->client, head, (size_t)length);
        px_side_write(&relay->client, relay->text, strlen(relay->text));
        px_side_write(&relay->client, "\n", 1);
    }
    close_client(relay);
}

static void server_failed(struct px_secret_relay *relay)
{
    char about[256];
    long result = SSL_get_verify_result(relay->server.ssl);
    if (result != X509_V_OK)
        snprintf(
            about, sizeof about,
            "its certificate is not valid (%s), so it did not get the secret. For a private authority an operator can set "
            "ca_file in the section [egress]",
            X509_verify_cert_error_string(result));
    else
        snprintf(about, sizeof about, "TLS with it failed");
    refuse(relay, PX_SECRET_PROBLEM_SERVER, 502, about);
}

static void bad_response(struct px_secret_relay *relay, const char *why)
{
    refuse(relay, PX_SECRET_PROBLEM_SERVER, 502, why);
}

/* ---- Requests ---- */

/* The script is told what is wrong when its request is there, since until then nothing could be answered. Between two requests the
 * connection is closed instead (move_response): libraries then open another one. */
static bool server_takes_request(struct px_secret_relay *relay)
{
    if (relay->server.failed)
        server_failed(relay);
    else if (relay->server.plain.length && !relay->responses)
        bad_response(relay, "it sent an answer before there was a request");
    else if (relay->server.ended && !relay->responses)
        bad_response(relay, "it closed the connection before it got a request");
    return !relay->over && px_side_is_ready(&relay->server) && !relay->server.ended;
}

static bool take_request_head(struct px_secret_relay *relay)
{
    static struct px_http_head head; /* one thread, and it is not used after this function */
    struct px_buffer *plain = &relay->client.plain;
    const char *why = NULL;
    size_t length = plain->length ? px_http_head_length(plain->data, plain->length, &relay->request_scanned) : 0;
    if (!length && plain->length < PX_HTTP_HEAD_MAX)
        return false;
    if (!server_takes_request(relay))
        return false;
    if (!length || length > PX_HTTP_HEAD_MAX)
        why = "the head of the request is too long";
    if (!why)
        why = px_http_request_parse(plain->data, length, &head);
    struct px_buffer made = {0};
    enum px_secret_refusal refusal = PX_SECRET_BAD_PROTOCOL;
    if (!why)
        refusal = px_secret_http_request(&head, length, relay->host, relay->port, relay->uses, relay->count,
                                         &relay->request, &made, &why);
    if (refusal == PX_SECRET_GOOD && px_buffer_ok(&made))
        px_side_write(&relay->server, made.data, made.length);
    if (made.data)
        explicit_bzero(made.data, made.capacity);
    px_buffer_done(&made);
    if (refusal != PX_SECRET_GOOD) {
        refuse(relay, refusal == PX_SECRET_OTHER_HOST ? PX_SECRET_PROBLEM_NAME : PX_SECRET_PROBLEM_PROTOCOL,
               refusal == PX_SECRET_OTHER_HOST ? 403 : 400, why);
        return false;
    }
    px_buffer_consume(plain, length);
    relay->request_scanned = 0;
    px_http_body_init(&relay->request_body, relay->request.framing, relay->request.length);
    relay->request_stage = relay->request_body.done ? REQUEST_WAIT : REQUEST_BODY;
    relay->response_stage = RESPONSE_HEAD;
    return true;
}

static bool take_request_body(struct px_secret_relay *relay)
{
    struct px_buffer *plain = &relay->client.plain;
    ptrdiff_t taken = plain->length ? px_http_body_take(&relay->request_body, plain->data, plain->length) : 0;
    if (taken < 0) {
        refuse(relay, PX_SECRET_PROBLEM_PROTOCOL, 400, "the body of the request is not coded as it says (chunked)");
        return false;
    }
    px_side_write(&relay->server, plain->data, (size_t)taken);
    px_buffer_consume(plain, (size_t)taken);
    if (relay->request_body.done)
        relay->request_stage = REQUEST_WAIT;
    return taken > 0;
}

static bool move_request(struct px_secret_relay *relay)
{
    if (relay->over || !px_side_is_ready(&relay->client))
        return false;
    if (relay->tunnel) {
        struct px_buffer *plain = &relay->client.plain;
        bool moved = plain->length > 0;
        px_side_write(&relay->server, plain->data, plain->length);
        px_buffer_consume(plain, plain->length);
        return moved;
    }
    if (relay->request_stage == REQUEST_HEAD)
        return take_request_head(relay);
    return relay->request_stage == REQUEST_BODY && take_request_body(relay);
}

/* ---- Responses ---- */

/* A part of the answer has been passed on: the script sees one without an end. */
static void break_response(struct px_secret_relay *relay, const char *why)
{
    relay->over = true;
    relay->problem = PX_SECRET_PROBLEM_SERVER;
    snprintf(relay->text, sizeof relay->text, "pyexec could not read the answer of %s:%u: %s.", relay->host,
             relay->port, why);
}

static void send_content(struct px_secret_relay *relay, const struct px_buffer *content)
{
    char line[32];
    if (!px_buffer_ok(content)) {
        relay->over = true;
        return;
    }
    if (!content->length)
        return;
    bool chunked = relay->response_framing != PX_HTTP_LENGTH && !relay->tunnel;
    if (chunked)
        px_side_write(&relay->client, line, (size_t)snprintf(line, sizeof line, "%zx\r\n", content->length));
    px_side_write(&relay->client, content->data, content->length);
    if (chunked)
        px_side_write(&relay->client, "\r\n", 2);
}

static void end_response(struct px_secret_relay *relay)
{
    px_auto_buffer struct px_buffer content = {0};
    px_scrub_end(&relay->scrub, &content);
    send_content(relay, &content);
    if (relay->response_framing == PX_HTTP_CHUNKED || relay->response_framing == PX_HTTP_UNTIL_END)
        px_side_write(&relay->client, "0\r\n\r\n", 5);
    bool closes = relay->request.closes || relay->response_framing == PX_HTTP_UNTIL_END ||
                  relay->request_stage == REQUEST_BODY || relay->server.ended;
    relay->response_stage = RESPONSE_NONE;
    relay->request_stage = REQUEST_HEAD;
    relay->responses++;
    if (closes)
        close_client(relay);
}

/* Without this check, the end of a head that is none would be waited for. */
static bool begins_as_response(const struct px_buffer *bytes)
{
    static const char start[] = "HTTP/1.";
    size_t length = bytes->length < sizeof start - 1 ? bytes->length : sizeof start - 1;
    return length == 0 || memcmp(bytes->data, start, length) == 0;
}

/* The head is scrubbed as a whole, before it is parsed. */
static bool take_response_head(struct px_secret_relay *relay)
{
    static struct px_http_head head; /* one thread, and it is not used after this function */
    static const struct px_http_text close_word = {"close", 5};
    struct px_buffer *plain = &relay->server.plain;
    px_auto_buffer struct px_buffer clean = {0}, made = {0};
    uint64_t body = 0;
    size_t length = plain->length ? px_http_head_length(plain->data, plain->length, &relay->response_scanned) : 0;
    if (!length && !begins_as_response(plain)) {
        bad_response(relay, "it answers with something else than HTTP/1");
        return false;
    }
    if (!length && plain->length < PX_HTTP_HEAD_MAX)
        return false;
    px_scrub_take(&relay->scrub, plain->data, length, &clean);
    px_scrub_end(&relay->scrub, &clean);
    const char *why = length ? NULL : "the head of its answer is too long";
    if (!why && !px_buffer_ok(&clean))
        why = "there is no memory";
    if (!why)
        why = px_http_response_parse(clean.data, clean.length, &head);
    relay->request.closes |= !why && (head.minor == 0 || px_http_list_has(&head, "connection", close_word));
    if (!why)
        why = px_secret_http_response(&head, &relay->request, &relay->response_framing, &body, &made);
    if (why || !px_buffer_ok(&made)) {
        bad_response(relay, why ? why : "there is no memory");
        return false;
    }
    px_side_write(&relay->client, made.data, made.length);
    px_buffer_consume(plain, length);
    relay->response_scanned = 0;
    if (head.status == 101) {
        relay->tunnel = true;
    } else if (head.status >= 200) {
        relay->response_stage = RESPONSE_BODY;
        px_http_body_init(&relay->response_body, relay->response_framing, body);
        if (relay->response_body.done)
            end_response(relay);
    }
    return true;
}

/* Takes all content that is there. */
static bool take_response_body(struct px_secret_relay *relay)
{
    struct px_buffer *plain = &relay->server.plain;
    px_auto_buffer struct px_buffer content = {0};
    size_t at = 0;
    while (at < plain->length && !relay->response_body.done) {
        size_t start = 0;
        ptrdiff_t taken = px_http_body_next(&relay->response_body, plain->data + at, plain->length - at, &start);
        if (taken < 0) {
            break_response(relay, "bad chunks");
            return false;
        }
        px_scrub_take(&relay->scrub, plain->data + at + start, (size_t)taken - start, &content);
        at += (size_t)taken;
    }
    px_buffer_consume(plain, at);
    bool ended = relay->server.ended && !plain->length;
    /* Without "close notify" anybody on the way can have cut the answer (RFC 9112, 9.8). */
    bool done = relay->response_body.done ||
                (relay->response_framing == PX_HTTP_UNTIL_END && ended && px_side_was_closed(&relay->server));
    /* A body with a length is not waited for before its end. */
    if (!done && relay->response_framing != PX_HTTP_LENGTH)
        px_scrub_pause(&relay->scrub, &content);
    send_content(relay, &content);
    if (done)
        end_response(relay);
    else if (ended)
        break_response(relay, "it ended too early");
    return at > 0 || done;
}

static bool take_tunnel(struct px_secret_relay *relay)
{
    struct px_buffer *plain = &relay->server.plain;
    px_auto_buffer struct px_buffer content = {0};
    bool moved = plain->length > 0;
    px_scrub_take(&relay->scrub, plain->data, plain->length, &content);
    px_buffer_consume(plain, plain->length);
    if (relay->server.ended)
        px_scrub_end(&relay->scrub, &content);
    else
        px_scrub_pause(&relay->scrub, &content);
    send_content(relay, &content);
    if (relay->server.ended)
        close_client(relay);
    return moved;
}

static bool move_response(struct px_secret_relay *relay)
{
    if (relay->over)
        return false;
    if (relay->tunnel)
        return take_tunnel(relay);
    switch (relay->response_stage) {
    case RESPONSE_NONE:
        /* Between two requests a server may close the connection, or say why it will; libraries then open another one. */
        if (relay->responses && (relay->server.ended || relay->server.plain.length))
            close_client(relay);
        return false;
    case RESPONSE_HEAD:
        if (take_response_head(relay))
            return true;
        if (relay->over || !relay->server.ended)
            return false;
        if (relay->server.plain.length)
            bad_response(relay, "it closed the connection within the head of its answer");
        else if (relay->responses)
            close_client(relay);
        else
            bad_response(relay, "it closed the connection without an answer");
        return false;
    case RESPONSE_BODY:
        return take_response_body(relay);
    }
    return false;
}

/* ---- Both ---- */

static bool has_room(struct px_side *side, struct evbuffer *out)
{
    px_side_flush(side, out);
    return evbuffer_get_length(out) < RELAY_OUTPUT_MAX;
}

bool px_secret_relay_move(struct px_secret_relay *relay, const struct px_secret_ends *ends)
{
    bool moved;
    do {
        moved = false;
        if (has_room(&relay->server, ends->server_out)) {
            moved |= px_side_read(&relay->client, ends->client_in, ends->client_ended);
            moved |= move_request(relay);
        }
        if (has_room(&relay->client, ends->client_out)) {
            moved |= px_side_read(&relay->server, ends->server_in, ends->server_ended);
            moved |= move_response(relay);
        }
        px_side_flush(&relay->client, ends->client_out);
        px_side_flush(&relay->server, ends->server_out);
    } while (moved && !relay->over);
    /* The script went away, or does not accept the certificate. */
    if (relay->client.failed || (relay->client.ended && (relay->tunnel || relay->request_stage != REQUEST_WAIT)))
        relay->over = true;
    if (relay->server.failed && px_side_is_ready(&relay->client) && relay->response_stage == RESPONSE_HEAD &&
        !relay->over)
        server_failed(relay);
    px_side_flush(&relay->client, ends->client_out);
    return !relay->over;
}

void px_secret_relay_silent(struct px_secret_relay *relay, struct evbuffer *client_out, const char *about)
{
    struct px_buffer *plain = &relay->client.plain;
    bool request_waits = relay->response_stage == RESPONSE_HEAD ||
                         (relay->response_stage == RESPONSE_NONE && plain->length &&
                          px_http_head_length(plain->data, plain->length, &relay->request_scanned));
    if (request_waits && !relay->tunnel)
        refuse(relay, PX_SECRET_PROBLEM_SILENT, 504, about);
    px_side_flush(&relay->client, client_out);
}
