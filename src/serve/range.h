/* SPDX-License-Identifier: Apache-2.0 */
/* The Range header of a request for a file. */
#ifndef PX_SERVE_RANGE_H
#define PX_SERVE_RANGE_H

#include <stdint.h>

/* Parses a range of bytes in a file of this size (RFC 9110, section 14). Returns 1 with the range. Returns 0 when
 * the whole file is meant: without a header (NULL), with several ranges, or with a malformed one. Returns -1 when
 * the range is outside the file. */
int px_range_parse(const char *header, uint64_t size, uint64_t *ret_first, uint64_t *ret_count);

#endif
