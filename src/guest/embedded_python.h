/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the guest that is Python: representations of objects, values as JSON, what some
 * libraries must be told (display.py, values.py, libraries.py), and the event loop of top-level await
 * (loop.py). Its names are its own: it is in no module, and has its own copy of the builtins, so that a script that changes those changes only
 * itself. It is compiled in a child that needs it, and once some do, in their zygotes. */
#ifndef PX_GUEST_EMBEDDED_PYTHON_H
#define PX_GUEST_EMBEDDED_PYTHON_H

#include <stddef.h>

#include "guest/python.h"

#define PX_HELPER_FILENAME "<pyexec>" /* of its code: neither the script's nor a library's */

struct px_embedded_source {
    const char *name, *text;
};
extern const struct px_embedded_source px_embedded_sources[];
extern const size_t px_embedded_source_count;

/* Zygote: copies the builtins. 0, or -1 with a Python exception set. */
int px_embedded_prepare(void);

/* Compiles it unless that was done. 0, or -1 with a Python exception set. */
int px_embedded_load(void);
bool px_embedded_is_loaded(void);

/* Calls its function of this name with the arguments, a new tuple that is taken (NULL: an exception
 * is set), and keywords or NULL. A new reference, or NULL with an exception. */
PyObject *px_embedded_call(const char *name, PyObject *arguments, PyObject *keywords);

/* The same for a function of one file, which is compiled without the others. */
PyObject *px_embedded_call_file(const char *file, const char *name, PyObject *arguments);

#endif
