/* SPDX-License-Identifier: Apache-2.0 */
/* Compiling the caller's code: all of it, or all but the last statement and that as a value. */
#ifndef PX_GUEST_PROGRAM_H
#define PX_GUEST_PROGRAM_H

#include <stdbool.h>

#include "guest/python.h"
#include "guest/traceback/source.h"

/* Two code objects, each NULL when there is nothing to do. */
struct px_program {
    PyObject *body;  /* statements, for exec */
    PyObject *value; /* the last expression, for eval */
};
void px_program_done(struct px_program *program);

/* Zygote. 0, or -1 with a Python exception set. */
int px_program_prepare(void);

/* `split`: the last statement, when it is an expression without a semicolon after it, becomes the
 * value. await is allowed at the top level; code that has it evaluates to a coroutine. `keep_futures`:
 * the __future__ features of this code hold for all later code too. 0, or -1 with the compiler's
 * exception: SyntaxError, RecursionError, MemoryError (nesting), ValueError. */
int px_program_compile(struct px_program *ret, struct px_source *source, bool split, bool keep_futures);

/* Whether evaluating the code gives a coroutine. */
bool px_program_is_coroutine(PyObject *code);

#endif
