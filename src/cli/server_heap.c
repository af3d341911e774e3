/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/server_heap.h"

#include <malloc.h>

#define LARGE_BYTES (128 * 1024)

/* mallopt(3), M_MMAP_THRESHOLD: "when blocks larger than the current threshold and less than or equal to
 * DEFAULT_MMAP_THRESHOLD_MAX are freed, the threshold is adjusted upward to the size of the freed block", that is
 * up to 32 MiB. So after the first large answer the later ones lie in arenas. Each thread has its own arena, and an
 * arena gives nothing back below its last block in use: free blocks between answers that waited for slow readers
 * took twice the memory of these answers. A threshold that a program sets does not move. A block above it has a
 * mapping of its own: free() gives it back to the kernel, it takes only the pages that were written, and it grows
 * by mremap() without a copy. The malloc of musl has this threshold, and no other. */
void cli_heap_for_server(void)
{
#ifdef M_MMAP_THRESHOLD
    (void)!mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
#endif
}
