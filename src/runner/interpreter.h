/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the interpreter: from python_bin to the executable. */
#ifndef PX_RUNNER_INTERPRETER_H
#define PX_RUNNER_INTERPRETER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "protocol/launch.h"

/* Looks python_bin up in PATH when it has no '/'. A launcher script (a pyenv shim) is run once to ask for the
 * executable behind it. `path` gets an absolute path. The link of a virtual environment is not resolved, because
 * the interpreter finds its packages by it. Takes at most 10 seconds. Returns 0, or -1 with
 * PYEXEC_PYTHON_NOT_FOUND or PYEXEC_PYTHON_UNSUPPORTED. */
int px_python_resolve(const char *python_bin, char *path, size_t size, pyexec_error *error);

/* Sets the error about an interpreter that pyexec does not run. `what`: what it says it is. Returns -1. */
int px_python_refused(const char *python, const char *what, pyexec_error *error);

/* The C library of an executable, as its loader says. glibc, when it names no loader or can't be read. */
enum px_libc px_python_libc(const char *path);

/* Finds the owner of the folder in which the interpreter is. */
void px_python_owner(const char *path, uid_t *ret_uid, gid_t *ret_gid);

/* Makes a number that changes when an interpreter is replaced or a virtual environment changes, from the times of
 * the executable and of the folders with installed packages. */
struct px_python_stamp {
    uint64_t device, inode;
    int64_t executable_ns, packages_ns;
};
void px_python_stamp_take(const char *path, struct px_python_stamp *ret);

#endif
