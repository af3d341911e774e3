/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the interpreter: from python_bin to the executable. */
#ifndef PX_RUNNER_INTERPRETER_H
#define PX_RUNNER_INTERPRETER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Looks python_bin up in PATH when it has no '/', and asks a launcher script (a pyenv shim)
 * once, by running it, for the executable behind it. `path` gets an absolute path; a virtual
 * environment's link is kept as it is, since the interpreter finds its packages by it.
 * 0, or -1 with PYEXEC_PYTHON_NOT_FOUND or PYEXEC_PYTHON_UNSUPPORTED. At most 10 seconds. */
int px_python_resolve(const char *python_bin, char *path, size_t size, pyexec_error *error);

/* The owner of the folder in which the interpreter is. */
void px_python_owner(const char *path, uid_t *ret_uid, gid_t *ret_gid);

/* What shows that an interpreter was replaced or a virtual environment changed: the times of the executable and
 * of the folders with installed packages. */
struct px_python_stamp {
    uint64_t device, inode;
    int64_t executable_ns, packages_ns;
};
void px_python_stamp_take(const char *path, struct px_python_stamp *ret);

#endif
