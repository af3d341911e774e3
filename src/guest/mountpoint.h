/* SPDX-License-Identifier: Apache-2.0 */
/* Where a workspace becomes visible. The root that all children share is read-only, so a path that
 * it lacks is made in a tmpfs of the child's own. The tmpfs covers the deepest folder of the path
 * that exists, and shows the entries of that folder beside the new one. No child sees the names of
 * another child's workspace, and none uses up the inodes of the shared root. */
#ifndef PX_GUEST_MOUNTPOINT_H
#define PX_GUEST_MOUNTPOINT_H

#include "base/error.h"
#include "protocol/launch.h"

struct px_mountpoint {
    char covered[PX_WORKSPACE_PATH_MAX]; /* the folder that the tmpfs covers */
    int tmpfs;                           /* detached; -1: the path exists, nothing is covered */
};

/* Zygote: finds the folder to cover and makes the tmpfs with all folders in it, because an unmapped
 * child can't make files of its own. */
int px_mountpoint_find(struct px_mountpoint *point, const char *path, pyexec_error *error);
void px_mountpoint_done(struct px_mountpoint *point);

/* Child: mounts the tmpfs, read-only, with the entries of the covered folder. */
int px_mountpoint_make(const struct px_mountpoint *point, pyexec_error *error);

#endif
