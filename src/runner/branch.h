/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a branch or a checkpoint: a process with the state of the process of a session, between two of its calls. */
#ifndef PX_RUNNER_BRANCH_H
#define PX_RUNNER_BRANCH_H

#include <sys/stat.h>

#include "runner/child.h"

struct px_family;

/* A state to which a session can return. */
struct px_checkpoint {
    struct px_child child; /* its workspace is a copy of the session's; -1: that was empty, or there is none */
    struct stat folder;    /* the session's workspace: mode and times */
};

struct px_branch {
    const struct px_clone_request *shape; /* of the source */
    struct px_zygotes *zygotes;           /* make the workspace of the branch, if it is in memory */
    int folder, mount;                    /* its folder of the host and a mount of it, or -1 */
    bool checkpoint;                      /* it does not run. The kernel holds it until px_checkpoint_resume() */
    int timeout_ms;                       /* the source is ended if it takes longer; 0: it has PX_SETUP_TIMEOUT_MS */
    int64_t pause_ns;                     /* out: how long the source stood still */
};

/* Forks `source`, which is between two calls, and which no other thread uses. *ret is then locked and between two calls
 * too. The workspace of a checkpoint is a copy for px_checkpoint_resume(), or -1 if it is empty. Returns 0, or -1 with `error`; call
 * px_child_done() in both cases. */
int px_branch_start(struct px_child *source, struct px_branch *branch, struct px_child *ret, pyexec_error *error);

/* Makes a checkpoint like px_branch_start(). Call px_checkpoint_done() in both cases. */
int px_checkpoint_make(struct px_child *source, struct px_branch *branch, struct px_checkpoint *ret,
                       pyexec_error *error);

/* The checkpoint takes the place of `live`, of which it was made: kills that process, puts the files of the workspace back, and lets
 * the checkpoint run. Returns 0, and `checkpoint` is then the old process; or -1 with `error`, and then `live` has ended. Call
 * px_checkpoint_done() in both cases. */
int px_checkpoint_resume(struct px_child *live, struct px_checkpoint *checkpoint, pyexec_error *error);

/* Kills its process. */
void px_checkpoint_done(struct px_checkpoint *checkpoint);

/* Lets the branch that has reported itself run, or this checkpoint. Returns 0, or -1 with `error`. */
int px_branch_let_run(struct px_family *family, pid_t checkpoint, pyexec_error *error);

/* Moves its process into a cgroup of its own, where there are cgroups. */
int px_branch_move_to_cgroup(const struct px_child *branch, const struct px_clone_request *shape, pyexec_error *error);

/* Checks the source before it is forked, and the branch while the kernel holds it (branch_check.c). */
int px_branch_check_source(const struct px_child *source, bool checkpoint, pyexec_error *error);
int px_branch_check(const struct px_child *source, const struct px_child *branch, const struct px_branch *how,
                    pyexec_error *error);

/* Checks a test while the kernel holds it and its template, which was made by `how`. `user_namespace`: that of the template, when that was
 * made. */
int px_branch_check_test(const struct px_child *template, const struct px_child *test, const struct px_branch *how,
                         const struct stat *user_namespace, pyexec_error *error);

/* Makes a workspace in memory with a copy of these files. Call close() on *ret in both cases. */
int px_branch_copy_workspace(const struct px_branch *how, int from, int *ret, pyexec_error *error);

/* Sends a request about a process of a family to the supervisor (PX_LAUNCH_PLACE). */
int px_branch_place(struct px_launcher *launcher, struct px_launch_zygote *request, const int *fds, size_t count,
                    pyexec_error *error);

/* Reads the user namespace of a process. Returns 0 or -1. */
int px_branch_user_namespace(const struct px_child *child, struct stat *ret);

/* Reads the process's numbers in the supervisor's PID namespace and in the family's. Returns false if they can't be
 * read. */
bool px_branch_pids(pid_t host_pid, pid_t *ret_outer, pid_t *ret_inner);

/* Ends a process of the family that is no member: a branch that did not report itself. */
void px_branch_end_strangers(const struct px_child *source);

#endif
