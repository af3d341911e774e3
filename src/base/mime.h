/* SPDX-License-Identifier: Apache-2.0 */
/* The MIME types of displays: which names are accepted, and how the data of each is written in JSON. */
#ifndef PX_BASE_MIME_H
#define PX_BASE_MIME_H

#include <stddef.h>

enum px_mime {
    PX_MIME_BAD,    /* no type's name */
    PX_MIME_TEXT,   /* a string: text/…, …+xml, application/javascript and xml */
    PX_MIME_JSON,   /* the JSON value itself: application/json, …+json and ….json */
    PX_MIME_BINARY, /* a string in base64: all others */
};

/* TYPE/SUBTYPE in lower-case letters, digits and ! # $ & ^ _ . + - (RFC 6838), at most 127 bytes, without
 * parameters. */
enum px_mime px_mime_of(const char *name, size_t length);

/* Returns how much of max_display_bytes the data uses: its length in the result, that is in base64, or with a text's
 * characters escaped. */
size_t px_mime_cost(enum px_mime mime, const char *data, size_t length);

/* The most that data of this length can use. */
size_t px_mime_least_cost(enum px_mime mime, size_t length);

#endif
