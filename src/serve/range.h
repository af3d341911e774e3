/* SPDX-License-Identifier: Apache-2.0 */
/* The Range header of a request for a file. */
#ifndef PX_SERVE_RANGE_H
#define PX_SERVE_RANGE_H

#include <stdint.h>

/* RFC 9110, section 14: one range of bytes of a file of this size. 1 with it; 0: the whole file is meant, as
 * without a header (NULL), with several ranges, or with what is no range; -1: the range is outside. */
int px_range_parse(const char *header, uint64_t size, uint64_t *ret_first, uint64_t *ret_count);

#endif
