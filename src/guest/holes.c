/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/holes.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "guest/python.h"

#define SMALL_MAX 512 /* CPython has pools for blocks up to this size, one kind for each 16 bytes (obmalloc.c) */
#define LARGE_MAX 4096
#define HEADER 8             /* malloc's own bytes in each block */
#define TAKEN_MAX (4u << 20) /* the most bytes that the blocks of one size take */
#ifdef __GLIBC__
#define HEAP_IN_ROWS true
#else /* musl's malloc has small groups of blocks with gaps between them, so it would only take time (0.6 s) */
#define HEAP_IN_ROWS false
#endif
#define DENSE 3072 /* this many bytes of free blocks in a row, most of a page, are not holes */

struct block {
    struct block *before;
};

struct allocator {
    void *(*take)(size_t size);
    void (*give)(void *block);
};

/* Takes blocks until they follow each other without a gap, and gives those back. Gives all of them back when none
 * do: an allocator for debugging puts something between them. */
static void fill(const struct allocator *from, size_t size, size_t stride)
{
    struct block *last = NULL;
    size_t count = 0, in_a_row = 0;
    while (count * stride < TAKEN_MAX && in_a_row * stride < DENSE) {
        struct block *block = from->take(size);
        if (!block)
            break;
        in_a_row = (uintptr_t)block == (uintptr_t)last + stride ? in_a_row + 1 : 1;
        block->before = last;
        last = block;
        count++;
    }
    for (size_t left = in_a_row * stride < DENSE ? count : in_a_row; left; left--) {
        struct block *block = last;
        last = block->before;
        from->give(block);
    }
}

void px_holes_fill(void)
{
    static const struct allocator objects = {PyObject_Malloc, PyObject_Free}, heap = {malloc, free};
    for (size_t size = LARGE_MAX; HEAP_IN_ROWS && size >= 32; size /= 2)
        fill(&heap, size - HEADER, size);
    for (size_t size = 1040; HEAP_IN_ROWS && size >= 32; size -= 16)
        fill(&heap, size - HEADER, size);
    for (size_t size = 16; size <= SMALL_MAX; size += 16)
        fill(&objects, size, size);
}
