/* SPDX-License-Identifier: Apache-2.0 */
/* The file policy, for audit events that name paths. It decides and gives helpful errors; mounts and Landlock
 * enforce the same without it. */
#ifndef PX_GUEST_GUARD_GUARD_FILES_H
#define PX_GUEST_GUARD_GUARD_FILES_H

#include "guest/script.h"

void px_guard_files_arm(const struct px_script *run);

/* Checks whether the running code may use `path`: a str, bytes, a path-like object, or a descriptor, which is
 * always allowed. Returns 0, or -1 with PermissionError set and the refusal reported. */
int px_guard_files_check(const char *event, PyObject *path, bool writes);

#endif
