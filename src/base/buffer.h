/* SPDX-License-Identifier: Apache-2.0 */
/* A byte string that grows. Invariants: `data` is NULL or holds `capacity` bytes, and the byte at `length` is
 * NUL; `length < capacity` whenever `data` is not NULL. A zeroed struct is an empty buffer.
 *
 * A failed allocation sets `failed`, and what is appended after it is dropped. So a caller checks once, at the
 * end: with px_buffer_ok(), or by the string, which is then NULL. Passing this NULL on is safe: jansson makes
 * no value of it, and a buffer that it is appended to fails too. So a text with a part missing is never taken
 * for the whole text. */
#ifndef PX_BASE_BUFFER_H
#define PX_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct px_buffer {
    char *data;
    size_t length;
    size_t capacity;
    bool failed;
};

void px_buffer_done(struct px_buffer *buffer);
#define px_auto_buffer px_auto(px_buffer_done)

static inline bool px_buffer_ok(const struct px_buffer *buffer)
{
    return !buffer->failed;
}

/* `bytes` and `string` may be NULL, which is what a failed buffer gives as its text. */
void px_buffer_add(struct px_buffer *buffer, const void *bytes, size_t length);
void px_buffer_add_string(struct px_buffer *buffer, const char *string);
void px_buffer_add_byte(struct px_buffer *buffer, char byte);
void px_buffer_add_integer(struct px_buffer *buffer,
                           int64_t number); /* in decimal; less work than px_buffer_printf() */
void px_buffer_printf(struct px_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Makes room for `extra` more bytes and returns where they go, or NULL. The caller adds to `length`. */
char *px_buffer_reserve(struct px_buffer *buffer, size_t extra);

/* Drops the first `count` bytes, or all when there are fewer. */
void px_buffer_consume(struct px_buffer *buffer, size_t count);

/* The contents as a C string: "" when empty, NULL when the buffer has failed. The buffer still owns it. */
const char *px_buffer_string(const struct px_buffer *buffer);

/* For messages, and for text whose failure is checked elsewhere: "" when the buffer has failed. `length` then keeps its old value, so use it
 * only with px_buffer_length(): code that uses both directly would read past the end of "". tests/tree/test_tree.py finds such code. */
const char *px_buffer_shown(const struct px_buffer *buffer);

/* How many bytes px_buffer_shown() has. */
static inline size_t px_buffer_length(const struct px_buffer *buffer)
{
    return buffer->failed ? 0 : buffer->length;
}

/* Appends the bytes of `other`. If `other` has failed, `buffer` fails too. */
static inline void px_buffer_add_buffer(struct px_buffer *buffer, const struct px_buffer *other)
{
    buffer->failed |= other->failed;
    px_buffer_add(buffer, other->data, other->length);
}

/* A list of pairs, for example of headers: NAME, VALUE, each ended by a NUL. */
void px_buffer_add_pair(struct px_buffer *buffer, const char *name, const char *value, size_t value_length);
/* Returns the value of the first pair with this name, or NULL. */
const char *px_buffer_pair(const struct px_buffer *buffer, const char *name);

/* Hands the string over to the caller, who calls free(). The buffer is empty afterwards. NULL on failure. */
char *px_buffer_take(struct px_buffer *buffer);

#endif
