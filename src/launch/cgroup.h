/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroup v2 folder of one launcher, if the host allows one:
 *
 *     TOP            the operator's: the own cgroup if it is delegated, or [host] cgroup
 *     TOP/pyexec-…   ours, locked by flock(2) while it is in use
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
    char name[64];       /* of the base */
};

/* `setting` is auto, off or a path. Returns 0: it is used, and *ret_text is the folder. 1: it is not used, and
 * *ret_text says why. -1: the path can't be used. */
int px_cgroup_enter(struct px_cgroup *cgroup, const char *setting, char *ret_text, size_t size, pyexec_error *error);

/* Ends what still runs in it, removes it and closes it. */
void px_cgroup_leave(struct px_cgroup *cgroup);

#endif
