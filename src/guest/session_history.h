/* SPDX-License-Identifier: Apache-2.0 */
/* Data that a session keeps between calls in addition to the state of the interpreter: the sources of earlier cells,
 * for tracebacks, and the environment from before a call. */
#ifndef PX_GUEST_SESSION_HISTORY_H
#define PX_GUEST_SESSION_HISTORY_H

#include "guest/script.h"
#include "guest/traceback/source.h"

/* Keeps the source of this call, in front of the sources of earlier cells. When many cells are kept, the oldest ones are
 * dropped; the newest 500 always stay, as long as they have less than 4 MiB in all. Returns NULL without memory. */
struct px_source *px_session_history_add(const struct px_script *run);

/* The values that the variables had before the call set them. */
struct px_session_environment {
    PyObject *environ; /* posix.environ, borrowed reference */
    PyObject *before;  /* list of (name, value or None), bytes */
};
int px_session_environment_save(struct px_session_environment *saved, PyObject *variables, char **env);
void px_session_environment_restore(struct px_session_environment *saved);

#endif
