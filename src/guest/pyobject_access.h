/* SPDX-License-Identifier: Apache-2.0 */
/* Reading Python objects that a script may have shaped: attributes and texts that run the
 * script's code, raise, lie or are huge. Nothing here raises or leaves an exception behind,
 * and nothing is looked up in a module or namespace that the script can change. */
#ifndef PX_GUEST_PYOBJECT_ACCESS_H
#define PX_GUEST_PYOBJECT_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "guest/python.h"

static inline void px_drop_object(PyObject **object)
{
    Py_XDECREF(*object);
    *object = NULL;
}
#define px_auto_object __attribute__((cleanup(px_drop_object)))

/* Interned names, so that an attribute costs no string: px_name.tb_next. */
/* clang-format off */
#define PX_NAMES(X) \
    X(__annotations__) X(__builtins__) X(__dict__) X(__doc__) X(__loader__) X(__main__) X(__name__) \
    X(__notes__) X(__package__) X(__spec__) X(_shutdown) X(args) X(body) X(closed) X(co_filename) \
    X(co_flags) X(co_name) X(co_positions) X(code) X(col_offset) X(end_col_offset) X(end_lineno) \
    X(end_offset) X(eval) X(exec) X(f_back) X(f_builtins) X(f_code) X(f_globals) X(f_locals) X(filename) \
    X(flush) X(func) X(left) X(lineno) X(msg) X(name) X(name_from) X(obj) X(offset) X(right) X(seed) \
    X(self) X(tb_frame) X(tb_lasti) X(tb_lineno) X(tb_next) X(text) X(threading) X(value)
/* clang-format on */

struct px_names {
#define PX_ATTRIBUTE(name) PyObject *name;
    PX_NAMES(PX_ATTRIBUTE)
#undef PX_ATTRIBUTE
};
extern struct px_names px_name;

/* Zygote: makes the names. 0, or -1 with a Python exception set. */
int px_pyobject_prepare(void);

/* A new reference, or NULL. */
PyObject *px_pyobject_attribute(PyObject *object, PyObject *name);

/* The attribute when it is an int that fits. */
bool px_pyobject_int(PyObject *object, PyObject *name, long *ret);

/* The module when it is loaded: a new reference, or NULL. Imports nothing. */
PyObject *px_pyobject_module(const char *name);

/* Appends the str `string` as UTF-8, lone surrogates as "\udc80", at most `limit` bytes of it
 * and no half character. Whether that was all of it. */
bool px_pyobject_text(struct px_buffer *to, PyObject *string, size_t limit);

/* The attribute's text, when it is a str. */
bool px_pyobject_text_attribute(struct px_buffer *to, PyObject *object, PyObject *name, size_t limit);

/* convert(object), PyObject_Str or PyObject_Repr; NULL when it raised or gave no str. */
PyObject *px_pyobject_convert(PyObject *object, PyObject *(*convert)(PyObject *));

#endif
