/* SPDX-License-Identifier: Apache-2.0 */
/* Tracebacks as the interpreter prints them, in the form of each Python version, but only with the script's own
 * frames and with source lines from memory. They are made in C from the traceback objects, because the script may
 * have replaced the traceback module or all of them. Everything has a limit: frames, chained exceptions, members
 * of groups, text. */
#ifndef PX_GUEST_TRACEBACK_TRACEBACK_H
#define PX_GUEST_TRACEBACK_TRACEBACK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "guest/python.h"
#include "guest/traceback/source.h"

/* Called in the zygote. Returns 0, or -1 with a Python exception set. */
int px_traceback_prepare(void);

/* Appends everything that Python would print for `exception`. `message` is its str(), or NULL when str() raised;
 * str() is called only once. */
void px_traceback_format(struct px_buffer *to, PyObject *exception, PyObject *message, struct px_source *sources);

/* Returns the line of the innermost frame in `filename`; for a SyntaxError of that file, its line. 0 when there is
 * none. */
int px_traceback_line(PyObject *exception, const char *filename);

/* Appends the qualified name of the type, with its module. builtins is left out, and __main__ too unless
 * `as_printed`: versions of Python differ about it. */
void px_traceback_type(struct px_buffer *to, PyObject *type, bool as_printed);

/* Cuts lines out of the middle so that at most `limit` bytes are left. */
void px_traceback_squeeze(struct px_buffer *text, size_t limit);

#endif
