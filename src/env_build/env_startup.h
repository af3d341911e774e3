/* SPDX-License-Identifier: Apache-2.0 */
/* Code of packages that Python runs when it starts. */
#ifndef PX_ENV_BUILD_ENV_STARTUP_H
#define PX_ENV_BUILD_ENV_STARTUP_H

#include "pyexec.h"

/* Removes it from the environment in FOLDER/env/venv: files *.pth, sitecustomize and usercustomize. For
 * packages that a script or a request chose: such code would run in the warm parent, before the last layers of a script are
 * closed. */
int env_startup_drop(const char *folder, pyexec_error *error);

#endif
