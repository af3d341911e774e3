/* SPDX-License-Identifier: Apache-2.0 */
/* What JSON takes once it is parsed, told before: values take far more memory than their text. */
#ifndef PX_BASE_JSON_MEMORY_H
#define PX_BASE_JSON_MEMORY_H

#include <stddef.h>
#include <stdint.h>

struct px_json_memory {
    uint64_t bytes; /* at least what jansson takes for it, and no more than three times that */
    size_t depth;
    size_t token; /* bytes of the longest string, with its quotes, or number */
};

/* Of any text: of what is no JSON too, which says nothing then. */
struct px_json_memory px_json_memory_estimate(const char *text, size_t length);

#endif
