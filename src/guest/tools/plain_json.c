/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/tools/plain_json.h"

#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "guest/pyobject_access.h"

static void put_byte(struct px_buffer *text, unsigned char byte)
{
    static const char escaped[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *found = byte ? strchr(escaped, byte) : NULL;
    if (found) {
        px_buffer_add_byte(text, '\\');
        px_buffer_add_byte(text, letters[found - escaped]);
    } else if (byte < 0x20) {
        px_buffer_printf(text, "\\u%04x", byte);
    } else {
        px_buffer_add_byte(text, (char)byte);
    }
}

static bool put_string(struct px_buffer *text, PyObject *string, size_t limit)
{
    px_auto_object PyObject *bytes = PyUnicode_AsUTF8String(string);
    if (!bytes || (size_t)PyBytes_Size(bytes) > limit)
        return false;
    const char *from = PyBytes_AsString(bytes);
    px_buffer_add_byte(text, '"');
    for (Py_ssize_t i = 0; i < PyBytes_Size(bytes); i++)
        put_byte(text, (unsigned char)from[i]);
    px_buffer_add_byte(text, '"');
    return true;
}

static bool put_int(struct px_buffer *text, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    px_buffer_printf(text, "%lld", number);
    return !overflow;
}

static bool put_value(struct px_buffer *text, PyObject *value, size_t limit)
{
    if (value == Py_None || value == Py_True || value == Py_False)
        px_buffer_add_string(text, value == Py_None ? "null" : value == Py_True ? "true" : "false");
    else if (PyLong_CheckExact(value))
        return put_int(text, value);
    else
        return PyUnicode_CheckExact(value) && put_string(text, value, limit);
    return true;
}

PyObject *px_plain_json(PyObject *self, PyObject *arguments)
{
    (void)self;
    px_auto_buffer struct px_buffer text = {0};
    PyObject *given, *key, *value;
    Py_ssize_t limit, at = 0;
    bool plain = true;
    if (!PyArg_ParseTuple(arguments, "O!n", &PyDict_Type, &given, &limit))
        return NULL;
    px_buffer_add_byte(&text, '{');
    while (plain && PyDict_Next(given, &at, &key, &value)) {
        if (text.length > 1)
            px_buffer_add_byte(&text, ',');
        plain = PyUnicode_CheckExact(key) && put_string(&text, key, (size_t)limit);
        px_buffer_add_byte(&text, ':');
        plain = plain && put_value(&text, value, (size_t)limit);
    }
    px_buffer_add_byte(&text, '}');
    PyErr_Clear();
    if (plain && !text.failed && px_buffer_length(&text) <= (size_t)limit)
        return PyUnicode_DecodeUTF8(px_buffer_shown(&text), (Py_ssize_t)px_buffer_length(&text), NULL);
    Py_RETURN_NONE;
}
