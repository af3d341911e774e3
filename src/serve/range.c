/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/range.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int px_range_parse(const char *header, uint64_t size, uint64_t *ret_first, uint64_t *ret_count)
{
    char *end;
    if (!header || strncmp(header, "bytes=", 6) != 0 || strchr(header, ','))
        return 0;
    header += 6;
    bool suffix = *header == '-';
    if (!(suffix ? header[1] >= '0' && header[1] <= '9' : *header >= '0' && *header <= '9'))
        return 0;
    uint64_t first = strtoull(header + suffix, &end, 10), last = size - 1;
    if (suffix) {
        if (*end || !first || !size)
            return *end ? 0 : -1;
        *ret_first = first < size ? size - first : 0;
        *ret_count = size - *ret_first;
        return 1;
    }
    if (*end != '-')
        return 0;
    if (end[1]) {
        char *rest;
        if (end[1] < '0' || end[1] > '9')
            return 0;
        last = strtoull(end + 1, &rest, 10);
        if (*rest || last < first)
            return 0;
    }
    if (first >= size)
        return -1;
    *ret_first = first;
    *ret_count = (last < size ? last + 1 : size) - first;
    return 1;
}
