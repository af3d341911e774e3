/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the guest that is written in Python: representations of objects, values as JSON, changes to
 * libraries (display.py, values.py, libraries.py), the event loop of top-level await (loop.py) and tools
 * (tools.py). Its global names are in no module, and it has its own copy of the builtins, so a script that changes
 * builtins does not change them here. A child compiles the code when it first needs it. The zygote compiles it too
 * once runs of its kind need it (px_zygotes_expect_displays()). */
#ifndef PX_GUEST_EMBEDDED_PYTHON_H
#define PX_GUEST_EMBEDDED_PYTHON_H

#include <stddef.h>

#include "guest/python.h"

#define PX_HELPER_FILENAME "<pyexec>" /* File name of this code: it belongs neither to the script nor to a library. */

struct px_embedded_source {
    const char *name, *text;
};
extern const struct px_embedded_source px_embedded_sources[];
extern const size_t px_embedded_source_count;

/* Called in the zygote: copies the builtins. Returns 0, or -1 with a Python exception set. */
int px_embedded_prepare(void);

/* Compiles the code unless that has been done. Returns 0, or -1 with a Python exception set. */
int px_embedded_load(void);
bool px_embedded_is_loaded(void);

/* Calls the function of this name. `arguments` is a new tuple, and this function takes the reference; NULL means
 * that making it failed and an exception is set. `keywords` may be NULL. Returns a new reference, or NULL with an
 * exception set. */
PyObject *px_embedded_call(const char *name, PyObject *arguments, PyObject *keywords);

/* The same for a function of one file, which is compiled without the other files. */
PyObject *px_embedded_call_file(const char *file, const char *name, PyObject *arguments);

#endif
