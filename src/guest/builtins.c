/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/builtins.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "guest/pyobject_access.h"

static PyObject *real_open;
static PyObject *file_name; /* the string "file" */

/* ---- exit, quit, help ---- */

static int add_missing(PyObject *builtins, const char *name, PyObject *value)
{
    px_auto_object PyObject *taken = value;
    if (!value)
        return -1;
    return PyDict_GetItemString(builtins, name) ? 0 : PyDict_SetItemString(builtins, name, value);
}

/* Makes exit, quit and help as site.py makes them. */
static int add_site_builtins(PyObject *builtins)
{
    static const char end[] = "Ctrl-D (i.e. EOF)";
    px_auto_object PyObject *module = PyImport_ImportModule("_sitebuiltins");
    if (!module)
        return -1;
    return add_missing(builtins, "exit", PyObject_CallMethod(module, "Quitter", "ss", "exit", end)) < 0 ||
                   add_missing(builtins, "quit", PyObject_CallMethod(module, "Quitter", "ss", "quit", end)) < 0 ||
                   add_missing(builtins, "help", PyObject_CallMethod(module, "_Helper", NULL)) < 0
               ? -1
               : 0;
}

/* ---- open ---- */

/* Returns the descriptor of a standard stream, or -1. On a host these paths are links to /proc/self/fd; the
 * sandbox's /proc has no such folder. */
static int stream_of(PyObject *file)
{
    static const struct {
        const char *path;
        int fd;
    } streams[] = {{"/dev/stdin", 0}, {"/dev/stdout", 1}, {"/dev/stderr", 2}};
    static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};
    if (!PyUnicode_CheckExact(file) || PyUnicode_GetLength(file) < 9 || PyUnicode_GetLength(file) > 15 ||
        PyUnicode_ReadChar(file, 0) != '/')
        return -1;
    px_auto_buffer struct px_buffer text = {0};
    px_pyobject_text(&text, file, 64);
    const char *path = px_buffer_shown(&text);
    for (size_t i = 0; i < PX_COUNT(streams); i++)
        if (strcmp(path, streams[i].path) == 0)
            return streams[i].fd;
    for (size_t i = 0; i < PX_COUNT(folders); i++) {
        size_t length = strlen(folders[i]);
        if (strncmp(path, folders[i], length) == 0 && strchr("012", path[length]) && path[length] && !path[length + 1])
            return path[length] - '0';
    }
    return -1;
}

static PyObject *open_duplicate(int stream, PyObject *arguments, PyObject *keywords, bool is_first)
{
    px_auto_fd int fd = fcntl(stream, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    px_auto_object PyObject *number = PyLong_FromLong(fd);
    px_auto_object PyObject *list = number ? PySequence_List(arguments) : NULL;
    px_auto_object PyObject *named = list && keywords ? PyDict_Copy(keywords) : NULL;
    if (!list || (keywords && !named))
        return NULL;
    if (!is_first && PyDict_SetItem(named, file_name, number) < 0)
        return NULL;
    if (is_first && PyList_SetItem(list, 0, TAKE_PTR(number)) < 0)
        return NULL;
    px_auto_object PyObject *changed = PyList_AsTuple(list);
    PyObject *opened = changed ? PyObject_Call(real_open, changed, named) : NULL;
    if (opened)
        TAKE_FD(fd);
    return opened;
}

static PyObject *open_file(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    (void)self;
    bool is_first = PyTuple_Size(arguments) > 0;
    PyObject *file = is_first ? PyTuple_GetItem(arguments, 0) : keywords ? PyDict_GetItem(keywords, file_name) : NULL;
    int stream = file ? stream_of(file) : -1;
    return stream < 0 ? PyObject_Call(real_open, arguments, keywords)
                      : open_duplicate(stream, arguments, keywords, is_first);
}

static PyMethodDef open_definition = {
    "open", (PyCFunction)(void (*)(void))open_file, METH_VARARGS | METH_KEYWORDS,
    "open(file, mode='r', buffering=-1, encoding=None, errors=None, newline=None, closefd=True, "
    "opener=None)\n--\n\nOpen file and return a stream.  Raise OSError upon failure."};

static int wrap_open(PyObject *builtins)
{
    px_auto_object PyObject *io = PyImport_ImportModule("io");
    px_auto_object PyObject *module_name = PyUnicode_InternFromString("io");
    file_name = PyUnicode_InternFromString("file");
    real_open = PyDict_GetItemString(builtins, "open");
    Py_XINCREF(real_open);
    px_auto_object PyObject *wrapper = module_name ? PyCFunction_NewEx(&open_definition, NULL, module_name) : NULL;
    if (!io || !file_name || !real_open || !wrapper || PyDict_SetItemString(builtins, "open", wrapper) < 0)
        return -1;
    return PyObject_SetAttrString(io, "open", wrapper);
}

int px_builtins_prepare(void)
{
    PyObject *builtins = PyEval_GetBuiltins(); /* borrowed reference */
    return builtins && add_site_builtins(builtins) == 0 ? wrap_open(builtins) : -1;
}
