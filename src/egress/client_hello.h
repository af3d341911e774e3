/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the server's name (SNI, RFC 6066) from the first message of a TLS client, the ClientHello (RFC 8446, 4.1.2).
 *
 * The message may be split over several TLS records, and each of these over several segments of TCP. With Encrypted Client Hello, the
 * name is the one that is not encrypted. */
#ifndef PX_EGRESS_CLIENT_HELLO_H
#define PX_EGRESS_CLIENT_HELLO_H

#include <stdbool.h>
#include <stddef.h>

#include "base/host_entry.h"

/* A ClientHello with post-quantum keys has 2 KiB, and one that resumes a session has a ticket of up to 64 KiB; more than 16 KiB is
 * not seen. */
#define PX_CLIENT_HELLO_MAX 32768 /* bytes, with the records' headers */
#define PX_CLIENT_HELLO_RECORD 0x16

enum px_client_hello {
    PX_CLIENT_HELLO_MORE,    /* not all of it is there yet */
    PX_CLIENT_HELLO_NAME,    /* `name` is set, as px_host_name_parse() makes it */
    PX_CLIENT_HELLO_NO_NAME, /* it has no SNI */
    PX_CLIENT_HELLO_BAD,     /* this is no ClientHello */
};

enum px_client_hello px_client_hello_parse(const unsigned char *bytes, size_t length, char name[PX_HOST_NAME_MAX + 1]);

#endif
