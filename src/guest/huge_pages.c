/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/huge_pages.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/cleanup.h"
#include "base/retry.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define HUGE_PAGE UINT64_C(0x200000) /* x86-64, and arm64 with pages of 4 KiB; elsewhere madvise(2) refuses */

/* Collapses the huge pages that lie wholly inside one mapping. */
static void collapse(uint64_t start, uint64_t end)
{
    for (start = (start + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1); start + HUGE_PAGE <= end; start += HUGE_PAGE)
        madvise((void *)(uintptr_t)start, HUGE_PAGE, MADV_COLLAPSE); /* may be refused: no huge page is free */
}

/* Each line of self/maps is one mapping (proc_pid_maps(5)). */
static void collapse_private_memory(FILE *maps)
{
    char line[4608]; /* a path has at most 4095 bytes */
    while (fgets(line, sizeof line, maps)) {
        uint64_t start, end, inode;
        char access[5];
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*s %*s %" SCNu64, &start, &end, access, &inode) == 4 && !inode &&
            strcmp(access, "rw-p") == 0)
            collapse(start, end);
    }
}

void px_huge_pages_collapse_heap(int proc)
{
    px_auto_fd int fd = px_openat(proc, "self/maps", O_RDONLY | O_CLOEXEC, 0);
    FILE *maps = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (!maps)
        return;
    fd = -1;
    prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0); /* while it is set, madvise(2) refuses to collapse */
    collapse_private_memory(maps);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    fclose(maps);
}
