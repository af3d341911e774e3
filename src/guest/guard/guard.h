/* SPDX-License-Identifier: Apache-2.0 */
/* The guard: import and open policy inside the interpreter, and reports of what was refused.
 *
 * It is policy and help, not the wall: a script with native code, or a patient one without,
 * gets around it, and the kernel layers must then hold by themselves. It is installed in the
 * zygote (px_guard_install), sleeps there, and wakes in the child (px_guard_arm) just before
 * the script's first byte is compiled. */
#ifndef PX_GUEST_GUARD_GUARD_H
#define PX_GUEST_GUARD_GUARD_H

#include "guest/script.h"

/* Zygote: the audit hook and builtins.__import__. `trees` are the folders of the interpreter
 * and its libraries (NULL-terminated, absolute, kept): code below them is library code, and
 * so are frozen modules; all other code is the script's. `stdlib_count` of them, from the
 * front, are the standard library. 0, or -1 with a Python exception set. */
int px_guard_install(const char *const *trees, size_t stdlib_count);

/* Child: from here on `run`'s policy holds. Keeps the pointer. */
int px_guard_arm(const struct px_script *run);

/* Imports a module as the sandbox itself, past the script's policy. NULL with an exception. */
PyObject *px_guard_import(const char *name);

/* The traceback's filter: whether code of this file name is the script's own. */
bool px_guard_is_script(const char *filename);

/* Reports a refusal to the host at once, as one DENIAL field in a packet of its own; the line
 * is that of the innermost frame of the script, or 0. At most PX_DENIALS_MAX are sent, the
 * rest are counted. Keeps a pending Python exception as it is. */
void px_guard_deny(enum px_denial_layer layer, const char *what, const char *hint);

/* The same for a line that is not running any more. */
void px_guard_deny_at(enum px_denial_layer layer, const char *what, const char *hint, int32_t line);

/* Reports what only the kernel refused, when this uncaught exception of that line comes of it. */
void px_guard_explain(PyObject *exception, int32_t line);

/* How many were counted but not sent. */
uint64_t px_guard_denials_dropped(void);

/* The line of the innermost frame of the script on this thread, or 0. Needs the GIL. */
int px_guard_script_line(void);

#endif
