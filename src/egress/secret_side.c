/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/secret_side.h"

#include <string.h>

#include <openssl/err.h>

#define SIDE_RECORD_MAX 16384 /* bytes in one record (RFC 8446, 5.1) */
#define SIDE_RECORDS_MAX 32768

bool px_side_init(struct px_side *side, SSL *ssl)
{
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    *side = (struct px_side){.ssl = ssl};
    if (!ssl || !in || !out) {
        BIO_free(in);
        BIO_free(out);
        SSL_free(ssl);
        side->ssl = NULL;
        return false;
    }
    SSL_set_bio(ssl, in, out);
    return true;
}

void px_side_done(struct px_side *side)
{
    SSL_free(side->ssl);
    side->ssl = NULL;
    if (side->plain.data)
        explicit_bzero(side->plain.data, side->plain.capacity);
    px_buffer_done(&side->plain);
}

bool px_side_is_ready(const struct px_side *side)
{
    return SSL_is_init_finished(side->ssl) && !side->failed;
}

bool px_side_was_closed(const struct px_side *side)
{
    return SSL_get_shutdown(side->ssl) & SSL_RECEIVED_SHUTDOWN;
}

/* Returns true if there may be more. */
static bool judge(struct px_side *side, int result)
{
    if (result > 0)
        return true;
    switch (SSL_get_error(side->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        break;
    case SSL_ERROR_ZERO_RETURN:
        side->ended = true;
        break;
    default:
        side->failed = side->ended = true;
    }
    return false;
}

static bool take_records(struct px_side *side, struct evbuffer *from)
{
    char bytes[4096];
    bool moved = false;
    BIO *in = SSL_get_rbio(side->ssl);
    while (BIO_pending(in) < SIDE_RECORDS_MAX && evbuffer_get_length(from) > 0) {
        int length = evbuffer_remove(from, bytes, sizeof bytes);
        if (length <= 0 || BIO_write(in, bytes, length) != length) {
            side->failed = side->ended = true;
            return true;
        }
        moved = true;
    }
    return moved;
}

/* Returns true if something was read. */
static bool take_plain(struct px_side *side)
{
    if (side->plain.length >= PX_SIDE_PLAIN_MAX)
        return false;
    char *to = px_buffer_reserve(&side->plain, SIDE_RECORD_MAX);
    if (!to) {
        side->failed = side->ended = true;
        return false;
    }
    int length = SSL_read(side->ssl, to, SIDE_RECORD_MAX);
    if (!judge(side, length))
        return false;
    to[length] = '\0';
    side->plain.length += (size_t)length;
    return true;
}

bool px_side_read(struct px_side *side, struct evbuffer *from, bool no_more)
{
    bool was_ended = side->ended, was_ready = SSL_is_init_finished(side->ssl), moved = false;
    if (side->ended) {
        bool left = evbuffer_get_length(from) > 0;
        evbuffer_drain(from, evbuffer_get_length(from));
        return left;
    }
    ERR_clear_error();
    do {
        moved = take_records(side, from);
        if (!side->ended && !SSL_is_init_finished(side->ssl))
            (void)judge(side, SSL_do_handshake(side->ssl));
        if (!side->ended && SSL_is_init_finished(side->ssl))
            while (take_plain(side))
                moved = true;
    } while (moved && !side->ended && side->plain.length < PX_SIDE_PLAIN_MAX);
    if (no_more && !side->ended && evbuffer_get_length(from) == 0 && side->plain.length < PX_SIDE_PLAIN_MAX) {
        side->ended = true;
        side->failed |= !SSL_is_init_finished(side->ssl);
    }
    return moved || side->ended != was_ended || SSL_is_init_finished(side->ssl) != was_ready;
}

void px_side_write(struct px_side *side, const void *bytes, size_t length)
{
    ERR_clear_error();
    /* A memory BIO takes everything. */
    while (length > 0 && !side->failed) {
        int part = length > SIDE_RECORD_MAX ? SIDE_RECORD_MAX : (int)length,
            written = SSL_write(side->ssl, bytes, part);
        if (written <= 0) {
            side->failed = side->ended = true;
            return;
        }
        bytes = (const char *)bytes + written;
        length -= (size_t)written;
    }
}

void px_side_close(struct px_side *side)
{
    ERR_clear_error();
    if (px_side_is_ready(side))
        (void)SSL_shutdown(side->ssl);
}

void px_side_flush(struct px_side *side, struct evbuffer *to)
{
    char bytes[4096];
    for (int length; (length = BIO_read(SSL_get_wbio(side->ssl), bytes, sizeof bytes)) > 0;)
        evbuffer_add(to, bytes, (size_t)length);
}
