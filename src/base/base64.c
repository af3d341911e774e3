/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#include <string.h>

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char for_urls[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(struct px_buffer *out, const char *alphabet, bool padded, const void *bytes, size_t length)
{
    const unsigned char *in = bytes;
    char *to = px_buffer_reserve(out, (length + 2) / 3 * 4);
    if (!to)
        return;
    char *at = to;
    for (size_t i = 0; i < length; i += 3) {
        size_t rest = length - i;
        unsigned word = (unsigned)in[i] << 16 | (rest > 1 ? (unsigned)in[i + 1] << 8 : 0) | (rest > 2 ? in[i + 2] : 0);
        *at++ = alphabet[word >> 18];
        *at++ = alphabet[word >> 12 & 63];
        *at++ = rest > 1 ? alphabet[word >> 6 & 63] : '=';
        *at++ = rest > 2 ? alphabet[word & 63] : '=';
    }
    if (!padded && length % 3)
        at -= 3 - length % 3;
    *at = '\0';
    out->length += (size_t)(at - to);
}

static int decode(struct px_buffer *out, const char *alphabet, const char *text, size_t length)
{
    unsigned word = 0, bits = 0;
    if (length % 4 == 1)
        return -1;
    for (size_t i = 0; i < length; i++) {
        const char *at = text[i] ? memchr(alphabet, text[i], 64) : NULL;
        if (!at)
            return -1;
        word = word << 6 | (unsigned)(at - alphabet);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            px_buffer_add_byte(out, (char)(word >> bits & 0xFF));
        }
    }
    return px_buffer_ok(out) ? 0 : -1;
}

void px_base64_encode(struct px_buffer *out, const void *bytes, size_t length)
{
    encode(out, standard, true, bytes, length);
}

int px_base64_decode(struct px_buffer *out, const char *text, size_t length)
{
    while (length && text[length - 1] == '=')
        length--;
    return decode(out, standard, text, length);
}

void px_base64url_encode(struct px_buffer *out, const void *bytes, size_t length)
{
    encode(out, for_urls, false, bytes, length);
}

int px_base64url_decode(struct px_buffer *out, const char *text, size_t length)
{
    return decode(out, for_urls, text, length);
}
