#include "guest/trap.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest/guard.h"
#include "sandbox/seccomp.h"

#define EXIT_SIGSYS (128 + SIGSYS)

/* One thread reports. A second one waits for its _exit, and without the GIL, which the first
 * may need; a trap inside the reporting itself ends it with what was sent so far. */
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

static void on_trap(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    take_turn();
    int call = info->si_syscall;
    const char *name = px_syscall_name(call);
    char what[80];
    snprintf(what, sizeof what, "%s (%d)", name ? name : "unknown", call);
    if (!px_has_gil())
        PyGILState_Ensure();
    px_guard_deny(PX_DENIAL_SYSCALL, what,
                  "The sandbox does not allow this system call, and the run was ended. Processes, "
                  "debugging, mounts and kernel settings are not available to scripts.");
    px_run_abort(PX_OUTCOME_TRAPPED, EXIT_SIGSYS);
}

int px_trap_install(void)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_NODEFER};
    return sigaction(SIGSYS, &action, NULL);
}
