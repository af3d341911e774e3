/* Where a workspace becomes visible. A path that the root lacks is made inside a private tmpfs
 * of the child, so that no child sees the names of another's; only the first missing folder
 * name is made in the root that all share. */
#ifndef PX_GUEST_MOUNTPOINT_H
#define PX_GUEST_MOUNTPOINT_H

#include <stddef.h>

#include "base/error.h"

struct px_mountpoint {
    size_t private_length;  /* of the path's prefix that the private tmpfs covers; 0: none */
    int tmpfs;              /* the detached private mount, with the rest of the path in it */
};

/* Zygote: finds the place, makes the folder for the private tmpfs when it is missing, and the
 * private tmpfs with the folders in it (an unmapped child may make no files of its own). */
int px_mountpoint_find(struct px_mountpoint *point, const char *path, pyexec_error *error);
void px_mountpoint_done(struct px_mountpoint *point);

/* Child: attaches the private tmpfs, read-only. */
int px_mountpoint_make(const struct px_mountpoint *point, const char *path, pyexec_error *error);

#endif
