/* SPDX-License-Identifier: Apache-2.0 */
/* Whether only the operator can write to a file or folder of the store. */
#ifndef PX_ENVIRONMENTS_ENVIRONMENT_TRUST_H
#define PX_ENVIRONMENTS_ENVIRONMENT_TRUST_H

#include "base/error.h"

/* Checks an open file or folder; `path` is for the message. sandbox_unavailable when its owner is neither root nor the
 * user who runs this process, or when its mode lets a group or all users write. */
int px_environment_trust(int fd, const char *path, pyexec_error *error);

/* Checks the folders above `path`, up to the root of the file system: who can write to one of them could put another
 * folder in its place. A folder with the sticky bit, such as /tmp, does not allow that. The group of root may write there, and a group with
 * the number of the user who runs this process. */
int px_environment_trust_above(const char *path, pyexec_error *error);

#endif
