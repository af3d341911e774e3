/* SPDX-License-Identifier: Apache-2.0 */
/* How a SyntaxError is printed: place, line, caret. */
#ifndef PX_GUEST_TRACEBACK_SYNTAX_H
#define PX_GUEST_TRACEBACK_SYNTAX_H

#include <stdbool.h>

#include "base/buffer.h"
#include "guest/python.h"
#include "guest/traceback/source.h"

/* Appends place and message of a SyntaxError that knows its place; false for all others. */
bool px_syntax_add(struct px_buffer *to, PyObject *exception, struct px_source *sources);

/* Behind a number Python takes an invisible character for a letter and says "invalid decimal literal":
 * gives a SyntaxError of that kind the message that Python has for such a character elsewhere. */
void px_syntax_name_character(PyObject *exception, struct px_source *sources);

#endif
