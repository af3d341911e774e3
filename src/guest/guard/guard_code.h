/* SPDX-License-Identifier: Apache-2.0 */
/* Code that a script makes under the interpreter's file names, and native code that it loads. The
 * guard knows library code by its file name, so such names must not be a script's to give. */
#ifndef PX_GUEST_GUARD_GUARD_CODE_H
#define PX_GUEST_GUARD_GUARD_CODE_H

#include "guest/python.h"

/* Zygote: wraps the import system's function that renames code. 0, or -1 with an exception. */
int px_code_install(void);

/* A code object is about to be made with this file name. */
void px_code_note_name(PyObject *filename);

/* A code object is about to be run or put into a function, perhaps with other globals than its own. */
void px_code_note_object(PyObject *code);

/* marshal makes code objects without telling their names; `bytes` is what it reads, NULL for a file.
 * 0, or -1 with ImportError. */
int px_code_check_marshal(const char *event, PyObject *bytes);

/* An extension module, or a library by ctypes. 0, or -1 with ImportError. */
int px_code_check_extension(PyObject *name, PyObject *path);
int px_code_check_library(PyObject *name);

#endif
