/* SPDX-License-Identifier: Apache-2.0 */
/* The names of signals, where the C library does not give them: glibc before 2.32, and musl. */
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"

static const char *const names[] = {
    [SIGHUP] = "HUP",       [SIGINT] = "INT",   [SIGQUIT] = "QUIT",   [SIGILL] = "ILL",   [SIGTRAP] = "TRAP",
    [SIGABRT] = "ABRT",     [SIGBUS] = "BUS",   [SIGFPE] = "FPE",     [SIGKILL] = "KILL", [SIGUSR1] = "USR1",
    [SIGSEGV] = "SEGV",     [SIGUSR2] = "USR2", [SIGPIPE] = "PIPE",   [SIGALRM] = "ALRM", [SIGTERM] = "TERM",
    [SIGSTKFLT] = "STKFLT", [SIGCHLD] = "CHLD", [SIGCONT] = "CONT",   [SIGSTOP] = "STOP", [SIGTSTP] = "TSTP",
    [SIGTTIN] = "TTIN",     [SIGTTOU] = "TTOU", [SIGURG] = "URG",     [SIGXCPU] = "XCPU", [SIGXFSZ] = "XFSZ",
    [SIGVTALRM] = "VTALRM", [SIGPROF] = "PROF", [SIGWINCH] = "WINCH", [SIGIO] = "POLL",   [SIGPWR] = "PWR",
    [SIGSYS] = "SYS",
};

static bool is_known(int number)
{
    return number > 0 && (size_t)number < PX_COUNT(names);
}

const char *sigdescr_np(int number)
{
    return is_known(number) ? strsignal(number) : NULL;
}

const char *sigabbrev_np(int number)
{
    return is_known(number) ? names[number] : NULL;
}
