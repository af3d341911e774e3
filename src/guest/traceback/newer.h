/* SPDX-License-Identifier: Apache-2.0 */
/* Explains errors about syntax and names of the standard library that this Python does not have yet, or no longer
 * has. */
#ifndef PX_GUEST_TRACEBACK_NEWER_H
#define PX_GUEST_TRACEBACK_NEWER_H

#include "base/buffer.h"
#include "guest/python.h"

/* Appends a sentence when that is the reason for the exception, and nothing otherwise. `message` is the
 * exception's text, `line` the line of the script that it names, or "". */
void px_newer_add(struct px_buffer *to, PyObject *exception, const char *message, const char *line);

#endif
