/* SPDX-License-Identifier: Apache-2.0 */
/* Waits for processes that have ended, at a cost that does not grow with the number of those that live.
 *
 * waitid(2) for any child looks at all children of the process until it finds one that has ended. Each session is a
 * child of the supervisor: with 4,500 idle sessions, two such passes for each single run cost 520 us. SIGCHLD names
 * the child that ended, and waiting for this child alone costs the same with any number of others (Linux 5.13). But
 * when more children end before the signal has been read, the kernel drops their signals. So a pass over all children
 * still follows. When it is expensive, it is made only so often that it takes at most a hundredth of the time. */
#ifndef PX_LAUNCH_REAPER_H
#define PX_LAUNCH_REAPER_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

typedef void (*px_reaped_fn)(void *data, const siginfo_t *info, const struct rusage *usage);

struct px_reaper {
    px_reaped_fn reaped; /* called for each child that has ended */
    void *data;
    bool pass_due;          /* a pass over all children must still be made */
    int64_t next_pass_ns;   /* and not before this time */
    uint64_t passes, found; /* how many passes were made, and how many children only they found */
};

/* A SIGCHLD named this child. */
void px_reaper_signalled(struct px_reaper *reaper, pid_t pid);

/* Makes a pass over all children, if one is due and its time has come. */
void px_reaper_pass(struct px_reaper *reaper);

/* Returns after how many milliseconds px_reaper_pass() must be called again, for poll(2); -1: not until a signal. */
int px_reaper_timeout(const struct px_reaper *reaper);

/* Returns how long to wait after a pass that used so much CPU time. */
int64_t px_reaper_pause_ns(int64_t pass_ns);

#endif
