/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a branch: a process with the state of the process of a session, between two of its calls. */
#ifndef PX_RUNNER_BRANCH_H
#define PX_RUNNER_BRANCH_H

#include "runner/child.h"

struct px_branch {
    const struct px_clone_request *shape; /* of the source */
    struct px_zygotes *zygotes;           /* make the workspace of the branch, if it is in memory */
    int folder, mount;                    /* its folder of the host and a mount of it, or -1 */
    int64_t pause_ns;                     /* out: how long the source stood still */
};

/* Forks `source`, which is between two calls, and which no other thread uses. *ret is then locked and between two calls
 * too. Returns 0, or -1 with `error`; call px_child_done() in both cases. */
int px_branch_start(struct px_child *source, struct px_branch *branch, struct px_child *ret, pyexec_error *error);

/* Checks the source before it is forked, and the branch while the kernel holds it (branch_check.c). */
int px_branch_check_source(const struct px_child *source, pyexec_error *error);
int px_branch_check(const struct px_child *source, const struct px_child *branch, const struct px_branch *how,
                    pyexec_error *error);

/* Reads the process's numbers in the supervisor's PID namespace and in the family's. Returns false if they can't be
 * read. */
bool px_branch_pids(pid_t host_pid, pid_t *ret_outer, pid_t *ret_inner);

/* Ends a process of the family that is no member: a branch that did not report itself. */
void px_branch_end_strangers(const struct px_child *source);

#endif
