/* SPDX-License-Identifier: Apache-2.0 */
/* Strict UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
#ifndef PX_BASE_UTF8_H
#define PX_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

/* The length of the valid sequence at `bytes`, or 0 when there is none within `length`. */
size_t px_utf8_sequence(const unsigned char *bytes, size_t length);

/* True if all of it is valid; otherwise *ret_offset is where it is not. `ret_offset` may be NULL. */
bool px_utf8_valid(const char *bytes, size_t length, size_t *ret_offset);

/* The longest prefix of at most `limit` bytes that does not end inside a sequence. */
size_t px_utf8_truncate(const char *bytes, size_t length, size_t limit);

/* Appends `bytes`. Each maximal part that is not valid becomes one U+FFFD, as with Python's errors="replace". */
void px_utf8_repair(struct px_buffer *buffer, const char *bytes, size_t length);

/* Returns how many bytes at the end may be the start of a sequence whose rest has not arrived yet (0 to 3). */
size_t px_utf8_incomplete_tail(const char *bytes, size_t length);

#endif
