/* How a SyntaxError is printed: place, line, caret. */
#ifndef PX_GUEST_SYNTAX_H
#define PX_GUEST_SYNTAX_H

#include <stdbool.h>

#include "guest/python.h"
#include "base/buffer.h"
#include "guest/source.h"

/* Appends place and message of a SyntaxError that knows its place; false for all others. */
bool px_syntax_add(struct px_buffer *to, PyObject *exception, struct px_source *sources);

#endif
