/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte string. Invariants: `data` is NULL or holds `capacity` bytes, the one at
 * `length` being NUL; `length < capacity` whenever `data` is not NULL. Zeroed is empty.
 *
 * A failed allocation sets `failed` and drops further appends. A caller checks once at the end: with
 * px_buffer_ok(), or by the string, which is NULL then. That NULL goes on: jansson makes no value of it,
 * and a buffer that is given it fails too. So text with a hole is never taken for whole. */
#ifndef PX_BASE_BUFFER_H
#define PX_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct px_buffer {
    char *data;
    size_t length;
    size_t capacity;
    bool failed;
};

void px_buffer_done(struct px_buffer *buffer);
#define px_auto_buffer __attribute__((cleanup(px_buffer_done)))

static inline bool px_buffer_ok(const struct px_buffer *buffer)
{
    return !buffer->failed;
}

/* `bytes` and `string` may be NULL: the text of a buffer that has failed. */
void px_buffer_add(struct px_buffer *buffer, const void *bytes, size_t length);
void px_buffer_add_string(struct px_buffer *buffer, const char *string);
void px_buffer_add_byte(struct px_buffer *buffer, char byte);
void px_buffer_printf(struct px_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Room for `extra` more bytes; returns where they go, or NULL. Add to `length` yourself. */
char *px_buffer_reserve(struct px_buffer *buffer, size_t extra);

/* Drops the first `count` bytes, or all when there are fewer. */
void px_buffer_consume(struct px_buffer *buffer, size_t count);

/* The contents as a C string, "" when empty, NULL when the buffer has failed. Stays the buffer's. */
const char *px_buffer_string(const struct px_buffer *buffer);

/* For messages, and for text whose failure is looked at elsewhere: "" when the buffer has failed. */
const char *px_buffer_shown(const struct px_buffer *buffer);

/* Hands the string over to the caller (free()); the buffer is empty after. NULL on failure. */
char *px_buffer_take(struct px_buffer *buffer);

#endif
