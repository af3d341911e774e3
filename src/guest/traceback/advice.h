/* SPDX-License-Identifier: Apache-2.0 */
/* Hints that need what only the child knows: the whole code, the working directory, the Python version. */
#ifndef PX_GUEST_TRACEBACK_ADVICE_H
#define PX_GUEST_TRACEBACK_ADVICE_H

#include "guest/script.h"
#include "guest/traceback/source.h"

/* Appends the hint for an uncaught exception, or nothing. `message` is the exception's text. */
void px_advice_add(struct px_buffer *to, PyObject *exception, const char *message, const struct px_script *run,
                   struct px_source *sources);

#endif
