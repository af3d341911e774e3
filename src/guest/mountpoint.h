/* Where a workspace becomes visible. A path that the root lacks is made inside a private tmpfs
 * of the child, so that no child sees the names of another's; only the first missing folder
 * name is made in the root that all share. */
#ifndef PX_GUEST_MOUNTPOINT_H
#define PX_GUEST_MOUNTPOINT_H

#include <stddef.h>

#include "base/error.h"

struct px_mountpoint {
    size_t private_length;  /* of the path's prefix that the private tmpfs covers; 0: none */
};

/* Zygote: finds the place, and makes the folder for the private tmpfs when it is missing. */
int px_mountpoint_find(struct px_mountpoint *point, const char *path, pyexec_error *error);

/* Child: mounts the private tmpfs and makes the rest of the path in it, read-only after. */
int px_mountpoint_make(const struct px_mountpoint *point, const char *path, pyexec_error *error);

#endif
