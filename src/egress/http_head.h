/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an HTTP/1 message: its first line and its fields.
 *
 * This parser accepts only what all programs read in the same way (RFC 9112), so that the proxy and the server behind it can't
 * disagree about where a request ends or for whom it is. It refuses, among others: lines that end with LF alone, CR in a line, NUL,
 * folded lines (obs-fold), a space before the colon, two lengths, a length beside Transfer-Encoding, any coding but chunked. */
#ifndef PX_EGRESS_HTTP_HEAD_H
#define PX_EGRESS_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PX_HTTP_HEAD_MAX 32768 /* bytes */
#define PX_HTTP_FIELDS_MAX 200

/* Points into the bytes that were parsed. */
struct px_http_text {
    const char *bytes;
    size_t length;
};

struct px_http_field {
    struct px_http_text name, value; /* the value without the spaces around it */
};

struct px_http_head {
    struct px_http_text method, target; /* of a request */
    int status;                         /* of a response */
    struct px_http_text reason;
    int minor; /* HTTP/1.0 or HTTP/1.1 */
    struct px_http_field fields[PX_HTTP_FIELDS_MAX];
    size_t count;
};

enum px_http_framing {
    PX_HTTP_NO_BODY,
    PX_HTTP_LENGTH,
    PX_HTTP_CHUNKED,
    PX_HTTP_UNTIL_END, /* a response that ends with the connection */
};

/* Returns the length of the head with its empty line, or 0 if the bytes have no empty line yet. A line may end in LF here, so that
 * a head is found that the parsers below then refuse. *scanned is where the search starts and ended. */
size_t px_http_head_length(const char *bytes, size_t length, size_t *scanned);

/* Return NULL, or what is wrong, for a sentence: "a line ends with LF alone". `length` is from px_http_head_length(). */
const char *px_http_request_parse(const char *bytes, size_t length, struct px_http_head *ret);
const char *px_http_response_parse(const char *bytes, size_t length, struct px_http_head *ret);

/* For bytes that have no whole head yet: looks at the first line, if that is whole. Other protocols are then refused at once. */
const char *px_http_request_begin(const char *bytes, size_t length, struct px_http_head *ret);

/* Return NULL, or what is wrong. For a response, `no_body`: it answers HEAD. */
const char *px_http_request_framing(const struct px_http_head *head, enum px_http_framing *ret, uint64_t *ret_length);
const char *px_http_response_framing(const struct px_http_head *head, bool no_body, enum px_http_framing *ret,
                                     uint64_t *ret_length);

/* True if the texts are equal when upper and lower case count as equal. */
bool px_http_text_is(struct px_http_text text, const char *word);

/* Returns how many fields have this name, and the last of them. */
size_t px_http_field_count(const struct px_http_head *head, const char *name, struct px_http_text *ret);

/* True if a list (a,b, c) in fields of this name has the word. */
bool px_http_list_has(const struct px_http_head *head, const char *name, struct px_http_text word);

/* True if a proxy must not pass this field on (RFC 9110, 7.6.1): it is about one connection. */
bool px_http_field_is_hop(const struct px_http_head *head, const struct px_http_field *field);

#endif
