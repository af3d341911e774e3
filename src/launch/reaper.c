/* SPDX-License-Identifier: Apache-2.0 */
#include "launch/reaper.h"

#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/retry.h"

#define CHEAP_PASS_NS INT64_C(20000)               /* some hundred children */
#define PAUSE_MAX_NS (INT64_C(100) * PX_NS_PER_MS) /* the host waits up to 5 s for an exit */

static bool take(struct px_reaper *reaper, idtype_t type, pid_t pid)
{
    siginfo_t info = {0};
    struct rusage usage;
    if (px_waitid(type, (id_t)pid, &info, WEXITED | WNOHANG | __WALL, &usage) < 0 || info.si_pid == 0)
        return false;
    reaper->reaped(reaper->data, &info, &usage);
    return true;
}

int64_t px_reaper_pause_ns(int64_t pass_ns)
{
    int64_t pause = pass_ns < CHEAP_PASS_NS ? 0 : 100 * pass_ns;
    return pause < PAUSE_MAX_NS ? pause : PAUSE_MAX_NS;
}

void px_reaper_signalled(struct px_reaper *reaper, pid_t pid)
{
    if (pid > 0)
        (void)take(reaper, P_PID, pid);
    reaper->pass_due = true;
}

/* The CPU time is measured, because on a busy machine the process may have to wait in the middle of the pass. */
void px_reaper_pass(struct px_reaper *reaper)
{
    if (!reaper->pass_due || px_now_ns() < reaper->next_pass_ns)
        return;
    int64_t began = px_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    while (take(reaper, P_ALL, 0))
        reaper->found++;
    int64_t used = px_clock_ns(CLOCK_THREAD_CPUTIME_ID) - began;
    reaper->passes++;
    reaper->pass_due = false;
    reaper->next_pass_ns = px_now_ns() + px_reaper_pause_ns(used);
}

int px_reaper_timeout(const struct px_reaper *reaper)
{
    if (!reaper->pass_due)
        return -1;
    int64_t left = reaper->next_pass_ns - px_now_ns();
    return left <= 0 ? 0 : (int)((left + PX_NS_PER_MS - 1) / PX_NS_PER_MS);
}
