/* SPDX-License-Identifier: Apache-2.0 */
/* The hash of tables in memory, FNV-1a. It is not keyed: whoever chooses the texts can make them meet in one bucket. */
#ifndef PX_BASE_HASH_H
#define PX_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t px_hash(const char *text, size_t length)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    return hash;
}

#endif
