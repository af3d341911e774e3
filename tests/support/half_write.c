/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into pyexec: of the HALF_NUMBER-th write of more than 10000 bytes to a file only a half is written, as on a disk that becomes full; then
 * the disk has space again, but the file can't be made shorter. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int large, halved;
static __thread int full;

ssize_t write(int fd, const void *bytes, size_t size)
{
    ssize_t (*real)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    struct stat info;
    if (full) {
        full = 0;
        errno = ENOSPC;
        return -1;
    }
    if (size <= 10000 || fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) ||
        __atomic_add_fetch(&large, 1, __ATOMIC_RELAXED) != atoi(getenv("HALF_NUMBER")))
        return real(fd, bytes, size);
    full = 1;
    __atomic_store_n(&halved, 1, __ATOMIC_RELAXED);
    return real(fd, bytes, size / 2);
}

static int shorten(const char *name, int fd, off_t length)
{
    int (*real)(int, off_t) = (int (*)(int, off_t))dlsym(RTLD_NEXT, name);
    if (!__atomic_load_n(&halved, __ATOMIC_RELAXED))
        return real(fd, length);
    errno = EIO;
    return -1;
}

int ftruncate(int fd, off_t length)
{
    return shorten("ftruncate", fd, length);
}

int ftruncate64(int fd, off_t length)
{
    return shorten("ftruncate64", fd, length);
}
