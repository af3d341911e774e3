/* SPDX-License-Identifier: Apache-2.0 */
/* Syntax and names of the standard library that are newer than this Python, or that it has no more. */
#ifndef PX_GUEST_TRACEBACK_NEWER_H
#define PX_GUEST_TRACEBACK_NEWER_H

#include "base/buffer.h"
#include "guest/python.h"

/* Appends a sentence when the exception comes of that, else nothing. `message` is its text, `line` the
 * line of the script that it names, or "". */
void px_newer_add(struct px_buffer *to, PyObject *exception, const char *message, const char *line);

#endif
