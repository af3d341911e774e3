/* SPDX-License-Identifier: Apache-2.0 */
/* A table of the ids of tasks, in slots of 16 bytes: the first 12 bytes of the id's SHA-256, and a number. So the ids of millions of
 * tasks fit in memory, and nobody can choose two ids that meet. */
#ifndef PX_BATCH_BATCH_IDS_H
#define PX_BATCH_BATCH_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BATCH_HASH_BYTES 12
#define BATCH_HASH_HEX 24
#define BATCH_NUMBER_MAX ((1u << 29) - 1)

struct batch_hash {
    unsigned char bytes[BATCH_HASH_BYTES];
};

struct batch_id {
    struct batch_hash hash;
    uint32_t number : 29; /* its meaning is that of the table */
    uint32_t settled : 1; /* the task is not run */
    uint32_t used : 1;    /* the slot has an id */
};

struct batch_ids {
    struct batch_id *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

struct batch_hash batch_hash_of(const char *bytes, size_t length);
void batch_hash_format(const struct batch_hash *hash, char ret[BATCH_HASH_HEX + 1]);
/* Reads 24 hexadecimal digits. Returns false for other text. */
bool batch_hash_parse(const char *text, struct batch_hash *ret);

void batch_ids_done(struct batch_ids *ids);
/* Returns the id's slot, or NULL. It lives until the next id is added. */
struct batch_id *batch_ids_find(const struct batch_ids *ids, const struct batch_hash *hash);
/* Returns the id's slot, which may be new, or NULL: no memory. */
struct batch_id *batch_ids_add(struct batch_ids *ids, const struct batch_hash *hash);

#endif
