/* SPDX-License-Identifier: Apache-2.0 */
/* Names of hosts, as in the policy field allowed_hosts: NAME[:PORT] or *.NAME[:PORT]. The star stands for exactly one label. The
 * port is 443 if it is not given.
 *
 * A name is in ASCII (names in other scripts as punycode, xn--…), in lower case, and has no dot at its end. It is no IP address: a
 * name whose last label begins with a digit is refused, because libc and browsers take 1.2.3.4, 0x7f.1, 017700000001 and 127.1 for
 * addresses, and no top-level domain begins with a digit. */
#ifndef PX_BASE_HOST_ENTRY_H
#define PX_BASE_HOST_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PX_HOST_NAME_MAX 253 /* bytes, RFC 1035 2.3.4 without the final dot */
#define PX_HOST_LABEL_MAX 63
#define PX_HOST_ENTRY_MAX (PX_HOST_NAME_MAX + 6) /* bytes, with ":65535" */
#define PX_HOST_ENTRY_DEFAULT_PORT 443

struct px_host_entry {
    char name[PX_HOST_NAME_MAX + 1]; /* of *.example.com: example.com */
    bool wildcard;
    uint16_t port;
};

/* Copies the name in lower case and without its final dot to `ret`, which has PX_HOST_NAME_MAX + 1 bytes. Returns NULL, or why this
 * is no name of a host: a clause such as "it has an empty label". */
const char *px_host_name_parse(const char *text, size_t length, char *ret);

/* Returns the port, from 1 to 65535 without zeros in front, or 0 if this is none. */
uint16_t px_host_port_parse(const char *text, size_t length);

/* Parses an entry of allowed_hosts. Returns NULL, or why this is no entry. */
const char *px_host_entry_parse(const char *text, size_t length, struct px_host_entry *ret);

/* True if the entry names this host, whatever its port. The name is one that px_host_name_parse() made. */
bool px_host_entry_names(const struct px_host_entry *entry, const char *name);

/* True if each host and port of `wanted` is also one of `ceiling`. */
bool px_host_entry_covers(const struct px_host_entry *ceiling, const struct px_host_entry *wanted);

#endif
