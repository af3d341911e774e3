/* SPDX-License-Identifier: Apache-2.0 */
/* Kills the process that preloads it before its N-th call that changes a file system, makes a lock or starts a process (KILL_AT=N), or
 * writes the number of such calls to the file COUNT_TO at its end. Processes that it starts do not get the variable. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static int calls;
static pid_t first;

__attribute__((constructor)) static void begin(void)
{
    first = getpid();
}

static void count(void)
{
    const char *at = getenv("KILL_AT");
    if (getpid() != first || first <= 1)
        return;
    if (at && ++calls == atoi(at))
        kill(first, SIGKILL);
}

__attribute__((destructor)) static void end(void)
{
    const char *to = getenv("COUNT_TO");
    FILE *file = to && getpid() == first ? fopen(to, "w") : NULL;
    if (!file)
        return;
    fprintf(file, "%d\n", calls);
    fclose(file);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int mkdirat(int folder, const char *path, mode_t mode)
{
    count();
    return REAL(mkdirat)(folder, path, mode);
}

int mkdir(const char *path, mode_t mode)
{
    count();
    return REAL(mkdir)(path, mode);
}

int renameat(int from, const char *old, int to, const char *new)
{
    count();
    return REAL(renameat)(from, old, to, new);
}

int symlinkat(const char *target, int folder, const char *path)
{
    count();
    return REAL(symlinkat)(target, folder, path);
}

int unlinkat(int folder, const char *path, int flags)
{
    count();
    return REAL(unlinkat)(folder, path, flags);
}

/* Locks. Programs with 64-bit offsets call fcntl64(). */
int fcntl64(int fd, int command, ...)
{
    va_list list;
    va_start(list, command);
    void *argument = va_arg(list, void *);
    va_end(list);
    if (command == F_OFD_SETLK)
        count();
    return REAL(fcntl64)(fd, command, argument);
}

int fchmodat(int folder, const char *path, mode_t mode, int flags)
{
    count();
    return REAL(fchmodat)(folder, path, mode, flags);
}

int fchmod(int fd, mode_t mode)
{
    count();
    return REAL(fchmod)(fd, mode);
}

int syncfs(int fd)
{
    count();
    return REAL(syncfs)(fd);
}

pid_t fork(void)
{
    count();
    return REAL(fork)();
}

int openat(int folder, const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    if (flags & O_CREAT)
        count();
    return REAL(openat)(folder, path, flags, mode);
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    struct stat status;
    if (fd > 2 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
        count();
    return REAL(write)(fd, bytes, length);
}
