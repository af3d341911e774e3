/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PX_RUNNER_MOUNT_ID_H
#define PX_RUNNER_MOUNT_ID_H

#include <stdbool.h>
#include <stdint.h>

/* Stores the number of the mount on which the file is. False: there is no such file, or this kernel does not say (before Linux 5.8).
 * `folder` and `flags` are those of statx(2). */
bool px_mount_id(int folder, const char *path, int flags, uint64_t *ret);

#endif
