/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/threads.h"

#include <time.h>

#include "base/cleanup.h"
#include "base/retry.h"
#include "guest/pyobject_access.h"

#define TRIES 100
#define WAIT_NS 1000000

static PyObject *start(PyObject *real, PyObject *arguments, PyObject *keywords)
{
    for (int tries = 1;; tries++) {
        PyObject *result = PyObject_Call(real, arguments, keywords);
        if (result || tries == TRIES || !PyErr_ExceptionMatches(PyExc_RuntimeError))
            return result;
        PyErr_Clear();
        Py_BEGIN_ALLOW_THREADS px_sleep_ns(WAIT_NS);
        Py_END_ALLOW_THREADS
    }
}

#define STARTER(name) \
    { \
#name, (PyCFunction)(void (*)(void))start, METH_VARARGS | METH_KEYWORDS, NULL \
    }
static PyMethodDef definitions[] = {
    STARTER(start_new_thread),
    STARTER(start_new),
    STARTER(start_joinable_thread),
};

/* If threading has been imported, it has its own reference to the function. */
static int replace(PyObject *module, PyObject *threading, PyMethodDef *definition)
{
    px_auto_object PyObject *real = PyObject_GetAttrString(module, definition->ml_name);
    if (!real) {
        PyErr_Clear();
        return 0;
    }
    px_auto_object PyObject *wrapper = PyCFunction_New(definition, real);
    px_auto_object PyObject *own_name = PyUnicode_FromFormat("_%s", definition->ml_name);
    if (!wrapper || !own_name || PyObject_SetAttrString(module, definition->ml_name, wrapper) < 0)
        return -1;
    px_auto_object PyObject *own = threading ? px_pyobject_attribute(threading, own_name) : NULL;
    return own == real ? PyObject_SetAttr(threading, own_name, wrapper) : 0;
}

int px_threads_install(void)
{
    px_auto_object PyObject *module = PyImport_ImportModule("_thread");
    px_auto_object PyObject *threading = PyImport_GetModule(px_name.threading);
    for (size_t i = 0; module && i < PX_COUNT(definitions); i++)
        if (replace(module, threading, &definitions[i]) < 0)
            return -1;
    return module ? 0 : -1;
}
