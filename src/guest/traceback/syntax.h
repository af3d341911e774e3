/* SPDX-License-Identifier: Apache-2.0 */
/* Prints a SyntaxError: place, line, carets. */
#ifndef PX_GUEST_TRACEBACK_SYNTAX_H
#define PX_GUEST_TRACEBACK_SYNTAX_H

#include <stdbool.h>

#include "base/buffer.h"
#include "guest/python.h"
#include "guest/traceback/source.h"

/* Appends place and message of a SyntaxError that has a place. Returns false for all other exceptions. */
bool px_syntax_add(struct px_buffer *to, PyObject *exception, struct px_source *sources);

/* After a number, Python takes an invisible character for a letter and says "invalid decimal literal". This gives
 * such a SyntaxError the message that Python has for the character at other places. */
void px_syntax_name_character(PyObject *exception, struct px_source *sources);

#endif
