/* SPDX-License-Identifier: Apache-2.0 */
/* Starts the programs that make an environment: interpreters, pip, uv. */
#ifndef PX_ENV_BUILD_ENV_COMMAND_H
#define PX_ENV_BUILD_ENV_COMMAND_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/texts.h"
#include "pyexec.h"

/* The environment of these programs: few variables of ours. Those that say where the package index is, and how to reach it, are
 * kept; all others that would change what is installed, or where, are not. `build`: those of compilers too. `names`: further
 * names, or NULL. */
void env_command_environment(struct px_texts *ret, bool build, const struct px_texts *names);

struct env_command {
    struct px_texts arguments; /* the first one is the path of the program */
    const struct px_texts *environment;
    int lock;           /* a descriptor that the program inherits as long as it runs, or -1 */
    bool show;          /* its output also goes to our standard error */
    const char *folder; /* where it runs, or NULL: the folder of the caller */
};

/* Runs it until it ends, without input. Appends the end of its output, both streams, at most 64 KiB. Returns its exit status, 128
 * and the signal if one ended it, or -1 with an error. It is killed if this process is killed. */
int env_command_run(const struct env_command *command, struct px_buffer *output, pyexec_error *error);

#endif
