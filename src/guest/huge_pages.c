/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/huge_pages.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/cleanup.h"
#include "base/pages.h"
#include "base/retry.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#ifndef PR_THP_DISABLE_EXCEPT_ADVISED
#define PR_THP_DISABLE_EXCEPT_ADVISED 2
#endif

/* x86-64, and arm64 with pages of 4 KiB. With larger pages a huge page has 32 or 512 MiB, which is too much for an interpreter. */
#define HUGE_PAGE UINT64_C(0x200000)

static bool has_huge_pages(void)
{
    return px_huge_page_bytes(px_page_bytes()) == HUGE_PAGE;
}

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
    if (!has_huge_pages())
        return;
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

/* ---- Sessions that can be forked ---- */

#define LARGE_BLOCK (4u << 20)         /* numpy asks for huge pages from the same size on */
#define SMALL_ARENAS_BYTES (16u << 20) /* so much of small objects stays in small pages */

/* PyMemAllocatorEx and PyObjectArenaAllocator, the same in CPython 3.5 and later. The limited API does not have them. */
struct block_allocator {
    void *context;
    void *(*allocate)(void *context, size_t size);
    void *(*allocate_zeros)(void *context, size_t count, size_t size);
    void *(*resize)(void *context, void *block, size_t size);
    void (*release)(void *context, void *block);
};
struct arena_allocator {
    void *context;
    void *(*allocate)(void *context, size_t size);
    void (*release)(void *context, void *arena, size_t size);
};
#define DOMAIN_RAW 0 /* PYMEM_DOMAIN_RAW: all blocks of more than 512 bytes come from it */

static struct block_allocator raw;
static struct arena_allocator arenas;
static size_t arena_bytes; /* protected by the GIL */
static uintptr_t chunk, chunk_end;

/* Asks for huge pages, which the kernel gives when the memory is first used. */
static void *advise(void *block, size_t size)
{
    uintptr_t start = ((uintptr_t)block + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    uintptr_t end = ((uintptr_t)block + size) & ~(HUGE_PAGE - 1);
    int saved = errno;
    if (block && size >= LARGE_BLOCK && start < end)
        madvise((void *)start, end - start, MADV_HUGEPAGE);
    errno = saved;
    return block;
}

static void *allocate(void *context, size_t size)
{
    return advise(raw.allocate(context, size), size);
}

static void *allocate_zeros(void *context, size_t count, size_t size)
{
    return advise(raw.allocate_zeros(context, count, size), count * size);
}

static void *resize(void *context, void *block, size_t size)
{
    return advise(raw.resize(context, block, size), size);
}

/* Maps one huge page. New mappings lie below the last one, so only the first of them has to be cut. */
static bool map_chunk(void)
{
    const int access = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    void *mapped = mmap(NULL, HUGE_PAGE, access, flags, -1, 0);
    if (mapped == MAP_FAILED)
        return false;
    uintptr_t start = (uintptr_t)mapped;
    if (start % HUGE_PAGE) {
        munmap(mapped, HUGE_PAGE);
        mapped = mmap(NULL, 2 * HUGE_PAGE, access, flags, -1, 0);
        if (mapped == MAP_FAILED)
            return false;
        start = ((uintptr_t)mapped + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
        size_t before = start - (uintptr_t)mapped;
        if (before)
            munmap(mapped, before);
        if (before < HUGE_PAGE)
            munmap((void *)(start + HUGE_PAGE), HUGE_PAGE - before);
    }
    madvise((void *)start, HUGE_PAGE, MADV_HUGEPAGE);
    chunk = start;
    chunk_end = start + HUGE_PAGE;
    return true;
}

/* The interpreter's own allocator also maps each arena, and the release unmaps it, so arenas of both can be released by it. */
static void *allocate_arena(void *context, size_t size)
{
    void *arena = NULL;
    if (arena_bytes >= SMALL_ARENAS_BYTES && HUGE_PAGE % size == 0 && (chunk + size <= chunk_end || map_chunk())) {
        arena = (void *)chunk;
        chunk += size;
    } else {
        arena = arenas.allocate(context, size);
    }
    if (arena)
        arena_bytes += size;
    return arena;
}

static void release_arena(void *context, void *arena, size_t size)
{
    arenas.release(context, arena, size);
    arena_bytes -= arena_bytes < size ? arena_bytes : size; /* some are older than the count */
}

static void replace_allocators(void)
{
    void (*get)(int, struct block_allocator *), (*set)(int, struct block_allocator *);
    void (*get_arenas)(struct arena_allocator *), (*set_arenas)(struct arena_allocator *);
    *(void **)&get = dlsym(RTLD_DEFAULT, "PyMem_GetAllocator");
    *(void **)&set = dlsym(RTLD_DEFAULT, "PyMem_SetAllocator");
    *(void **)&get_arenas = dlsym(RTLD_DEFAULT, "PyObject_GetArenaAllocator");
    *(void **)&set_arenas = dlsym(RTLD_DEFAULT, "PyObject_SetArenaAllocator");
    if (!get || !set || !get_arenas || !set_arenas)
        return;
    get(DOMAIN_RAW, &raw);
    struct block_allocator ours = {raw.context, allocate, allocate_zeros, resize, raw.release};
    set(DOMAIN_RAW, &ours);
    get_arenas(&arenas);
    struct arena_allocator our_arenas = {arenas.context, allocate_arena, release_arena};
    set_arenas(&our_arenas);
}

void px_huge_pages_for_forks(bool on_advice)
{
    if (!has_huge_pages())
        return;
    if (prctl(PR_SET_THP_DISABLE, 1, PR_THP_DISABLE_EXCEPT_ADVISED, 0, 0) == 0 ||
        (on_advice && prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0) == 0))
        replace_allocators();
}
