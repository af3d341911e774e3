/* SPDX-License-Identifier: Apache-2.0 */
/* Paths as text, and opening them safely where an untrusted process may change the folders. */
#ifndef PX_BASE_PATHS_H
#define PX_BASE_PATHS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* True if `path` is `folder` or below it. Compares the texts only. */
bool px_path_below(const char *path, const char *folder);

/* True if one of its parts is "..". */
bool px_path_has_parent(const char *path, size_t length);

/* Opens a path below `folder`, close-on-exec. Somebody who can write there can't lead it outside: a link on the
 * way gives ELOOP, a way out EXDEV (openat2(2), Linux 5.6). Returns -1 with errno. */
int px_open_beneath(int folder, const char *path, int flags, mode_t mode);

/* Offers each program of this name in the absolute folders of PATH, in order, until `take` returns true. Returns whether it did. */
bool px_path_search(const char *name, bool (*take)(void *closure, const char *program), void *closure);

#endif
