/* SPDX-License-Identifier: Apache-2.0 */
/* Tracebacks as the interpreter prints them, each version in its own way, but with the
 * script's own frames only and source lines from memory. Written in C from the traceback
 * objects themselves: the script may have replaced the traceback module, or all of them.
 *
 * Everything is bounded: frames, chained exceptions, members of groups, text. */
#ifndef PX_GUEST_TRACEBACK_TRACEBACK_H
#define PX_GUEST_TRACEBACK_TRACEBACK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "guest/python.h"
#include "guest/traceback/source.h"

/* Zygote. 0, or -1 with a Python exception set. */
int px_traceback_prepare(void);

/* Appends all that Python would print of `exception`. `message` is its str(), NULL when that
 * raised: it is asked only once. */
void px_traceback_format(struct px_buffer *to, PyObject *exception, PyObject *message, struct px_source *sources);

/* The line of the innermost frame in `filename`; for a SyntaxError of that file, its line. 0
 * when there is none. */
int px_traceback_line(PyObject *exception, const char *filename);

/* Appends the qualified name of the type; its module too, unless that is builtins or (when
 * not `as_printed`: versions differ) __main__. */
void px_traceback_type(struct px_buffer *to, PyObject *type, bool as_printed);

/* Cuts lines out of the middle so that at most `limit` bytes are left. */
void px_traceback_squeeze(struct px_buffer *text, size_t limit);

#endif
