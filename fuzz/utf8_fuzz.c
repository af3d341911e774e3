/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte of the input is the place where the rest is cut. The rest may be valid UTF-8 or not. */
#include "base/cleanup.h"
#include "base/error.h"
#include "fuzz.h"

/* Repairs the text in parts, as a stream is repaired. An incomplete character at the end of a part waits for the next part. */
static void repair_in_parts(struct px_buffer *out, const char *text, size_t length, size_t step)
{
    struct px_buffer px_auto_buffer held = {0};
    for (size_t i = 0; i < length; i += step) {
        px_buffer_add(&held, text + i, length - i < step ? length - i : step);
        size_t tail = px_utf8_incomplete_tail(px_buffer_string(&held), held.length);
        require(tail <= 3 && tail <= held.length);
        px_utf8_repair(out, px_buffer_string(&held), held.length - tail);
        px_buffer_consume(&held, held.length - tail);
    }
    px_utf8_repair(out, px_buffer_string(&held), held.length);
}

static bool same(const struct px_buffer *one, const char *bytes, size_t length)
{
    return one->length == length && memcmp(px_buffer_string(one), bytes, length) == 0;
}

static void check_truncate(const char *text, size_t length, size_t limit)
{
    size_t kept = px_utf8_truncate(text, length, limit);
    require(kept <= limit && kept <= length);
    if (!px_utf8_valid(text, length, NULL))
        return;
    require(px_utf8_valid(text, kept, NULL));
    require(kept == length || kept + 3 >= limit);
    /* px_utf8_incomplete_tail() of the prefix must give the same length. */
    size_t prefix = limit < length ? limit : length;
    require(prefix - px_utf8_incomplete_tail(text, prefix) == kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    size_t length = size - 1, cut = data[0], offset = 0;
    /* A copy of exactly this length, so that AddressSanitizer reports each read beyond its end. */
    px_auto_free char *text = malloc(length ? length : 1);
    require(text);
    memcpy(text, data + 1, length);
    struct px_buffer px_auto_buffer whole = {0}, again = {0}, parts = {0};
    px_utf8_repair(&whole, text, length);
    require(px_utf8_valid(px_buffer_string(&whole), whole.length, NULL));
    require(whole.length <= 3 * length);
    bool valid = px_utf8_valid(text, length, &offset);
    require(valid == same(&whole, text, length));
    require(valid || (offset < length && px_utf8_valid(text, offset, NULL)));
    px_utf8_repair(&again, px_buffer_string(&whole), whole.length);
    require(same(&again, px_buffer_string(&whole), whole.length));
    repair_in_parts(&parts, text, length, cut % 9 + 1);
    require(same(&parts, px_buffer_string(&whole), whole.length));
    check_truncate(text, length, cut);
    check_truncate(px_buffer_string(&whole), whole.length, cut);
    pyexec_error error;
    px_error_set(&error, PYEXEC_INTERNAL, "'%.*s' and '%s'", (int)cut, px_buffer_string(&whole),
                 px_buffer_string(&whole));
    require(px_utf8_valid(error.message, strlen(error.message), NULL));
    return 0;
}
