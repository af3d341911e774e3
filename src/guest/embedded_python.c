/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/embedded_python.h"

#include <string.h>

#include "base/cleanup.h"
#include "guest/display/display.h"
#include "guest/guard/guard.h"
#include "guest/pyobject_access.h"
#include "guest/signals.h"
#include "guest/tools/guest_tools.h"

static PyObject *names; /* the global names of the embedded Python code */
static bool loaded_all;

/* ---- Functions for the Python code ---- */

/* Imports a module for the sandbox itself, past the script's policy. For "a.b" this returns the module a.b, where
 * __import__ would return a. */
static PyObject *load(PyObject *self, PyObject *name)
{
    (void)self;
    px_auto_object PyObject *bytes = PyUnicode_AsUTF8String(name);
    px_auto_object PyObject *module = bytes ? px_guard_import(PyBytes_AsString(bytes)) : NULL;
    return module ? PyImport_GetModule(name) : NULL;
}

static PyObject *loaded(PyObject *self, PyObject *name)
{
    (void)self;
    PyObject *module = PyImport_GetModule(name);
    if (module || PyErr_Occurred())
        return module;
    Py_RETURN_NONE;
}

static PyObject *fired(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    return PyLong_FromUnsignedLong(px_signals_fired());
}

static PyMethodDef given[] = {
    {"load", load, METH_O, NULL},
    {"loaded", loaded, METH_O, NULL},
    {"fired", fired, METH_NOARGS, NULL},
};

/* ---- Loading the Python code ---- */

int px_embedded_prepare(void)
{
    PyObject *builtins = PyEval_GetBuiltins(); /* borrowed reference */
    px_auto_object PyObject *copy = builtins ? PyDict_Copy(builtins) : NULL;
    names = PyDict_New();
    if (!names || !copy || PyDict_SetItemString(names, "__builtins__", copy) < 0)
        return -1;
    px_auto_object PyObject *name = PyUnicode_InternFromString("pyexec");
    return name ? PyDict_SetItemString(names, "__name__", name) : -1;
}

static int add_functions(PyMethodDef *definitions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        px_auto_object PyObject *function = PyCFunction_New(&definitions[i], NULL);
        if (!function || PyDict_SetItemString(names, definitions[i].ml_name, function) < 0)
            return -1;
    }
    return 0;
}

/* compiled[i] is true after source i has been compiled. */
static bool compiled[16];

static int compile_source(size_t i)
{
    if (compiled[i])
        return 0;
    px_auto_object PyObject *code = Py_CompileString(px_embedded_sources[i].text, PX_HELPER_FILENAME, Py_file_input);
    px_auto_object PyObject *none = code ? PyEval_EvalCode(code, names, names) : NULL;
    compiled[i] = none != NULL;
    return none ? 0 : -1;
}

static int give_functions(void)
{
    static bool given_all;
    size_t count;
    PyMethodDef *shown = px_display_functions(&count);
    size_t tool_count;
    PyMethodDef *tools = px_tools_functions(&tool_count);
    if (!given_all && (add_functions(given, PX_COUNT(given)) < 0 || add_functions(shown, count) < 0 ||
                       add_functions(tools, tool_count) < 0))
        return -1;
    given_all = true;
    return 0;
}

int px_embedded_load(void)
{
    if (loaded_all)
        return 0;
    if (give_functions() < 0)
        return -1;
    for (size_t i = 0; i < px_embedded_source_count; i++)
        if (compile_source(i) < 0)
            return -1;
    loaded_all = true;
    return 0;
}

bool px_embedded_is_loaded(void)
{
    return loaded_all;
}

static int load_file(const char *file)
{
    for (size_t i = 0; i < px_embedded_source_count; i++)
        if (strcmp(px_embedded_sources[i].name, file) == 0)
            return give_functions() < 0 ? -1 : compile_source(i);
    PyErr_Format(PyExc_RuntimeError, "pyexec has lost its file %s", file);
    return -1;
}

static PyObject *call_loaded(const char *name, PyObject *arguments, PyObject *keywords)
{
    PyObject *function = PyDict_GetItemString(names, name); /* borrowed reference */
    if (!function) {
        PyErr_Format(PyExc_RuntimeError, "pyexec has lost its function %s", name);
        return NULL;
    }
    Py_INCREF(function);
    PyObject *result = PyObject_Call(function, arguments, keywords);
    Py_DECREF(function);
    return result;
}

PyObject *px_embedded_call(const char *name, PyObject *arguments, PyObject *keywords)
{
    px_auto_object PyObject *taken = arguments;
    return arguments && px_embedded_load() == 0 ? call_loaded(name, arguments, keywords) : NULL;
}

PyObject *px_embedded_call_file(const char *file, const char *name, PyObject *arguments)
{
    px_auto_object PyObject *taken = arguments;
    return arguments && load_file(file) == 0 ? call_loaded(name, arguments, NULL) : NULL;
}
