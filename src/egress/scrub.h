/* SPDX-License-Identifier: Apache-2.0 */
/* Replaces secrets in a stream of bytes. A replacement has the length of its secret, so lengths, offsets and frames stay right.
 *
 * A secret is also found when it arrives in parts. So the last bytes are held back while they may be the beginning of one. */
#ifndef PX_EGRESS_SCRUB_H
#define PX_EGRESS_SCRUB_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

#define PX_SCRUB_PAUSE_MAX 3 /* bytes of a secret's beginning that px_scrub_pause() gives out */

struct px_scrub_pattern {
    const char *secret, *replacement;
    size_t length;
};

struct px_scrub {
    const struct px_scrub_pattern *patterns;
    size_t count;
    struct px_buffer raw;   /* bytes that may be the beginning of a secret */
    struct px_buffer clean; /* the same bytes, with what was already replaced in them */
    size_t given;           /* how many of them px_scrub_pause() has given out */
};

/* The patterns must outlive it. */
void px_scrub_init(struct px_scrub *scrub, const struct px_scrub_pattern *patterns, size_t count);
/* Overwrites what it holds. */
void px_scrub_done(struct px_scrub *scrub);

/* Takes bytes, and appends to `to` those that can be passed on. */
void px_scrub_take(struct px_scrub *scrub, const char *bytes, size_t length, struct px_buffer *to);

/* No more bytes are there now, and the other side may wait for the last ones. Appends what is held back if that is no more than an
 * eighth of the secret, and at most PX_SCRUB_PAUSE_MAX bytes. */
void px_scrub_pause(struct px_scrub *scrub, struct px_buffer *to);

/* The end of the stream: appends what is held back, which is no secret. */
void px_scrub_end(struct px_scrub *scrub, struct px_buffer *to);

#endif
