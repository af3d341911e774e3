/* SPDX-License-Identifier: Apache-2.0 */
/* Copies a workspace for a branch. A script may have made what is in it, and may even write while it is copied: links are
 * copied as links and never followed. */
#ifndef PX_RUNNER_WORKSPACE_COPY_H
#define PX_RUNNER_WORKSPACE_COPY_H

#include "base/error.h"

/* Copies all regular files, folders and symbolic links below `from` into the empty folder `to`: contents with their holes,
 * modes, times, owners, and names of the same file. Returns 0, or -1 with `error`: session_not_forkable when it has more
 * entries or deeper folders than the host can list. */
int px_workspace_copy(int from, int to, pyexec_error *error);

#endif
