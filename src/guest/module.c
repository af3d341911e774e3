/* SPDX-License-Identifier: Apache-2.0 */
/* The entry of the extension module, and replacements for what the limited API lacks. */
#include <dlfcn.h>

#include "guest/python.h"
#include "guest/zygote.h"

struct px_python px_python;

static PyObject *zygote(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    px_zygote_main();
}

static PyMethodDef methods[] = {{"zygote", zygote, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "pyexec_guest", NULL, -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_pyexec_guest(void);

PyMODINIT_FUNC PyInit_pyexec_guest(void)
{
    /* ISO C has no conversion from void * to a function pointer, but POSIX's dlsym() needs one. */
    *(void **)&px_python.add_audit_hook = dlsym(RTLD_DEFAULT, "PySys_AddAuditHook");
    *(void **)&px_python.gilstate_check = dlsym(RTLD_DEFAULT, "PyGILState_Check");
    PyObject *hexversion = PySys_GetObject("hexversion");
    long version = hexversion ? PyLong_AsLong(hexversion) : 0;
    px_python.version = (int)(version >> 16);
    return PyModule_Create(&module);
}
