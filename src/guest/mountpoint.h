/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the place where a workspace is mounted. All children share a read-only root. When the workspace's path
 * does not exist in it, the path is made in a tmpfs that only this child has. The tmpfs covers the deepest
 * existing folder of the path and shows that folder's entries beside the new one. So no child sees the names of
 * another child's workspace, and no child uses up the inodes of the shared root. */
#ifndef PX_GUEST_MOUNTPOINT_H
#define PX_GUEST_MOUNTPOINT_H

#include "base/error.h"
#include "protocol/launch.h"

struct px_mountpoint {
    char covered[PX_WORKSPACE_PATH_MAX]; /* the folder that the tmpfs covers */
    int tmpfs;                           /* a detached mount; -1: the path exists and nothing is covered */
};

/* Called in the zygote: finds the folder to cover and makes the tmpfs with all folders in it. The zygote does this
 * because a child without an id map can't make files there. */
int px_mountpoint_find(struct px_mountpoint *point, const char *path, pyexec_error *error);
void px_mountpoint_done(struct px_mountpoint *point);

/* Called in the child: mounts the tmpfs read-only, with the entries of the covered folder. */
int px_mountpoint_make(const struct px_mountpoint *point, pyexec_error *error);

#endif
