/* SPDX-License-Identifier: Apache-2.0 */
/* Kills the process that preloads it, before or after its N-th call of a kind: "renameat:2:before" in KILL_AT. The kinds
 * are the calls by which `pyexec serve` writes its state file: openat, write, fsync, renameat, fdatasync. Only calls of
 * openat that make a file count, and only calls of write to a file. Before a kill in write, half of the bytes are
 * written. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_int calls;

static int number_of(const char *kind)
{
    const char *at = getenv("KILL_AT");
    size_t length = strlen(kind);
    return at && strncmp(at, kind, length) == 0 && at[length] == ':' ? atoi(at + length + 1) : 0;
}

static int is_now(const char *kind)
{
    int number = number_of(kind);
    return number && ++calls == number;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static int is_before(void)
{
    return strstr(getenv("KILL_AT"), ":before") != NULL;
}

#define AROUND(kind, call) \
    int now = is_now(kind); \
    if (now && is_before()) \
        die(); \
    __auto_type result = call; \
    if (now) \
        die(); \
    return result

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    int (*real)(int, const char *, int, const char *) = dlsym(RTLD_NEXT, "renameat");
    AROUND("renameat", real(from_folder, from, to_folder, to));
}

int fsync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    AROUND("fsync", real(fd));
}

int fdatasync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    AROUND("fdatasync", real(fd));
}

int openat(int folder, const char *path, int flags, ...)
{
    int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, "openat");
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    if (!(flags & O_EXCL))
        return real(folder, path, flags, mode);
    AROUND("openat", real(folder, path, flags, mode));
}

int openat64(int folder, const char *path, int flags, ...) __attribute__((alias("openat")));

ssize_t write(int fd, const void *bytes, size_t length)
{
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    struct stat status;
    if (!number_of("write") || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || fd == STDERR_FILENO ||
        fd == STDOUT_FILENO)
        return real(fd, bytes, length);
    if (!is_now("write"))
        return real(fd, bytes, length);
    (void)!real(fd, bytes, is_before() ? length / 2 : length);
    die();
    return -1;
}
