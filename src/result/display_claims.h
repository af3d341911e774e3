/* SPDX-License-Identifier: Apache-2.0 */
/* The displays and the JSON value that a child claims: hostile bytes. Every front can write the kept ones as JSON
 * on one line. Displays with wrong content are dropped and counted. Only fields in a wrong order break the
 * protocol. */
#ifndef PX_RESULT_DISPLAY_CLAIMS_H
#define PX_RESULT_DISPLAY_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/mime.h"
#include "protocol/wire.h"
#include "pyexec.h"

/* One form of a display: text, JSON text or any bytes; px_mime_of() says which. */
struct px_display_form {
    char *type;
    struct px_buffer data;
};

struct pyexec_display {
    struct px_display_form *forms;
    size_t form_count;
    struct px_buffer metadata; /* a JSON object, or empty */
    bool last_value;
    char *json; /* made when it is first asked for */
};

struct px_displays {
    uint64_t max_count, max_bytes; /* from the policy; set before the first field is taken */
    struct pyexec_display *items;  /* complete displays */
    size_t count;
    uint64_t bytes; /* how much of max_bytes they take */
    uint64_t dropped;
    uint64_t json_room; /* memory that parsing all their JSON may still take; set before the first field too */
    /* The display that is arriving. */
    bool lost;      /* a part of a display could not be kept: no memory */
    bool open, bad; /* bad: it will be dropped */
    uint64_t open_bytes;
    struct pyexec_display coming;
    struct px_buffer name, data; /* the form that is arriving */
};

/* The answer of px_displays_take() when there is no memory. No field is wrong then: the run ends with an error of
 * the host. */
extern const char px_no_memory[];

void px_displays_done(struct px_displays *displays);

/* Takes one field of the DISPLAY kinds. Returns NULL, or what is wrong with it. */
const char *px_displays_take(struct px_displays *displays, const struct px_wire_field *field);

/* Called after the last field: drops a display that has begun and not ended. */
void px_displays_finish(struct px_displays *displays);

/* Appends the display as a JSON object. */
void px_display_write(const struct pyexec_display *display, struct px_buffer *out);

/* Appends the forms as the members of a JSON object. */
void px_display_write_forms(const struct pyexec_display *display, struct px_buffer *out);

/* Bytes of memory that a reader may need to parse the JSON of one result: that of all displays together, and that
 * of last_value_json. */
#define PX_JSON_ROOM (128u << 20)

/* True if the text is one JSON value that may be copied into a line: without control characters, at most 200
 * levels deep, integers of 64 bits, and no more memory than *room when parsed, which is subtracted from *room.
 * With `object` it must be an object. When it returns false, errno is ENOMEM if there was no memory to decide,
 * else 0. */
bool px_json_claim_ok(const char *text, size_t length, bool object, uint64_t *room);

#endif
