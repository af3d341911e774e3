/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroup v2 folder of one launcher, if the host allows one:
 *
 *     TOP            belongs to the operator: this process's cgroup if it is delegated, or [host] cgroup
 *     TOP/pyexec-…   belongs to pyexec, and is locked by flock(2) while it is in use
 *         warm       supervisor and zygotes
 *         run-N      one child, started there by CLONE_INTO_CGROUP; the host makes and removes it
 *
 * The outer process makes it before the supervisor exists, and removes it after the supervisor has ended, also
 * when the host was killed. If both are killed, the next start removes what they left. */
#ifndef PX_LAUNCH_CGROUP_H
#define PX_LAUNCH_CGROUP_H

#include "base/error.h"

struct px_cgroup {
    int top, base, warm; /* descriptors; -1: no cgroups are used */
    char name[64];       /* name of the folder `base` */
};

/* `setting` is auto, off or a path. Returns 0 when the cgroup is used: *ret_text is its folder. Returns 1 when it
 * is not used: *ret_text says why. Returns -1 when the path can't be used. */
int px_cgroup_enter(struct px_cgroup *cgroup, const char *setting, char *ret_text, size_t size, pyexec_error *error);

/* Ends the processes that still run in it, removes it and closes it. */
void px_cgroup_leave(struct px_cgroup *cgroup);

#endif
