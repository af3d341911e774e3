/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets, with their values: the only place in pyexec that has them. The values are in pages of their own, which are not swapped where
 * the limits allow that, and are in no core dump. */
#ifndef PX_EGRESS_SECRET_STORE_H
#define PX_EGRESS_SECRET_STORE_H

#include "base/host_entry.h"
#include "base/json.h"
#include "egress/secret_authority.h"
#include "protocol/egress.h"

struct px_secret {
    struct px_secret *next;
    char *name;
    struct px_host_entry host;
    char *header, *before, *after; /* the field is HEADER: BEFORE value AFTER */
    char *value;                   /* no NUL at its end */
    size_t length;
    SSL_CTX *context; /* TLS as this host */
};

/* A secret as one run sees it. */
struct px_secret_use {
    const struct px_secret *secret;
    char *replacement; /* of the same length as the value: the placeholder, cut or filled up */
};

/* Takes the packet "secret" and its value from the descriptor, which the caller still owns. Returns NULL, or what is wrong, for a
 * sentence that begins with the secret's name. */
const char *px_secret_add(struct px_secret **list, struct px_authority *authority, const json_t *packet, int value);
const struct px_secret *px_secret_find(const struct px_secret *list, const char *name);
void px_secrets_free(struct px_secret *list);

/* Makes the uses of a run from "secrets" of the packet "open". Returns NULL, or what is wrong. */
const char *px_secret_uses_new(const struct px_secret *list, const json_t *secrets, struct px_secret_use **ret,
                               size_t *ret_count);
void px_secret_uses_free(struct px_secret_use *uses, size_t count);

#endif
