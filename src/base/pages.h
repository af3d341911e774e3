/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes in pages of memory. A page has 4 KiB on x86-64, and 4, 16 or 64 KiB on arm64. The size is a parameter, so that unit tests can give
 * each; the program gives px_page_bytes(). */
#ifndef PX_BASE_PAGES_H
#define PX_BASE_PAGES_H

#include <stdint.h>
#include <unistd.h>

static inline uint64_t px_page_bytes(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Returns so many bytes, rounded up to whole pages. */
static inline uint64_t px_whole_pages(uint64_t bytes, uint64_t page_bytes)
{
    return (bytes + page_bytes - 1) / page_bytes * page_bytes;
}

/* Returns the size of a huge page: as much as one page of page table entries, with 8 bytes each, maps. */
static inline uint64_t px_huge_page_bytes(uint64_t page_bytes)
{
    return page_bytes / 8 * page_bytes;
}

#endif
