/* SPDX-License-Identifier: Apache-2.0 */
/* Compares what a test of verify expects with what a hostile child sent: the two items of a JSON list, and two halves of a text. Each
 * value that a caller may expect is equal to itself. */
#include "base/cleanup.h"
#include "fuzz.h"
#include "result/compare.h"

static const struct px_compare ways[] = {{.how = PX_COMPARE_EXACT},
                                         {.how = PX_COMPARE_TOKENS},
                                         {.how = PX_COMPARE_NUMBERS, .rel = 1e-9, .abs = 1e-12},
                                         {.how = PX_COMPARE_LINES}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const size_t half = size / 2;
    json_error_t problem;
    px_auto_json json_t *pair = px_json_read(text, size, JSON_ALLOW_NUL | JSON_DECODE_ANY, &problem);
    const json_t *expected = json_array_get(pair, 0), *sent = json_array_get(pair, 1);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        require(px_compare_text(&ways[i], text, size, text, size));
        px_compare_text(&ways[i], text, half, text + half, size - half);
        if (!expected || px_compare_check(expected))
            continue;
        require(px_compare_value(&ways[i], expected, expected));
        px_compare_value(&ways[i], expected, sent);
    }
    return 0;
}
