/* SPDX-License-Identifier: Apache-2.0 */
/* One side of TLS, between two evbuffers with its records and a buffer with what they contain. */
#ifndef PX_EGRESS_SECRET_SIDE_H
#define PX_EGRESS_SECRET_SIDE_H

#include <event2/buffer.h>
#include <openssl/ssl.h>
#include <stdbool.h>

#include "base/buffer.h"

#define PX_SIDE_PLAIN_MAX 65536 /* more than one head and one record */

struct px_side {
    SSL *ssl;
    struct px_buffer plain;
    bool ended;  /* no more bytes will come */
    bool failed; /* TLS was not spoken correctly, or the certificate was refused */
};

/* Takes ownership of `ssl`, which may be NULL. Returns false if there is no memory. */
bool px_side_init(struct px_side *side, SSL *ssl);
void px_side_done(struct px_side *side);

/* Takes records, as long as `plain` has room. Returns true if something changed. */
bool px_side_read(struct px_side *side, struct evbuffer *from, bool no_more);

bool px_side_is_ready(const struct px_side *side);
/* True if the other end has said that nothing follows ("close notify"). Without that, an end can come from anybody on the way. */
bool px_side_was_closed(const struct px_side *side);
void px_side_write(struct px_side *side, const void *bytes, size_t length);
/* Says that nothing follows. */
void px_side_close(struct px_side *side);
/* Moves the records that were made. */
void px_side_flush(struct px_side *side, struct evbuffer *to);

#endif
