/* SPDX-License-Identifier: Apache-2.0 */
/* Python.h for the limited API: one build for CPython 3.8 and later. What is not in the
 * limited API is taken by dlsym at run time, with a fallback (guest/module.c). */
#ifndef PX_GUEST_PYTHON_H
#define PX_GUEST_PYTHON_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x03080000
#endif
#include <Python.h>
#include <stdbool.h>

/* Not declared by every 3.8-level header; NULL where the interpreter lacks it. */
struct px_python {
    int (*add_audit_hook)(int (*hook)(const char *, PyObject *, void *), void *userdata);
    int (*gilstate_check)(void);
    int version; /* 0x030b for 3.11 */
};
extern struct px_python px_python;

static inline bool px_has_gil(void)
{
    return px_python.gilstate_check && px_python.gilstate_check();
}

/* A flag of compile(): the tree, no code. PyCF_ONLY_AST is not in the limited API. */
#define PX_COMPILE_ONLY_AST 0x400

#endif
