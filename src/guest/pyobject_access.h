/* SPDX-License-Identifier: Apache-2.0 */
/* Reading Python objects that a script may have shaped: attributes and texts that run the
 * script's code, raise, lie or are huge. Nothing here raises or leaves an exception behind,
 * and nothing is looked up in a module or namespace that the script can change. */
#ifndef PX_GUEST_PYOBJECT_ACCESS_H
#define PX_GUEST_PYOBJECT_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "guest/python.h"

static inline void px_drop_object(PyObject **object)
{
    Py_XDECREF(*object);
    *object = NULL;
}
#define px_auto_object px_auto(px_drop_object)

/* Interned names, so that an attribute costs no string: px_name.tb_next. */
/* clang-format off */
#define PX_NAMES(NAME) \
    NAME(__annotations__) NAME(__builtins__) NAME(__dict__) NAME(__doc__) NAME(__loader__) NAME(__main__) NAME(__name__) \
    NAME(__notes__) NAME(__package__) NAME(__spec__) NAME(_shutdown) NAME(args) NAME(body) NAME(closed) NAME(co_filename) \
    NAME(co_flags) NAME(co_name) NAME(co_positions) NAME(code) NAME(col_offset) NAME(end_col_offset) NAME(end_lineno) \
    NAME(end_offset) NAME(eval) NAME(exec) NAME(f_back) NAME(f_builtins) NAME(f_code) NAME(f_globals) NAME(f_locals) NAME(filename) \
    NAME(flush) NAME(func) NAME(left) NAME(lineno) NAME(msg) NAME(name) NAME(name_from) NAME(obj) NAME(offset) NAME(right) NAME(seed) \
    NAME(self) NAME(tb_frame) NAME(tb_lasti) NAME(tb_lineno) NAME(tb_next) NAME(text) NAME(threading) NAME(value)
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
