/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ip_network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define V4_START 12 /* where the IPv4 address is in a mapped address */

static const unsigned char mapped_prefix[V4_START] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool px_ip_bits_same(const unsigned char *one, const unsigned char *other, unsigned bits)
{
    unsigned rest = bits % 8;
    unsigned char mask = (unsigned char)(0xff00u >> rest);
    return memcmp(one, other, bits / 8) == 0 && (rest == 0 || (one[bits / 8] & mask) == (other[bits / 8] & mask));
}

/* Returns false for another family. */
static bool to_bytes(const struct sockaddr *address, unsigned char ret[16])
{
    if (address->sa_family == AF_INET) {
        memcpy(ret, mapped_prefix, sizeof mapped_prefix);
        memcpy(ret + V4_START, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
        return true;
    }
    if (address->sa_family == AF_INET6)
        memcpy(ret, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    return address->sa_family == AF_INET6;
}

bool px_ip_networks_have(const struct px_ip_network *networks, size_t count, const struct sockaddr *address)
{
    unsigned char bytes[16];
    if (!to_bytes(address, bytes))
        return false;
    for (size_t i = 0; i < count; i++)
        if (px_ip_bits_same(bytes, networks[i].bytes, networks[i].bits))
            return true;
    return false;
}

/* Returns the number of bits, without a sign and without zeros in front, or `most` + 1. */
static unsigned parse_bits(const char *digits, size_t length, unsigned most)
{
    unsigned bits = 0;
    if (length == 0 || length > 3 || (digits[0] == '0' && length > 1))
        return most + 1;
    for (size_t i = 0; i < length; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return most + 1;
        bits = bits * 10 + (unsigned)(digits[i] - '0');
    }
    return bits;
}

bool px_ip_network_parse(const char *text, size_t length, struct px_ip_network *ret)
{
    static const unsigned char zeros[16];
    char address[INET6_ADDRSTRLEN];
    const char *slash = memchr(text, '/', length);
    size_t address_length = slash ? (size_t)(slash - text) : length;
    unsigned most;
    if (address_length >= sizeof address || memchr(text, 0, length))
        return false;
    memcpy(address, text, address_length);
    address[address_length] = '\0';
    memcpy(ret->bytes, mapped_prefix, sizeof mapped_prefix);
    if (inet_pton(AF_INET, address, ret->bytes + V4_START) == 1)
        most = 32;
    else if (inet_pton(AF_INET6, address, ret->bytes) == 1)
        most = 128;
    else
        return false;
    unsigned bits = slash ? parse_bits(slash + 1, length - address_length - 1, most) : most;
    if (bits > most)
        return false;
    ret->bits = 128 - most + bits;
    unsigned char rest[16];
    memcpy(rest, ret->bytes, sizeof rest);
    for (unsigned i = 0; i < ret->bits; i++)
        rest[i / 8] &= (unsigned char)~(0x80u >> i % 8);
    return memcmp(rest, zeros, sizeof rest) == 0;
}
