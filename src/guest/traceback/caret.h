/* SPDX-License-Identifier: Apache-2.0 */
/* A frame's source lines in a traceback, with the marks below them that 3.11 and later print:
 *
 *     return total / count
 *            ~~~~~~^~~~~~~
 *
 * 3.11 and 3.12 mark the first line only; 3.13 shows all lines of the expression, and marks
 * the brackets of calls too. */
#ifndef PX_GUEST_TRACEBACK_CARET_H
#define PX_GUEST_TRACEBACK_CARET_H

#include "base/buffer.h"
#include "guest/python.h"
#include "guest/traceback/source.h"

/* Called in the zygote: keeps the classes of _ast and the builtin compile. Returns 0, or -1 with an exception set. */
int px_caret_prepare(void);

/* Starts a new traceback: the limit for looking up positions counts from 0 again. */
void px_caret_begin(void);

/* Appends the source line of `entry`, a traceback entry with this code, and the marks below it. Appends nothing
 * when the source isn't known. */
void px_caret_add(struct px_buffer *to, PyObject *code, PyObject *entry, long line, const char *filename,
                  struct px_source *sources);

#endif
