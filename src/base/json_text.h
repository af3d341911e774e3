/* SPDX-License-Identifier: Apache-2.0 */
/* Writes JSON text straight into a buffer, without making a JSON value first. For text that is written often. */
#ifndef PX_BASE_JSON_TEXT_H
#define PX_BASE_JSON_TEXT_H

#include "base/buffer.h"

/* Appends the bytes as a JSON string, or null for NULL. Bytes that are not UTF-8 make the buffer fail. */
void px_json_text_string(struct px_buffer *out, const char *bytes, size_t length);

/* Appends a number that is not negative, with one to three digits after the point. */
void px_json_text_real(struct px_buffer *out, double value);

#endif
