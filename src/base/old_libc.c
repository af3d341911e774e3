/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that glibc has only since 2.32 or 2.33, for the guest extension of a bundle (see old_libc.h) and for the programs of
 * a wheel (tools/old-libc.sh). They are hidden, so that no other code uses them. signal_names.c has two more. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Since glibc 2.33. Before it they were inline functions that called __xstat. On 64-bit machines the kernel's
 * struct is the same as glibc's, and newfstatat is what later versions call too. */
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

/* Since glibc 2.32. In older versions, too, the text of a known number is a constant. */
const char *strerrordesc_np(int number)
{
    static _Thread_local char unknown[64];
    return strerror_r(number, unknown, sizeof unknown);
}
