/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that glibc has only since 2.32 and 2.33, for a bundle's guest extension (old_libc.h). They
 * are hidden, so that nobody else gets them. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Since 2.33; before, they were inline functions over __xstat. The kernel's struct is glibc's on
 * 64-bit machines, and newfstatat is what later versions call too. */
_Static_assert(sizeof(long) == 8, "struct stat differs on 32-bit machines");

int fstat64(int fd, struct stat64 *status)
{
    return (int)syscall(SYS_newfstatat, fd, "", status, AT_EMPTY_PATH);
}

int stat64(const char *path, struct stat64 *status)
{
    return (int)syscall(SYS_newfstatat, AT_FDCWD, path, status, 0);
}

int lstat64(const char *path, struct stat64 *status)
{
    return (int)syscall(SYS_newfstatat, AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}

/* Since 2.32. The texts of known numbers are constants in older versions too. */
const char *strerrordesc_np(int number)
{
    static _Thread_local char unknown[64];
    return strerror_r(number, unknown, sizeof unknown);
}
