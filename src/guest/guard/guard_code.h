/* SPDX-License-Identifier: Apache-2.0 */
/* Checks for code that a script makes under file names of the interpreter, and for native code that it loads. The
 * guard knows library code by its file name, so a script must not be able to give its own code such a name. */
#ifndef PX_GUEST_GUARD_GUARD_CODE_H
#define PX_GUEST_GUARD_GUARD_CODE_H

#include "guest/python.h"

/* Called in the zygote: wraps the function of the import system that renames code. Returns 0, or -1 with an
 * exception set. */
int px_code_install(void);

/* Called before a code object with this file name is made. */
void px_code_note_name(PyObject *filename);

/* Called before a code object is run or put into a function, perhaps with the globals of other code. */
void px_code_note_object(PyObject *code);

/* marshal makes code objects without telling their names. `bytes` is the data that it reads, or NULL for a file.
 * Returns 0, or -1 with ImportError set. */
int px_code_check_marshal(const char *event, PyObject *bytes);

/* Called before an extension module is loaded, or a library by ctypes. Returns 0, or -1 with ImportError set. */
int px_code_check_extension(PyObject *name, PyObject *path);
int px_code_check_library(PyObject *name);

#endif
