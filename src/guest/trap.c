#include "guest/trap.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest/guard.h"
#include "sandbox/seccomp.h"

#define EXIT_SIGSYS (128 + SIGSYS)

static void on_trap(int number, siginfo_t *info, void *context)
{
    static volatile sig_atomic_t inside;
    (void)number;
    (void)context;
    /* A call of the reporting itself, or of another thread meanwhile. */
    if (inside)
        _exit(EXIT_SIGSYS);
    inside = 1;
    int call = info->si_syscall;
    const char *name = px_syscall_name(call);
    char what[80];
    snprintf(what, sizeof what, "%s (%d)", name ? name : "unknown", call);
    if (!px_python.gilstate_check || !px_python.gilstate_check())
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
