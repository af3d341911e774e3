/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/public_address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/ip_network.h"

struct special_v4 {
    uint32_t network;
    unsigned bits;
    const char *is;
};

static const struct special_v4 special_v4[] = {
    {0x00000000, 8, "an address of \"this network\", which leads to the machine itself"}, /* RFC 791 */
    {0x0a000000, 8, "a private address"},                                                 /* RFC 1918 */
    {0x64400000, 10, "an address that is shared by the customers of a provider"},         /* RFC 6598 */
    {0x7f000000, 8, "a loopback address"},                                                /* RFC 1122 */
    {0xa83f8110, 32, "the address of a cloud's metadata service"}, /* 168.63.129.16, Azure; looks public */
    {0xa9fe0000, 16, "a link-local address, such as those of metadata services"}, /* RFC 3927 */
    {0xac100000, 12, "a private address"},                                        /* RFC 1918 */
    {0xc0000000, 24, "an address of protocols"},        /* RFC 6890; 192.0.0.192 is Oracle's metadata */
    {0xc0000200, 24, "an address for documentation"},   /* RFC 5737 */
    {0xc0586300, 24, "a 6to4 relay's address"},         /* RFC 7526 */
    {0xc0a80000, 16, "a private address"},              /* RFC 1918 */
    {0xc6120000, 15, "an address for benchmarks"},      /* RFC 2544 */
    {0xc6336400, 24, "an address for documentation"},   /* RFC 5737 */
    {0xcb007100, 24, "an address for documentation"},   /* RFC 5737 */
    {0xe0000000, 4, "a multicast address"},             /* RFC 5771 */
    {0xf0000000, 4, "a reserved or broadcast address"}, /* RFC 1112, RFC 919 */
};

/* The first row that has the address decides. Rows inside of 2000::/3, and others for a better word. */
static const struct special_v6 {
    unsigned char bytes[16];
    unsigned bits;
    const char *is;
} special_v6[] = {
    {{0}, 128, "the unspecified address, which leads to the machine itself"},             /* RFC 4291 */
    {{[15] = 1}, 128, "a loopback address"},                                              /* RFC 4291 */
    {{[10] = 0xff, [11] = 0xff}, 96, "an IPv4 address in the form of IPv6 (mapped)"},     /* RFC 4291; see check_v6() */
    {{0}, 96, "an IPv4 address in the form of IPv6 (compatible)"},                        /* RFC 4291 */
    {{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48, "an address of a local NAT64 translator"}, /* RFC 8215 */
    {{0x01, 0x00}, 64, "a discard address"},                                              /* RFC 6666 */
    {{0x20, 0x01, 0x00, 0x00}, 32, "a Teredo address, which has an IPv4 address inside"}, /* RFC 4380 */
    {{0x20, 0x01, 0x00, 0x00}, 23, "an address of protocols"},                            /* RFC 2928 */
    {{0x20, 0x01, 0x0d, 0xb8}, 32, "an address for documentation"},                       /* RFC 3849 */
    {{0x20, 0x02}, 16, "a 6to4 address, which has an IPv4 address inside"},               /* RFC 3056 */
    {{0x3f, 0xff, 0x00}, 20, "an address for documentation"},                             /* RFC 9637 */
    {{0xfc}, 7, "a private address (unique local)"},                                      /* RFC 4193 */
    {{0xfe, 0x80}, 10, "a link-local address"},                                           /* RFC 4291 */
    {{0xfe, 0xc0}, 10, "a site-local address"},                                           /* RFC 3879 */
    {{0xff}, 8, "a multicast address"},                                                   /* RFC 4291 */
};
static const unsigned char global_unicast[16] = {0x20};
#define GLOBAL_UNICAST_BITS 3
/* RFC 6052. The translator connects to the IPv4 address in the last four bytes. */
static const unsigned char nat64[16] = {0x00, 0x64, 0xff, 0x9b};
#define NAT64_BITS 96
#define NAT64_V4_START 12 /* where the IPv4 address is in NAT64's */

static const char *check_v4(const unsigned char bytes[4])
{
    uint32_t address = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    for (size_t i = 0; i < PX_COUNT(special_v4); i++)
        if ((address ^ special_v4[i].network) >> (32 - special_v4[i].bits) == 0)
            return special_v4[i].is;
    return NULL;
}

static const char *check_v6(const struct sockaddr_in6 *address)
{
    const unsigned char *bytes = address->sin6_addr.s6_addr;
    if (address->sin6_scope_id)
        return "an address with a zone, which is of the machine's own links";
    if (px_ip_bits_same(bytes, nat64, NAT64_BITS))
        return check_v4(bytes + NAT64_V4_START);
    for (size_t i = 0; i < PX_COUNT(special_v6); i++)
        if (px_ip_bits_same(bytes, special_v6[i].bytes, special_v6[i].bits))
            return special_v6[i].is;
    return px_ip_bits_same(bytes, global_unicast, GLOBAL_UNICAST_BITS) ? NULL
                                                                       : "an address that nobody has been assigned";
}

const char *px_public_address_check(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        unsigned char bytes[4];
        memcpy(bytes, &((const struct sockaddr_in *)(const void *)address)->sin_addr, sizeof bytes);
        return check_v4(bytes);
    }
    return address->sa_family == AF_INET6 ? check_v6((const struct sockaddr_in6 *)(const void *)address)
                                          : "no internet address";
}

void px_ip_address_format(const struct sockaddr *address, char *ret, size_t size)
{
    const void *bytes = address->sa_family == AF_INET
                            ? (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr
                            : (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (!inet_ntop(address->sa_family, bytes, ret, (socklen_t)size))
        snprintf(ret, size, "?");
}
