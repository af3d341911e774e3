/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_text.h"

#include <string.h>

#include "base/utf8.h"

static void add_escaped(struct px_buffer *out, unsigned char byte)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *at = byte ? strchr(plain, byte) : NULL;
    if (at)
        px_buffer_printf(out, "\\%c", letters[at - plain]);
    else
        px_buffer_printf(out, "\\u%04X", byte);
}

void px_json_text_string(struct px_buffer *out, const char *bytes, size_t length)
{
    if (!bytes) {
        px_buffer_add_string(out, "null");
        return;
    }
    out->failed |= !px_utf8_valid(bytes, length, NULL);
    px_buffer_add_byte(out, '"');
    size_t begin = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\')
            continue;
        px_buffer_add(out, bytes + begin, i - begin);
        add_escaped(out, byte);
        begin = i + 1;
    }
    px_buffer_add(out, bytes + begin, length - begin);
    px_buffer_add_byte(out, '"');
}

void px_json_text_real(struct px_buffer *out, double value)
{
    /* printf(3) of a double is not used: in some locales it writes a comma. */
    int64_t thousandths = (int64_t)(value * 1000 + 0.5);
    int digits = thousandths % 1000 == 0 ? 0 : thousandths % 100 == 0 ? 1 : thousandths % 10 == 0 ? 2 : 3;
    char fraction[] = {'.', (char)('0' + thousandths / 100 % 10), (char)('0' + thousandths / 10 % 10),
                       (char)('0' + thousandths % 10)};
    px_buffer_add_integer(out, thousandths / 1000);
    px_buffer_add(out, fraction, digits ? (size_t)digits + 1 : 2);
}
