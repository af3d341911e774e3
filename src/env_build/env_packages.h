/* SPDX-License-Identifier: Apache-2.0 */
/* What is installed in a virtual environment, from the metadata of its packages (*.dist-info). */
#ifndef PX_ENV_BUILD_ENV_PACKAGES_H
#define PX_ENV_BUILD_ENV_PACKAGES_H

#include "base/json.h"
#include "base/sha256.h"
#include "env_build/env_command.h"
#include "pyexec.h"

struct env_packages {
    json_t *packages; /* array of {name, version}, in the order of the names */
    json_t *imports;  /* array of top-level modules, in order, without those that the standard library has too */
};
void env_packages_done(struct env_packages *packages);

/* Reads VENV/lib/pythonX.Y/site-packages. Adds each package, its version and the hashes of its files to `hash`: not what differs
 * between two installations of the same files. `standard`: the modules of the standard library, in order. */
int env_packages_read(const char *site_packages, const struct px_texts *standard, struct env_packages *ret,
                      struct px_sha256 *hash, pyexec_error *error);

#endif
