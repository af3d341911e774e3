/* SPDX-License-Identifier: Apache-2.0 */
/* Copies a workspace for a branch. A script may have made what is in it, and may even write while it is copied: links are
 * copied as links and never followed. */
#ifndef PX_RUNNER_WORKSPACE_COPY_H
#define PX_RUNNER_WORKSPACE_COPY_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/error.h"

/* Copies all regular files, folders and symbolic links below `from` into the empty folder `to`: contents with their holes,
 * modes, times, owners, and names of the same file. A folder of the copy is listed in the order of its source. Returns 0, or -1 with `error`: session_not_forkable when it has more
 * entries or deeper folders than the host can list. */
int px_workspace_copy(int from, int to, pyexec_error *error);

/* True if there is nothing in it. */
bool px_workspace_is_empty(int folder);

/* Makes the workspace the same as its copy again: removes all that is in it, and copies everything back. `copy` -1: it was empty.
 * The folder itself gets back the mode and times in `status`. Nobody may write meanwhile. Returns 0, or -1 with `error`. */
int px_workspace_restore(int copy, int workspace, const struct stat *status, pyexec_error *error);

#endif
