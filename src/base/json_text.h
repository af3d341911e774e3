/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text written straight into a buffer, for what is written often: no value is made of it first. */
#ifndef PX_BASE_JSON_TEXT_H
#define PX_BASE_JSON_TEXT_H

#include "base/buffer.h"

/* Appends the bytes as a JSON string, or null for NULL. Bytes that are not UTF-8 make the buffer fail. */
void px_json_text_string(struct px_buffer *out, const char *bytes, size_t length);

/* Appends a number that is not negative, with one to three digits after the point. */
void px_json_text_real(struct px_buffer *out, double value);

#endif
