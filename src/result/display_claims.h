/* SPDX-License-Identifier: Apache-2.0 */
/* The displays and the JSON value that a child claims: hostile bytes, made into JSON text that
 * every front can put into a line of its own. What is not as it must be is dropped and counted;
 * only what comes out of order breaks the protocol. */
#ifndef PX_RESULT_DISPLAY_CLAIMS_H
#define PX_RESULT_DISPLAY_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/mime.h"
#include "protocol/wire.h"

struct px_displays {
    uint64_t max_count, max_bytes; /* the policy's; set before anything is taken */
    char **items;                  /* whole displays: JSON objects on one line */
    size_t count;
    uint64_t bytes; /* of max_bytes, used up by them */
    uint64_t dropped;
    uint64_t json_room; /* what parsing all their JSON may still take; set before too */
    /* The one that is coming. */
    bool lost;      /* a part of one, for want of memory */
    bool open, bad; /* bad: it will be dropped */
    uint8_t kind;
    uint64_t open_bytes;
    struct px_buffer forms;      /* members of "data" so far */
    struct px_buffer name, data; /* the form that is coming */
    struct px_buffer names;      /* of the forms so far, each between spaces */
    struct px_buffer metadata;
    unsigned form_count;
};

/* What there was no memory to take is wrong with no field: the run ends with a host's error. */
extern const char px_no_memory[];

void px_displays_done(struct px_displays *displays);

/* One field of the DISPLAY kinds. NULL, or what is wrong with it. */
const char *px_displays_take(struct px_displays *displays, const struct px_wire_field *field);

/* After the last field: what began and did not end is dropped. */
void px_displays_finish(struct px_displays *displays);

/* Appends them as a JSON array. */
void px_displays_write(const struct px_displays *displays, struct px_buffer *out);

/* Bytes of memory that JSON of a result may take once whoever reads it has parsed it: all displays'
 * together, and last_value_json's. */
#define PX_JSON_ROOM (128u << 20)

/* Whether it is one JSON value that may be copied into a line: no control characters, not deeper
 * than 200, integers of 64 bits, in memory no more than is left of *room, which it takes then.
 * `object`: it must be an object. When it can't be said for want of memory, errno is ENOMEM, else 0. */
bool px_json_claim_ok(const char *text, size_t length, bool object, uint64_t *room);

#endif
