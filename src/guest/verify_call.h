/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's part of verify (docs/verify.md): the call of a function of the solution, and code that is compiled once. It
 * knows the arguments of a test, never the value that is expected. */
#ifndef PX_GUEST_VERIFY_CALL_H
#define PX_GUEST_VERIFY_CALL_H

#include "guest/report.h"
#include "guest/script.h"

/* Called before the solution runs: loads what px_verify_call() needs, so that no test has to, and makes the names those of a
 * module. Returns 0, or -1 with an exception set. */
int px_verify_prepare(PyObject *names);

/* Calls the function that VARIABLES names, and takes its value as VALUE_JSON. Returns 0, or -1 with the exception of the
 * function. */
int px_verify_call(const struct px_script *run, PyObject *names, struct px_report *report);

#endif
