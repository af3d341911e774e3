/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles the caller's code: as a whole, or as statements and the value of the last one. */
#ifndef PX_GUEST_PROGRAM_H
#define PX_GUEST_PROGRAM_H

#include <stdbool.h>

#include "guest/python.h"
#include "guest/traceback/source.h"

/* Two code objects. Each is NULL when that part is empty. */
struct px_program {
    PyObject *body;  /* statements, for exec */
    PyObject *value; /* the last expression, for eval */
};
void px_program_done(struct px_program *program);

/* Called in the zygote. Returns 0, or -1 with a Python exception set. */
int px_program_prepare(void);

/* `split`: when the last statement is an expression without a semicolon after it, it becomes the value. await is
 * allowed at the top level: evaluating such code gives a coroutine. `keep_futures`: the __future__ features of
 * this code also hold for all later code. Returns 0, or -1 with the compiler's exception: SyntaxError,
 * RecursionError, MemoryError (nested too deeply) or ValueError. */
int px_program_compile(struct px_program *ret, struct px_source *source, bool split, bool keep_futures);

/* True if evaluating the code gives a coroutine. */
bool px_program_is_coroutine(PyObject *code);

#endif
