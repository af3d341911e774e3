/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/threads.h"

#include <time.h>

#include "base/cleanup.h"
#include "base/retry.h"
#include "guest/pyobject_access.h"

#define TRIES 100
#define WAIT_NS 1000000

/* From 3.13 on a threading.Thread passes a handle, which can't be used again after a failed start. Gives the thread and the call a new
 * one. False if that is not possible. Keeps the exception that is set. */
static bool renew_handle(PyObject *arguments, PyObject *keywords)
{
    static const char *const members[] = {"_handle", "_os_thread_handle"}; /* 3.13, 3.14 */
    PyObject *type, *value, *traceback;
    PyObject *old = keywords ? PyDict_GetItemString(keywords, "handle") : NULL;
    bool renewed = !old || old == Py_None;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *bootstrap = renewed ? NULL : PyTuple_GetItem(arguments, 0);
    px_auto_object PyObject *thread = bootstrap ? PyObject_GetAttrString(bootstrap, "__self__") : NULL;
    for (size_t i = 0; thread && !renewed && i < PX_COUNT(members); i++) {
        px_auto_object PyObject *held = PyObject_GetAttrString(thread, members[i]);
        if (held != old)
            continue;
        px_auto_object PyObject *fresh = PyObject_CallObject((PyObject *)Py_TYPE(old), NULL);
        renewed = fresh && PyObject_SetAttrString(thread, members[i], fresh) == 0 &&
                  PyDict_SetItemString(keywords, "handle", fresh) == 0;
        break;
    }
    PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    return renewed;
}

static PyObject *start(PyObject *real, PyObject *arguments, PyObject *keywords)
{
    for (int tries = 1;; tries++) {
        PyObject *result = PyObject_Call(real, arguments, keywords);
        if (result || tries == TRIES || !PyErr_ExceptionMatches(PyExc_RuntimeError) ||
            !renew_handle(arguments, keywords))
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
