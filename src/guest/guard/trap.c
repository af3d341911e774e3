/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/guard/trap.h"

#include <linux/audit.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest/guard/guard.h"
#include "sandbox/seccomp.h"

#define EXIT_SIGSYS (PYEXEC_EXIT_SIGNAL + SIGSYS)

/* Only one thread reports. A second thread gives up the GIL, which the first may need, and waits until the first
 * calls _exit. A trap during the reporting itself ends the process with what was sent so far. */
static void take_turn(void)
{
    static atomic_uintptr_t reporting;
    uintptr_t self = (uintptr_t)pthread_self(), none = 0;
    if (atomic_compare_exchange_strong(&reporting, &none, self))
        return;
    if (none == self)
        _exit(EXIT_SIGSYS);
    if (px_has_gil())
        PyEval_SaveThread();
    for (;;)
        pause();
}

#define X32_BIT 0x40000000
#ifdef __x86_64__
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#define OTHER_INTERFACE "the 32-bit interface (int 0x80)"
#else
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#define OTHER_INTERFACE "the 32-bit interface"
#endif

#define OTHER_HINT \
    "The script used the x32 or 32-bit system call interface, which the sandbox does not allow " \
    "at all, and the run was ended. Make the call through Python or the C library."
#define CALL_HINT \
    "The sandbox does not allow this system call, and the run was ended. Processes, debugging, " \
    "mounts and kernel settings are not available to scripts."

/* Names the system call and returns the hint. The same number means another call in another interface (x32,
 * 32-bit). */
static const char *describe(const siginfo_t *info, char *what, size_t size)
{
    int call = info->si_syscall;
    if (info->si_arch != NATIVE_ARCH) {
        snprintf(what, size, "number %d of %s", call, OTHER_INTERFACE);
        return OTHER_HINT;
    }
    bool x32 = call > 0 && call & X32_BIT;
    const char *name = px_syscall_name(x32 ? call & ~X32_BIT : call);
    snprintf(what, size, "%s (%d)%s", name ? name : "unknown", x32 ? call & ~X32_BIT : call,
             x32 ? " of the x32 interface" : "");
    return x32 ? OTHER_HINT : CALL_HINT;
}

static void on_trap(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    take_turn();
    char what[80];
    const char *hint = describe(info, what, sizeof what);
    if (!px_has_gil())
        PyGILState_Ensure();
    px_guard_deny(PX_DENIAL_SYSCALL, what, hint);
    px_script_abort(PX_OUTCOME_TRAPPED, EXIT_SIGSYS);
}

int px_trap_install(void)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_NODEFER};
    return sigaction(SIGSYS, &action, NULL);
}
