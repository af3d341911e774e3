/* SPDX-License-Identifier: Apache-2.0 */
/* Python.h for the limited API, so that one build works with CPython 3.8 and later. Functions that are not in the
 * limited API are looked up with dlsym() at run time, and each has a fallback (guest/module.c). */
#ifndef PX_GUEST_PYTHON_H
#define PX_GUEST_PYTHON_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x03080000
#endif
#include <Python.h>
#include <stdbool.h>

/* The headers of the 3.8 level do not declare all of these. NULL where the interpreter lacks the function. */
struct px_python {
    int (*add_audit_hook)(int (*hook)(const char *, PyObject *, void *), void *userdata);
    int (*gilstate_check)(void);
    int version; /* the version, such as 0x030b for 3.11 */
};
extern struct px_python px_python;

static inline bool px_has_gil(void)
{
    return px_python.gilstate_check && px_python.gilstate_check();
}

/* A flag of compile(): make the syntax tree and no code. PyCF_ONLY_AST is not in the limited API. */
#define PX_COMPILE_ONLY_AST 0x400

#endif
