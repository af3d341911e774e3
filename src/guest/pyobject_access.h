/* SPDX-License-Identifier: Apache-2.0 */
/* Reads Python objects whose behaviour a script may have changed: reading an attribute or a text can run the
 * script's code, raise, give a false answer or be huge. No function here raises or leaves an exception set, and
 * none looks a name up in a module or namespace that the script can change. */
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

/* Interned names, so that reading an attribute makes no new string. Use: px_name.tb_next. */
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

/* Called in the zygote: makes the names. Returns 0, or -1 with a Python exception set. */
int px_pyobject_prepare(void);

/* Returns a new reference, or NULL. */
PyObject *px_pyobject_attribute(PyObject *object, PyObject *name);

/* Returns true with the value when the attribute is an int that fits. */
bool px_pyobject_int(PyObject *object, PyObject *name, long *ret);

/* Returns the module if it has been loaded: a new reference, or NULL. Imports nothing. */
PyObject *px_pyobject_module(const char *name);

/* Appends the str `string` as UTF-8, with lone surrogates as "\udc80": at most `limit` bytes, and never half a
 * character. Returns true if that was the whole string. */
bool px_pyobject_text(struct px_buffer *to, PyObject *string, size_t limit);

/* Appends the text of an attribute. Returns false when the attribute is not a str. */
bool px_pyobject_text_attribute(struct px_buffer *to, PyObject *object, PyObject *name, size_t limit);

/* Returns convert(object), where `convert` is PyObject_Str or PyObject_Repr. NULL when it raised or gave no str. */
PyObject *px_pyobject_convert(PyObject *object, PyObject *(*convert)(PyObject *));

#endif
