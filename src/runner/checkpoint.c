/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of a session: copies of its process that the kernel holds until the session returns to one. Nothing is cloned for the
 * return: the checkpoint was examined when it was made, and since then it has been in one system call. The kernel takes the answer
 * of that call only if this is still so. */
#include <errno.h>

#include "base/error.h"
#include "runner/branch.h"
#include "runner/family.h"
#include "runner/workspace_copy.h"

int px_checkpoint_make(struct px_child *source, struct px_branch *branch, struct px_checkpoint *ret,
                       pyexec_error *error)
{
    branch->checkpoint = true;
    if (px_branch_start(source, branch, &ret->child, error) < 0)
        return -1;
    if (source->workspace >= 0 && fstat(source->workspace, &ret->folder) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't examine the workspace");
    return 0;
}

static int resume(struct px_child *live, struct px_checkpoint *checkpoint, pyexec_error *error)
{
    struct px_family_member *member = checkpoint->child.member;
    /* It must have closed its files too: they hold space of the workspace. */
    px_child_kill(live, false);
    if (live->workspace >= 0 &&
        px_workspace_restore(checkpoint->child.workspace, live->workspace, &checkpoint->folder, error) < 0)
        return -1;
    px_family_replace(live->member, member);
    return px_branch_let_run(member->family, member->pid, error) < 0
               ? -1
               : px_child_await_locked(&checkpoint->child, PX_SETUP_TIMEOUT_MS, error);
}

int px_checkpoint_resume(struct px_child *live, struct px_checkpoint *checkpoint, pyexec_error *error)
{
    struct px_family *family = live->member->family;
    pthread_mutex_lock(&family->fork_lock);
    int result = resume(live, checkpoint, error);
    pthread_mutex_unlock(&family->fork_lock);
    if (result < 0)
        return -1;
    struct px_child ended = *live;
    *live = checkpoint->child;
    live->workspace = ended.workspace;
    ended.workspace = checkpoint->child.workspace;
    checkpoint->child = ended;
    return 0;
}

void px_checkpoint_done(struct px_checkpoint *checkpoint)
{
    px_child_done(&checkpoint->child);
}
