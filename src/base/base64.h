/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648, section 4), and the alphabet for URLs, file names and subjects (section 5). */
#ifndef PX_BASE_BASE64_H
#define PX_BASE_BASE64_H

#include "base/buffer.h"

void px_base64_encode(struct px_buffer *out, const void *bytes, size_t length);

/* Decodes. Strict, except that the padding at the end may be missing. Returns 0, or -1 when the text is not
 * base64. */
int px_base64_decode(struct px_buffer *out, const char *text, size_t length);

/* The same with '-' and '_' instead of '+' and '/', and without padding. A text with padding is not valid. */
void px_base64url_encode(struct px_buffer *out, const void *bytes, size_t length);
int px_base64url_decode(struct px_buffer *out, const char *text, size_t length);

#endif
