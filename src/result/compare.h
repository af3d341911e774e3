/* SPDX-License-Identifier: Apache-2.0 */
/* Compares what a test expects with what the script's process sent, which is hostile. The expected side is never
 * sent to a process (docs/verify.md). */
#ifndef PX_RESULT_COMPARE_H
#define PX_RESULT_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

enum px_compare_how {
    PX_COMPARE_EXACT,
    PX_COMPARE_TOKENS,  /* texts by their words */
    PX_COMPARE_NUMBERS, /* the same, and numbers within rel and abs */
    PX_COMPARE_LINES,   /* texts by their lines, as online judges do (docs/verify.md) */
};

struct px_compare {
    enum px_compare_how how;
    double rel, abs;
};

#define PX_COMPARE_DEPTH_MAX 100

/* Compares texts. Line ends at the end of a text do not count. */
bool px_compare_text(const struct px_compare *compare, const char *expected, size_t expected_length, const char *sent,
                     size_t sent_length);

/* Compares JSON values with the forms of docs/verify.md: {"$tuple": [...]}, {"$set": [...]}, {"$dict": [[key, value], ...]},
 * {"$int": "digits"}, {"$float": "nan"}, {"$bytes": "base64"}. A list also equals a tuple. `expected` was checked. */
bool px_compare_value(const struct px_compare *compare, const json_t *expected, const json_t *sent);

/* Checks a value of the caller: its forms, and at most PX_COMPARE_DEPTH_MAX levels. Returns NULL, or what is wrong. */
const char *px_compare_check(const json_t *value);

#endif
