/* SPDX-License-Identifier: Apache-2.0 */
/* What is known about the exits of processes below the supervisor, by pid. The launcher's lock protects it. */
#ifndef PX_RUNNER_EXITS_H
#define PX_RUNNER_EXITS_H

#include <stdbool.h>
#include <stddef.h>

#include "protocol/launch.h"

#define PX_EXIT_LISTS 1024
#define PX_EXIT_FDS 8 /* the most descriptors of one child */

/* The known facts about the exit of one process. At most one thread waits for it. */
struct px_exit {
    struct px_exit *next;
    pid_t pid;
    bool exited, forgotten;
    uint64_t run_cgroup; /* the number of its cgroup, or 0 */
    /* Descriptors that are closed when it has ended. */
    int fds[PX_EXIT_FDS];
    size_t fd_count;
    struct px_launch_event event;
};

struct px_exits {
    struct px_exit *lists[PX_EXIT_LISTS]; /* by pid: thousands of sessions may end at once */
    size_t holding;                       /* how many have descriptors */
};

/* Returns the record of a pid, and makes it if it is missing; NULL without memory. Both sides make it, because an
 * exit may be reported before the answer to the clone has been read. */
struct px_exit *px_exits_get(struct px_exits *exits, pid_t pid);

/* Frees the record. Its descriptors must have been taken. */
void px_exits_remove(struct px_exits *exits, struct px_exit *gone);

/* Lets the record hold these descriptors, and sets them to -1. Does nothing when enough processes hold some: these
 * are then closed by who has them. */
void px_exits_hold(struct px_exits *exits, struct px_exit *holder, int *fds, size_t count);

/* Takes the descriptors that the record holds, to be closed without the lock. Returns their number. */
size_t px_exits_take_fds(struct px_exits *exits, struct px_exit *holder, int ret_fds[PX_EXIT_FDS]);

/* Closes all descriptors that are held, because no more exits will be reported. */
void px_exits_close_all(struct px_exits *exits);

/* Frees all records. */
void px_exits_done(struct px_exits *exits);

#endif
