/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroup v2 folder of one launcher, where the host lets us have one:
 *
 *   TOP            the operator's: the own cgroup where it is delegated, or [host] cgroup
 *   TOP/pyexec-…   ours, locked by flock(2) while it is in use
 *     warm         supervisor and zygotes
 *     run-N        one child, born there by CLONE_INTO_CGROUP; made and removed by the host
 *
 * The outer process makes it before there is a supervisor, and removes it after that has ended, also
 * when the host was killed. What both leave behind when they are killed, the next start removes. */
#ifndef PX_LAUNCH_CGROUP_H
#define PX_LAUNCH_CGROUP_H

#include "base/error.h"

struct px_cgroup {
    int top, base, warm; /* descriptors; -1: no cgroups */
    char name[64];       /* of the base */
};

/* `setting` is auto, off or a path. 0: in use, with *ret_text the folder. 1: not, and *ret_text says
 * why. -1: a path that can't be used. */
int px_cgroup_enter(struct px_cgroup *cgroup, const char *setting, char *ret_text, size_t size, pyexec_error *error);

/* Ends what is left in it, removes it and closes it. */
void px_cgroup_leave(struct px_cgroup *cgroup);

#endif
