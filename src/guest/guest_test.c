/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the guest as an extension module of an ordinary interpreter, for guest_test.py: it tests the policy of
 * imports and the marks in tracebacks without a sandbox. */
#include <string.h>

#include "guest/guard/denial.h"
#include "guest/guard/guard_imports.h"
#include "guest/modules.h"
#include "guest/pyobject_access.h"
#include "guest/traceback/caret.h"
#include "guest/traceback/frames.h"

#define TREES_MAX 8

PyMODINIT_FUNC PyInit_pyexec_guest(void);
PyMODINIT_FUNC PyInit_pyexec_guest_test(void);

static struct px_script run;
static struct px_wire_writer channel;

/* prepare(folder, …): what a zygote does once. Code below the folders counts as the standard library. */
static PyObject *prepare(PyObject *self, PyObject *folders)
{
    static char *trees[TREES_MAX + 1];
    (void)self;
    size_t count = 0;
    for (; count < TREES_MAX && (Py_ssize_t)count < PyTuple_Size(folders); count++) {
        px_auto_object PyObject *bytes = PyUnicode_EncodeFSDefault(PyTuple_GetItem(folders, (Py_ssize_t)count));
        if (!bytes || !(trees[count] = strdup(PyBytes_AsString(bytes))))
            return NULL;
    }
    px_auto_object PyObject *guest = PyInit_pyexec_guest();
    if (!guest || px_pyobject_prepare() < 0 || px_modules_prepare() < 0 || px_caret_prepare() < 0)
        return NULL;
    px_frames_prepare((const char *const *)trees, count);
    if (px_imports_install() < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* arm(flags, allowed, banned, descriptor): the policy is in force from here on, and denials are written to the
 * descriptor. */
static PyObject *arm(PyObject *self, PyObject *arguments)
{
    static char empty[] = "";
    (void)self;
    unsigned long flags;
    PyObject *allowed, *banned;
    if (!PyArg_ParseTuple(arguments, "kOOi", &flags, &allowed, &banned, &channel.socket))
        return NULL;
    Py_INCREF(allowed);
    Py_INCREF(banned);
    run = (struct px_script){.flags = (uint32_t)flags,
                             .allowed = allowed,
                             .banned = banned,
                             .workspace = empty,
                             .working_dir = empty,
                             .out = &channel};
    px_denial_arm(&run);
    px_imports_arm(&run);
    Py_RETURN_NONE;
}

static PyObject *disarm(PyObject *self, PyObject *arguments)
{
    (void)self;
    (void)arguments;
    px_imports_arm(NULL);
    px_denial_arm(NULL);
    Py_RETURN_NONE;
}

/* caret(entry, line, filename, source): returns the lines of one traceback entry, with their marks. */
static PyObject *caret(PyObject *self, PyObject *arguments)
{
    (void)self;
    PyObject *entry;
    long line;
    const char *filename, *code;
    if (!PyArg_ParseTuple(arguments, "Olss", &entry, &line, &filename, &code))
        return NULL;
    px_auto(px_source_done) struct px_source source = {.filename = filename, .code = code, .length = strlen(code)};
    px_auto_object PyObject *frame = PyObject_GetAttrString(entry, "tb_frame");
    px_auto_object PyObject *object = frame ? PyObject_GetAttrString(frame, "f_code") : NULL;
    if (!object)
        return NULL;
    px_auto_buffer struct px_buffer text = {0};
    px_caret_begin();
    px_caret_add(&text, object, entry, line, filename, &source);
    return PyUnicode_FromString(px_buffer_shown(&text));
}

static PyMethodDef methods[] = {
    {"prepare", prepare, METH_VARARGS, NULL},
    {"arm", arm, METH_VARARGS, NULL},
    {"disarm", disarm, METH_NOARGS, NULL},
    {"caret", caret, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "pyexec_guest_test", NULL, -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_pyexec_guest_test(void)
{
    PyObject *object = PyModule_Create(&module);
    if (object && (PyModule_AddIntConstant(object, "WHITELIST", PX_RUN_FLAG_WHITELIST) < 0 ||
                   PyModule_AddIntConstant(object, "BLOCK_DUNDER", PX_RUN_FLAG_BLOCK_DUNDER) < 0 ||
                   PyModule_AddIntConstant(object, "DENIAL", PX_RESULT_DENIAL) < 0 ||
                   PyModule_AddIntConstant(object, "LAYER_IMPORTS", PX_DENIAL_IMPORTS) < 0 ||
                   PyModule_AddIntConstant(object, "DENIALS_MAX", PX_DENIALS_MAX) < 0))
        Py_CLEAR(object);
    return object;
}
