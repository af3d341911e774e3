/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/pyobject_access.h"

#include "base/utf8.h"
#include "guest/signals.h"

struct px_names px_name;

int px_pyobject_prepare(void)
{
#define PX_ATTRIBUTE_NAME(name) \
    if (!px_name.name && !(px_name.name = PyUnicode_InternFromString(#name))) \
        return -1;
    PX_NAMES(PX_ATTRIBUTE_NAME)
#undef PX_ATTRIBUTE_NAME
    return 0;
}

PyObject *px_pyobject_attribute(PyObject *object, PyObject *name)
{
    bool allowed = px_signals_allow(true);
    PyObject *value = PyObject_GetAttr(object, name);
    px_signals_allow(allowed);
    if (!value)
        PyErr_Clear();
    return value;
}

bool px_pyobject_int(PyObject *object, PyObject *name, long *ret)
{
    px_auto_object PyObject *value = px_pyobject_attribute(object, name);
    if (!value || !PyLong_Check(value))
        return false;
    long number = PyLong_AsLong(value);
    if (number == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    *ret = number;
    return true;
}

PyObject *px_pyobject_module(const char *name)
{
    px_auto_object PyObject *key = PyUnicode_InternFromString(name);
    PyObject *module = key ? PyImport_GetModule(key) : NULL;
    if (!module)
        PyErr_Clear();
    return module;
}

bool px_pyobject_text(struct px_buffer *to, PyObject *string, size_t limit)
{
    Py_ssize_t characters = PyUnicode_GetLength(string);
    bool whole = characters >= 0 && (size_t)characters <= limit;
    px_auto_object PyObject *part = NULL;
    if (whole) {
        Py_INCREF(string);
        part = string;
    } else {
        /* Each character takes at least one byte in UTF-8, so `limit` characters are enough. */
        part = PyUnicode_Substring(string, 0, (Py_ssize_t)limit);
    }
    /* The UTF-8 encoder implements this error handler itself, so no handler that the script registered is called. */
    px_auto_object PyObject *bytes = part ? PyUnicode_AsEncodedString(part, "utf-8", "backslashreplace") : NULL;
    char *text = NULL;
    Py_ssize_t length = 0;
    if (!bytes || PyBytes_AsStringAndSize(bytes, &text, &length) < 0) {
        PyErr_Clear();
        return false;
    }
    size_t kept = px_utf8_truncate(text, (size_t)length, limit);
    px_buffer_add(to, text, kept);
    return whole && kept == (size_t)length;
}

bool px_pyobject_text_attribute(struct px_buffer *to, PyObject *object, PyObject *name, size_t limit)
{
    px_auto_object PyObject *value = px_pyobject_attribute(object, name);
    if (!value || !PyUnicode_Check(value))
        return false;
    px_pyobject_text(to, value, limit);
    return true;
}

PyObject *px_pyobject_convert(PyObject *object, PyObject *(*convert)(PyObject *))
{
    bool allowed = px_signals_allow(true);
    PyObject *text = convert(object);
    px_signals_allow(allowed);
    if (!text)
        PyErr_Clear();
    return text;
}
