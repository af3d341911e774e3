/* SPDX-License-Identifier: Apache-2.0 */
/* Text in lines. */
#ifndef PX_BASE_WRAP_H
#define PX_BASE_WRAP_H

#include "base/buffer.h"

/* Adds the words of `text` in lines of at most 80 columns and ends the last line. Each line begins with
 * `prefix`, except the first: its beginning is in `out` already. */
void px_wrap(struct px_buffer *out, const char *prefix, const char *text);

#endif
