/* SPDX-License-Identifier: Apache-2.0 */
/* What a script says about its packages: the metadata of PEP 723, in comments.
 *
 *     # /// script
 *     # requires-python = ">=3.11"
 *     # dependencies = ["pandas>=2"]
 *     # ///                                                                                                   */
#ifndef PX_ENV_BUILD_ENV_SCRIPT_H
#define PX_ENV_BUILD_ENV_SCRIPT_H

#include "env_build/env_command.h"

struct env_script {
    struct px_texts dependencies;
    char *requires; /* requires-python, or NULL */
};
void env_script_done(struct env_script *script);

/* Reads the first part of its TOML, up to the first table ([tool.…]), which is for other tools. A script without metadata has no
 * dependencies. invalid_request if the metadata can't be read. */
int env_script_read(const char *code, size_t length, struct env_script *ret, pyexec_error *error);

#endif
