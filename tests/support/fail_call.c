/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into pyexec: fails one call of recv() or read() of the host (FAIL_CALL, FAIL_NUMBER) with ENOMEM. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int is_due(const char *name)
{
    static int calls;
    const char *wanted = getenv("FAIL_CALL");
    if (!wanted || strcmp(wanted, name) != 0 ||
        __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) != atoi(getenv("FAIL_NUMBER")))
        return 0;
    (void)!write(2, "injected\n", 9);
    errno = ENOMEM;
    return 1;
}

ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
    ssize_t (*real)(int, void *, size_t, int) = (ssize_t(*)(int, void *, size_t, int))dlsym(RTLD_NEXT, "recv");
    return is_due("recv") ? -1 : real(fd, bytes, size, flags);
}

ssize_t read(int fd, void *bytes, size_t size)
{
    ssize_t (*real)(int, void *, size_t) = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    return is_due("read") ? -1 : real(fd, bytes, size);
}
