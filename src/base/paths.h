/* SPDX-License-Identifier: Apache-2.0 */
/* Paths, as text and as something to be opened without being led astray. */
#ifndef PX_BASE_PATHS_H
#define PX_BASE_PATHS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Whether `path` is `folder` or lies below it, by their texts. */
bool px_path_below(const char *path, const char *folder);

/* Whether one of its parts is "..". */
bool px_path_has_parent(const char *path, size_t length);

/* Opens a path below `folder`, close-on-exec; whoever writes there can't lead out of it: a link
 * in it is ELOOP, a way out EXDEV (openat2(2), Linux 5.6). -1 with errno. */
int px_open_beneath(int folder, const char *path, int flags, mode_t mode);

#endif
