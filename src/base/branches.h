/* SPDX-License-Identifier: Apache-2.0 */
/* What the filter, the process that answers its questions and the guest must agree on about branches: the copies of a
 * session that the session's own process makes (docs/architecture.md, Branches). */
#ifndef PX_BASE_BRANCHES_H
#define PX_BASE_BRANCHES_H

#include <sched.h>

/* The flags of the clone that makes a branch: exactly these. The branch is the supervisor's child, and has a user and a
 * mount namespace of its own. Nothing else differs from its source. */
#define PX_BRANCH_FLAGS (CLONE_PARENT | CLONE_NEWUSER | CLONE_NEWNS | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID)

/* The flags of the clone that makes a checkpoint: a copy of a session that takes the place of the session's process when the
 * session returns to this state. So it needs no namespaces of its own, and the chain of undos can have any length. */
#define PX_CHECKPOINT_FLAGS (CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID)

/* The flags of the clone of pthread_create. */
#define PX_THREAD_FLAGS \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

/* With this call a new branch says that it exists, has no capability and no descriptor of its source: getpgid() of a
 * number that no process has. The kernel holds the branch in it until the host has examined it. Its source makes this call too
 * when it has come back from the clone: then the branch exists, or never will. A checkpoint says the same, and waits in this call until
 * the session returns to it. */
#define PX_BRANCH_ARRIVES (-1)

/* With this call a test says that it exists; its second argument is the number of its template. The kernel holds it until the
 * host has examined it and its template is held in its next clone. */
#define PX_TEST_ARRIVES (-2)

/* The descriptors that a branch gets while it is held: stdin, stdout, stderr and the channel. */
#define PX_BRANCH_FDS 4

#endif
