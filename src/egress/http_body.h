/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the end of the body of an HTTP/1 message, without changing or keeping its bytes. */
#ifndef PX_EGRESS_HTTP_BODY_H
#define PX_EGRESS_HTTP_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "egress/http_head.h"

#define PX_HTTP_CHUNK_LINE_MAX 1024 /* bytes of a chunk's size and its extensions */
#define PX_HTTP_TRAILERS_MAX 8192   /* bytes of the fields after the last chunk */

struct px_http_body {
    enum px_http_framing framing;
    uint64_t left;   /* bytes of the body, or of this chunk */
    unsigned state;  /* of the chunked coding */
    unsigned digits; /* of the chunk's size */
    size_t line;     /* bytes of the line so far, or of all trailers */
    bool done;
};

void px_http_body_init(struct px_http_body *body, enum px_http_framing framing, uint64_t length);

/* Takes the next bytes. Returns how many of them belong to the body, or -1 if they can't be a body. When body->done is set, the
 * body has ended, and the bytes after the returned ones do not belong to it. */
ptrdiff_t px_http_body_take(struct px_http_body *body, const char *bytes, size_t length);

/* Takes the bytes up to the end of the next run of content: *ret_start is where the content begins in them. There may be none. */
ptrdiff_t px_http_body_next(struct px_http_body *body, const char *bytes, size_t length, size_t *ret_start);

#endif
