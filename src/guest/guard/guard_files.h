/* SPDX-License-Identifier: Apache-2.0 */
/* The file policy, for audit events that name paths. Policy and messages: the mounts and
 * Landlock are what holds. */
#ifndef PX_GUEST_GUARD_GUARD_FILES_H
#define PX_GUEST_GUARD_GUARD_FILES_H

#include "guest/script.h"

void px_guard_files_arm(const struct px_script *run);

/* Whether the code that runs may touch `path` (str, bytes, path-like, or a descriptor, which is
 * always fine). 0, or -1 with PermissionError set and the refusal reported. */
int px_guard_files_check(const char *event, PyObject *path, bool writes);

#endif
