/* SPDX-License-Identifier: Apache-2.0 */
/* The interpreters of this machine. */
#ifndef PX_ENV_BUILD_ENV_PYTHON_H
#define PX_ENV_BUILD_ENV_PYTHON_H

#include <stdbool.h>

#include "env_build/env_command.h"
#include "pyexec.h"

struct env_python {
    char *path;       /* of the interpreter itself, without links and launcher scripts */
    char version[32]; /* 3.11.2 */
};
void env_python_done(struct env_python *python);

/* What is wanted; NULL or "" where nothing is asked for. */
struct env_python_wish {
    const char *python;         /* --python: X.Y, X.Y.Z, or a path or name of a program */
    const char *requires;       /* requires-python of a script: ">=3.11,<4" */
    const char *default_python; /* the policy's python_bin */
};

/* Looks at: the default, pythonX.Y in the folders of PATH, and what uv has installed. Nothing is ever downloaded. invalid_request,
 * with a list of the interpreters that are there, if none is right. */
int env_python_find(const struct env_python_wish *wish, struct env_python *ret, pyexec_error *error);

/* Appends the top-level modules of the interpreter's standard library, in order of their bytes. */
int env_python_modules(const struct env_python *python, struct px_texts *ret, pyexec_error *error);

/* True if a version such as 3.11.2 satisfies the specifiers of requires-python (PEP 440). *ret_valid is false if they
 * can't be read. */
bool env_python_satisfies(const char *version, const char *requires, bool *ret_valid);

#endif
