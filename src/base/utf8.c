/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

/* How many bytes from `bytes` on are ASCII. Most text is, and a word at a time takes a tenth of the time. */
static size_t ascii_run(const unsigned char *bytes, size_t length)
{
    size_t i = 0;
    uint64_t word;
    for (; i + sizeof word <= length; i += sizeof word) {
        memcpy(&word, bytes + i, sizeof word);
        if (word & 0x8080808080808080u)
            break;
    }
    while (i < length && bytes[i] < 0x80)
        i++;
    return i;
}

/* The length that a lead byte announces, and the range of the second byte: Unicode Standard, table 3-7. Returns
 * 0 for a byte that can't begin a sequence. */
static size_t lead(unsigned char byte, unsigned char *ret_low, unsigned char *ret_high)
{
    *ret_low = 0x80;
    *ret_high = 0xBF;
    if (byte < 0x80)
        return 1;
    if (byte >= 0xC2 && byte <= 0xDF)
        return 2;
    if (byte >= 0xE0 && byte <= 0xEF) {
        if (byte == 0xE0)
            *ret_low = 0xA0;
        if (byte == 0xED)
            *ret_high = 0x9F;
        return 3;
    }
    if (byte >= 0xF0 && byte <= 0xF4) {
        if (byte == 0xF0)
            *ret_low = 0x90;
        if (byte == 0xF4)
            *ret_high = 0x8F;
        return 4;
    }
    return 0;
}

/* Returns how many bytes from `bytes` on are the valid beginning of a sequence. *ret_wanted is the full length of that
 * sequence (0: not a lead byte). */
static size_t well_formed(const unsigned char *bytes, size_t length, size_t *ret_wanted)
{
    unsigned char low, high;
    size_t wanted = lead(bytes[0], &low, &high);
    *ret_wanted = wanted;
    size_t i = 1;
    while (i < wanted && i < length && bytes[i] >= low && bytes[i] <= high) {
        low = 0x80;
        high = 0xBF;
        i++;
    }
    return wanted ? i : 0;
}

size_t px_utf8_sequence(const unsigned char *bytes, size_t length)
{
    if (!length)
        return 0;
    size_t wanted;
    size_t good = well_formed(bytes, length, &wanted);
    return wanted && good == wanted ? wanted : 0;
}

bool px_utf8_valid(const char *bytes, size_t length, size_t *ret_offset)
{
    const unsigned char *in = (const unsigned char *)bytes;
    for (size_t i = ascii_run(in, length); i < length; i += ascii_run(in + i, length - i)) {
        size_t step = px_utf8_sequence(in + i, length - i);
        if (!step) {
            if (ret_offset)
                *ret_offset = i;
            return false;
        }
        i += step;
    }
    return true;
}

size_t px_utf8_truncate(const char *bytes, size_t length, size_t limit)
{
    if (length <= limit)
        return length;
    /* The last sequence that begins before the limit, if it goes beyond it. */
    const unsigned char *in = (const unsigned char *)bytes;
    for (size_t back = 1; back <= 3 && back <= limit; back++) {
        size_t wanted;
        size_t good = well_formed(in + limit - back, length - limit + back, &wanted);
        if (wanted)
            return good > back ? limit - back : limit;
    }
    return limit;
}

void px_utf8_repair(struct px_buffer *buffer, const char *bytes, size_t length)
{
    const unsigned char *in = (const unsigned char *)bytes;
    size_t i = 0, clean = 0;
    while (i < length) {
        size_t wanted;
        size_t good = well_formed(in + i, length - i, &wanted);
        if (wanted && good == wanted) {
            i += good;
            i += ascii_run(in + i, length - i);
            continue;
        }
        px_buffer_add(buffer, bytes + clean, i - clean);
        px_buffer_add_string(buffer, "\xEF\xBF\xBD");
        i += good ? good : 1;
        clean = i;
    }
    if (i > clean) /* bytes may be NULL when there are none */
        px_buffer_add(buffer, bytes + clean, i - clean);
}

size_t px_utf8_incomplete_tail(const char *bytes, size_t length)
{
    const unsigned char *in = (const unsigned char *)bytes;
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        size_t wanted;
        size_t good = well_formed(in + length - back, back, &wanted);
        if (wanted)
            return good == back && back < wanted ? back : 0;
    }
    return 0;
}
