/* SPDX-License-Identifier: Apache-2.0 */
/* What a session keeps between calls besides the interpreter's own state: the sources of earlier
 * cells, for tracebacks, and the environment as it was before a call. */
#ifndef PX_GUEST_SESSION_HISTORY_H
#define PX_GUEST_SESSION_HISTORY_H

#include "guest/script.h"
#include "guest/traceback/source.h"

/* The source of this call, in front of those of earlier cells; the oldest are dropped:
 * 500 cells and 4 MiB are kept at least. NULL: out of memory. */
struct px_source *px_session_history_add(const struct px_script *run);

/* The variables that a call sets, as they were. */
struct px_session_environment {
    PyObject *environ; /* posix.environ, borrowed */
    PyObject *before;  /* list of (name, value or None), bytes */
};
int px_session_environment_save(struct px_session_environment *saved, PyObject *variables, char **env);
void px_session_environment_restore(struct px_session_environment *saved);

#endif
