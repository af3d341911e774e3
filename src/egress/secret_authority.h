/* SPDX-License-Identifier: Apache-2.0 */
/* The certificate authority of one executor, which only runs with secrets trust, and the two sides of TLS.
 *
 * Its key never touches a disk: it is made here, and kept in a memory file that the host holds open and does not read. So the next proxy
 * of the executor, after this one was killed, has the same authority. It signs certificates for hosts of secrets alone. */
#ifndef PX_EGRESS_SECRET_AUTHORITY_H
#define PX_EGRESS_SECRET_AUTHORITY_H

#include <openssl/ssl.h>

#include "base/buffer.h"

struct px_authority;

/* Loads the authority from the memory file, or makes it if the file is empty. `roots` is a file with the certificates (PEM) that servers
 * are checked with. Returns NULL, or what is wrong. The caller still owns the descriptors. */
const char *px_authority_new(int key_file, int roots, struct px_authority **ret);
void px_authority_free(struct px_authority *authority);

/* The authority's certificate, in PEM. */
const char *px_authority_certificate(const struct px_authority *authority);

/* The side of a script: TLS as this host, with a certificate made for it. NULL: no memory. */
SSL_CTX *px_authority_host(struct px_authority *authority, const char *host);

/* The side of a server: TLS to this host, whose certificate is checked. NULL: no memory. */
SSL *px_authority_connect(struct px_authority *authority, const char *host);

#endif
