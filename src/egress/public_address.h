/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses a run may reach: public unicast only.
 *
 * Source: the IANA registries of special-purpose addresses for IPv4 and IPv6 (RFC 6890 and its updates, as of October 2025), rows
 * that are not "globally reachable", and a few rows that are but lead into somebody's own network. For IPv6 everything outside of
 * 2000::/3 is refused, because IANA assigns unicast addresses from it only. */
#ifndef PX_EGRESS_PUBLIC_ADDRESS_H
#define PX_EGRESS_PUBLIC_ADDRESS_H

#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

/* Returns NULL for a public unicast address, or what it is instead, for a sentence: "a loopback address". */
const char *px_public_address_check(const struct sockaddr *address);

/* INET6_ADDRSTRLEN bytes are enough. */
void px_ip_address_format(const struct sockaddr *address, char *ret, size_t size);

#endif
