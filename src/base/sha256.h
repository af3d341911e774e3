/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4). For names of what has this content, not for secrets: it takes no care of timing. The program itself
 * links no library of cryptography; only `pyexec serve` does. */
#ifndef PX_BASE_SHA256_H
#define PX_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define PX_SHA256_HEX 64 /* digits, without the NUL */

struct px_sha256 {
    uint32_t state[8];
    uint64_t length; /* of all bytes so far */
    unsigned char block[64];
};

void px_sha256_init(struct px_sha256 *hash);
void px_sha256_add(struct px_sha256 *hash, const void *bytes, size_t length);
/* Adds the string with its NUL, so that "ab", "c" differs from "a", "bc". */
void px_sha256_add_string(struct px_sha256 *hash, const char *string);
void px_sha256_end(struct px_sha256 *hash, char hex[PX_SHA256_HEX + 1]);

#endif
