/* SPDX-License-Identifier: Apache-2.0 */
#include "batch/batch_ids.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"

#define FIRST_CAPACITY 1024

_Static_assert(sizeof(struct batch_id) == 16, "a slot has 16 bytes");

struct batch_hash batch_hash_of(const char *bytes, size_t length)
{
    char hex[PX_SHA256_HEX + 1];
    struct px_sha256 sum;
    struct batch_hash hash;
    px_sha256_init(&sum);
    px_sha256_add(&sum, bytes, length);
    px_sha256_end(&sum, hex);
    batch_hash_parse(hex, &hash);
    return hash;
}

void batch_hash_format(const struct batch_hash *hash, char ret[BATCH_HASH_HEX + 1])
{
    for (size_t i = 0; i < BATCH_HASH_BYTES; i++)
        snprintf(ret + 2 * i, 3, "%02x", hash->bytes[i]);
}

static int digit(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool batch_hash_parse(const char *text, struct batch_hash *ret)
{
    for (size_t i = 0; i < BATCH_HASH_BYTES; i++) {
        int high = digit(text[2 * i]), low = high < 0 ? -1 : digit(text[2 * i + 1]);
        if (low < 0)
            return false;
        ret->bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

void batch_ids_done(struct batch_ids *ids)
{
    free(ids->slots);
    *ids = (struct batch_ids){0};
}

/* The slot of the id, or the free slot where it would be. */
static struct batch_id *slot_of(const struct batch_ids *ids, const struct batch_hash *hash)
{
    size_t at;
    memcpy(&at, hash->bytes, sizeof at);
    for (at &= ids->capacity - 1; ids->slots[at].used; at = (at + 1) & (ids->capacity - 1))
        if (memcmp(&ids->slots[at].hash, hash, sizeof *hash) == 0)
            break;
    return &ids->slots[at];
}

struct batch_id *batch_ids_find(const struct batch_ids *ids, const struct batch_hash *hash)
{
    struct batch_id *slot = ids->capacity ? slot_of(ids, hash) : NULL;
    return slot && slot->used ? slot : NULL;
}

static int grow(struct batch_ids *ids)
{
    struct batch_ids larger = {.capacity = ids->capacity ? 2 * ids->capacity : FIRST_CAPACITY, .count = ids->count};
    larger.slots = calloc(larger.capacity, sizeof *larger.slots);
    if (!larger.slots)
        return -1;
    for (size_t i = 0; i < ids->capacity; i++)
        if (ids->slots[i].used)
            *slot_of(&larger, &ids->slots[i].hash) = ids->slots[i];
    free(ids->slots);
    *ids = larger;
    return 0;
}

struct batch_id *batch_ids_add(struct batch_ids *ids, const struct batch_hash *hash)
{
    if (4 * ids->count >= 3 * ids->capacity && grow(ids) < 0)
        return NULL;
    struct batch_id *slot = slot_of(ids, hash);
    if (!slot->used) {
        *slot = (struct batch_id){.hash = *hash, .used = 1};
        ids->count++;
    }
    return slot;
}
