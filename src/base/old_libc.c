/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that glibc has only since 2.32 or 2.33, for the guest extension of a bundle (see old_libc.h) and for the programs of
 * a wheel (tools/old-libc.sh). They are hidden, so that no other code uses them. */
#include <fcntl.h>
#include <signal.h>
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

const char *sigdescr_np(int number)
{
    return number > 0 && number < __SIGRTMIN ? strsignal(number) : NULL;
}

const char *sigabbrev_np(int number)
{
    static const char *const names[] = {
        [SIGHUP] = "HUP",       [SIGINT] = "INT",   [SIGQUIT] = "QUIT",   [SIGILL] = "ILL",   [SIGTRAP] = "TRAP",
        [SIGABRT] = "ABRT",     [SIGBUS] = "BUS",   [SIGFPE] = "FPE",     [SIGKILL] = "KILL", [SIGUSR1] = "USR1",
        [SIGSEGV] = "SEGV",     [SIGUSR2] = "USR2", [SIGPIPE] = "PIPE",   [SIGALRM] = "ALRM", [SIGTERM] = "TERM",
        [SIGSTKFLT] = "STKFLT", [SIGCHLD] = "CHLD", [SIGCONT] = "CONT",   [SIGSTOP] = "STOP", [SIGTSTP] = "TSTP",
        [SIGTTIN] = "TTIN",     [SIGTTOU] = "TTOU", [SIGURG] = "URG",     [SIGXCPU] = "XCPU", [SIGXFSZ] = "XFSZ",
        [SIGVTALRM] = "VTALRM", [SIGPROF] = "PROF", [SIGWINCH] = "WINCH", [SIGIO] = "POLL",   [SIGPWR] = "PWR",
        [SIGSYS] = "SYS",
    };
    return number > 0 && (size_t)number < sizeof names / sizeof names[0] ? names[number] : NULL;
}
