/* SPDX-License-Identifier: Apache-2.0 */
/* MIME types of displays: which names are taken, and how the data of each is written in JSON. */
#ifndef PX_BASE_MIME_H
#define PX_BASE_MIME_H

#include <stddef.h>

enum px_mime {
    PX_MIME_BAD,    /* no type's name */
    PX_MIME_TEXT,   /* a string: text/…, …+xml, application/javascript and xml */
    PX_MIME_JSON,   /* as it is: application/json, …+json and ….json */
    PX_MIME_BINARY, /* a string of base64: all others */
};

/* TYPE/SUBTYPE of lower-case letters, digits and ! # $ & ^ _ . + -, as RFC 6838 has them, of at
 * most 127 bytes; no parameters. */
enum px_mime px_mime_of(const char *name, size_t length);

/* How much of max_display_bytes the data takes: as much as in the result, in base64 or with a text's
 * characters escaped. */
size_t px_mime_cost(enum px_mime mime, const char *data, size_t length);

/* No more than that, whatever the data is. */
size_t px_mime_least_cost(enum px_mime mime, size_t length);

#endif
