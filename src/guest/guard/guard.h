/* SPDX-License-Identifier: Apache-2.0 */
/* The guard: the policy of imports and files inside the interpreter, and reports of refusals. It enforces the
 * policy on ordinary code and gives helpful errors, but it is not the wall: a script with native code can bypass it,
 * and a clever script without native code can too. The kernel layers must be enough without it. The zygote installs it
 * (px_guard_install), but it does nothing until the child switches it on (px_guard_arm), just before the first
 * byte of the script is compiled. */
#ifndef PX_GUEST_GUARD_GUARD_H
#define PX_GUEST_GUARD_GUARD_H

#include "guest/script.h"

/* Called in the zygote: installs the audit hook and replaces builtins.__import__. `trees` are the folders of the
 * interpreter and its libraries: absolute paths with NULL at the end, which must stay valid. Code below them, and
 * frozen modules, count as library code; all other code is the script's. The first `stdlib_count` folders are the
 * standard library. Returns 0, or -1 with a Python exception set. */
int px_guard_install(const char *const *trees, size_t stdlib_count);

/* Called in the child: the policy of `run` is in force from here on. The pointer must stay valid. */
int px_guard_arm(const struct px_script *run);

/* Imports a module for the sandbox itself, past the script's policy. Returns a new reference, or NULL with an
 * exception set. */
PyObject *px_guard_import(const char *name);

/* True if code with this file name is the script's own. Tracebacks show only such frames. */
bool px_guard_is_script(const char *filename);

/* Reports a refusal to the host at once, as one DENIAL field in its own packet. The line is that of the script's
 * innermost frame, or 0. At most PX_DENIALS_MAX are sent; the rest are counted. A pending Python exception stays
 * set. */
void px_guard_deny(enum px_denial_layer layer, const char *what, const char *hint);

/* The same for a given line, which is no longer running. */
void px_guard_deny_at(enum px_denial_layer layer, const char *what, const char *hint, int32_t line);

/* Reports a refusal that came from the kernel and not from the guard, if it caused this uncaught exception at that line. */
void px_guard_explain(PyObject *exception, int32_t line);

/* Returns how many denials were counted but not sent. */
uint64_t px_guard_denials_dropped(void);

/* Returns the line of the script's innermost frame on this thread, or 0. Needs the GIL. */
int px_guard_script_line(void);

#endif
