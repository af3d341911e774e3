/* SPDX-License-Identifier: Apache-2.0 */
/* The displays and the JSON value that a child claims: hostile bytes. What is kept of them can be written as JSON
 * that every front can put into a line of its own. What is not as it must be is dropped and counted;
 * only what comes out of order breaks the protocol. */
#ifndef PX_RESULT_DISPLAY_CLAIMS_H
#define PX_RESULT_DISPLAY_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/mime.h"
#include "protocol/wire.h"
#include "pyexec.h"

/* One type of a display: text, JSON text or any bytes, as px_mime_of() has it. */
struct px_display_form {
    char *type;
    struct px_buffer data;
};

struct pyexec_display {
    struct px_display_form *forms;
    size_t form_count;
    struct px_buffer metadata; /* a JSON object, or nothing */
    bool last_value;
    char *json; /* made on demand */
};

struct px_displays {
    uint64_t max_count, max_bytes; /* the policy's; set before anything is taken */
    struct pyexec_display *items;  /* whole displays */
    size_t count;
    uint64_t bytes; /* of max_bytes, used up by them */
    uint64_t dropped;
    uint64_t json_room; /* what parsing all their JSON may still take; set before too */
    /* The one that is coming. */
    bool lost;      /* a part of one, for want of memory */
    bool open, bad; /* bad: it will be dropped */
    uint64_t open_bytes;
    struct pyexec_display coming;
    struct px_buffer name, data; /* the form that is coming */
};

/* What there was no memory to take is wrong with no field: the run ends with a host's error. */
extern const char px_no_memory[];

void px_displays_done(struct px_displays *displays);

/* One field of the DISPLAY kinds. NULL, or what is wrong with it. */
const char *px_displays_take(struct px_displays *displays, const struct px_wire_field *field);

/* After the last field: what began and did not end is dropped. */
void px_displays_finish(struct px_displays *displays);

/* Appends the display as a JSON object. */
void px_display_write(const struct pyexec_display *display, struct px_buffer *out);

/* Appends the forms as the members of a JSON object. */
void px_display_write_forms(const struct pyexec_display *display, struct px_buffer *out);

/* Bytes of memory that JSON of a result may take once whoever reads it has parsed it: all displays'
 * together, and last_value_json's. */
#define PX_JSON_ROOM (128u << 20)

/* Whether it is one JSON value that may be copied into a line: no control characters, not deeper
 * than 200, integers of 64 bits, in memory no more than is left of *room, which it takes then.
 * `object`: it must be an object. When it can't be said for want of memory, errno is ENOMEM, else 0. */
bool px_json_claim_ok(const char *text, size_t length, bool object, uint64_t *room);

#endif
