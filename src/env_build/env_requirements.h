/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be installed: requirements of the command line and of requirements files, as one text for pip or uv.
 *
 * Without `build`, everything that would run the code of a package while it is installed is refused here, because pip's
 * --only-binary does not hold for folders, archives and repositories that are named directly, and a requirements file can
 * take it back. */
#ifndef PX_ENV_BUILD_ENV_REQUIREMENTS_H
#define PX_ENV_BUILD_ENV_REQUIREMENTS_H

#include <stdbool.h>

#include "base/json.h"
#include "env_build/env_command.h"

struct env_requirements {
    bool build;
    struct px_buffer text;        /* lines of a requirements file: options and requirements */
    struct px_buffer constraints; /* lines of a constraints file */
    json_t *shown;                /* array: the requirements, without passwords in addresses */
    struct px_texts variables;    /* names of variables ${NAME} in the lines, which pip and uv replace */
};

void env_requirements_init(struct env_requirements *requirements, bool build);
void env_requirements_done(struct env_requirements *requirements);

/* "pandas>=2", "./a.whl", "name @ https://…/a.whl". */
int env_requirements_add(struct env_requirements *requirements, const char *requirement, pyexec_error *error);
/* The same from somebody who is not trusted: only a name with versions, no address and no path. */
int env_requirements_add_name(struct env_requirements *requirements, const char *requirement, pyexec_error *error);
int env_requirements_add_file(struct env_requirements *requirements, const char *path, pyexec_error *error);
/* Lines that an earlier call made. */
int env_requirements_add_lines(struct env_requirements *requirements, const char *bytes, size_t length,
                               bool constraints, pyexec_error *error);

#endif
