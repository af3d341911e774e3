/* SPDX-License-Identifier: Apache-2.0 */
/* Tells before parsing how much memory JSON will take: its values take far more than its text. */
#ifndef PX_BASE_JSON_MEMORY_H
#define PX_BASE_JSON_MEMORY_H

#include <stddef.h>
#include <stdint.h>

struct px_json_memory {
    uint64_t bytes; /* at least what jansson takes for it, and at most three times that */
    size_t depth;
    size_t token; /* length of the longest string (with its quotes) or number */
};

/* Accepts any text. For a text that is not JSON the returned numbers have no meaning. */
struct px_json_memory px_json_memory_estimate(const char *text, size_t length);

#endif
