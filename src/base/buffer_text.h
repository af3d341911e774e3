/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a buffer together with its length. After a failed allocation px_buffer_shown() is "", while `length` keeps its old value.
 * Code that uses both would read past the end of "". tests/tree/test_tree.py finds such code. */
#ifndef PX_BASE_BUFFER_TEXT_H
#define PX_BASE_BUFFER_TEXT_H

#include "base/buffer.h"

/* How many bytes px_buffer_shown() has. */
static inline size_t px_buffer_length(const struct px_buffer *buffer)
{
    return buffer->failed ? 0 : buffer->length;
}

/* Appends what `other` has. If it has failed, `buffer` fails too. */
static inline void px_buffer_add_buffer(struct px_buffer *buffer, const struct px_buffer *other)
{
    buffer->failed |= other->failed;
    px_buffer_add(buffer, other->data, other->length);
}

#endif
