/* SPDX-License-Identifier: Apache-2.0 */
/* Networks of IP addresses, as in the setting allow_private: "10.0.0.0/8", "fd00::/8", or an address, which is a network of one. */
#ifndef PX_BASE_IP_NETWORK_H
#define PX_BASE_IP_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* An address and the number of its leading bits that count. IPv4 is kept as ::ffff:0:0/96. */
struct px_ip_network {
    unsigned char bytes[16];
    unsigned bits;
};

/* Bits after the length must be 0: 10.1.2.3/8 is more likely a mistake than a wish for all of 10.0.0.0/8. */
bool px_ip_network_parse(const char *text, size_t length, struct px_ip_network *ret);

/* True if one of the networks has the address. A mapped IPv4 address counts as IPv4. */
bool px_ip_networks_have(const struct px_ip_network *networks, size_t count, const struct sockaddr *address);

/* True if the first `bits` bits are the same. */
bool px_ip_bits_same(const unsigned char *one, const unsigned char *other, unsigned bits);

#endif
