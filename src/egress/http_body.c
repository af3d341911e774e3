/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/http_body.h"

/* RFC 9112, 7.1:  SIZE[;EXTENSIONS] CR LF  DATA CR LF  …  0[;EXTENSIONS] CR LF  [TRAILER CR LF …] CR LF */
enum chunk_state {
    CHUNK_SIZE,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER_START,
    CHUNK_TRAILER,
    CHUNK_TRAILER_LF,
    CHUNK_LAST_LF,
};
#define CHUNK_DIGITS_MAX 15

void px_http_body_init(struct px_http_body *body, enum px_http_framing framing, uint64_t length)
{
    *body = (struct px_http_body){.framing = framing, .left = framing == PX_HTTP_LENGTH ? length : 0};
    body->done = framing == PX_HTTP_NO_BODY || (framing == PX_HTTP_LENGTH && length == 0);
}

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    return byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
}

static bool is_line_byte(char byte)
{
    return (unsigned char)byte >= ' ' ? byte != 0x7f : byte == '\t';
}

/* A chunk's first line. Returns the next state, or -1. */
static int take_size_byte(struct px_http_body *body, char byte)
{
    int digit = hex_digit(byte);
    if (++body->line > PX_HTTP_CHUNK_LINE_MAX)
        return -1;
    if (body->state == CHUNK_SIZE && digit >= 0) {
        body->left = body->left * 16 + (uint64_t)digit;
        return ++body->digits <= CHUNK_DIGITS_MAX ? CHUNK_SIZE : -1;
    }
    if (byte == '\r')
        return body->digits ? CHUNK_SIZE_LF : -1;
    if (body->state == CHUNK_SIZE)
        return body->digits && byte == ';' ? CHUNK_EXTENSION : -1;
    return is_line_byte(byte) ? CHUNK_EXTENSION : -1;
}

/* The fields after the last chunk. A folded line would begin with a space. */
static int take_trailer_byte(struct px_http_body *body, char byte)
{
    if (++body->line > PX_HTTP_TRAILERS_MAX)
        return -1;
    if (byte == '\r')
        return body->state == CHUNK_TRAILER_START ? CHUNK_LAST_LF : CHUNK_TRAILER_LF;
    if (body->state == CHUNK_TRAILER_START && (byte == ' ' || byte == '\t' || byte == ':'))
        return -1;
    return is_line_byte(byte) ? CHUNK_TRAILER : -1;
}

static int after_size(struct px_http_body *body)
{
    bool last = body->left == 0;
    body->line = 0;
    body->digits = 0;
    return last ? CHUNK_TRAILER_START : CHUNK_DATA;
}

static int take_chunk_byte(struct px_http_body *body, char byte)
{
    switch ((enum chunk_state)body->state) {
    case CHUNK_SIZE:
    case CHUNK_EXTENSION:
        return take_size_byte(body, byte);
    case CHUNK_SIZE_LF:
        return byte == '\n' ? after_size(body) : -1;
    case CHUNK_DATA_CR:
        return byte == '\r' ? CHUNK_DATA_LF : -1;
    case CHUNK_DATA_LF:
        return byte == '\n' ? CHUNK_SIZE : -1;
    case CHUNK_TRAILER_START:
    case CHUNK_TRAILER:
        return take_trailer_byte(body, byte);
    case CHUNK_TRAILER_LF:
        return byte == '\n' ? CHUNK_TRAILER_START : -1;
    case CHUNK_LAST_LF:
        body->done = byte == '\n';
        return body->done ? CHUNK_LAST_LF : -1;
    case CHUNK_DATA:
        break;
    }
    return -1;
}

static size_t take_data(struct px_http_body *body, size_t length)
{
    size_t taken = length < body->left ? length : (size_t)body->left;
    body->left -= taken;
    return taken;
}

ptrdiff_t px_http_body_next(struct px_http_body *body, const char *bytes, size_t length, size_t *ret_start)
{
    size_t at = 0;
    *ret_start = 0;
    if (body->framing == PX_HTTP_UNTIL_END)
        return (ptrdiff_t)length;
    if (body->framing != PX_HTTP_CHUNKED) {
        at = take_data(body, length);
        body->done = body->left == 0;
        return (ptrdiff_t)at;
    }
    while (at < length && !body->done) {
        if (body->state == CHUNK_DATA) {
            *ret_start = at;
            at += take_data(body, length - at);
            if (body->left == 0)
                body->state = CHUNK_DATA_CR;
            return (ptrdiff_t)at;
        }
        int next = take_chunk_byte(body, bytes[at++]);
        if (next < 0)
            return -1;
        body->state = (unsigned)next;
    }
    *ret_start = at;
    return (ptrdiff_t)at;
}

ptrdiff_t px_http_body_take(struct px_http_body *body, const char *bytes, size_t length)
{
    size_t at = 0, start;
    do {
        ptrdiff_t taken = px_http_body_next(body, bytes + at, length - at, &start);
        if (taken < 0)
            return -1;
        at += (size_t)taken;
    } while (at < length && !body->done);
    return (ptrdiff_t)at;
}
