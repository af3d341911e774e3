/* SPDX-License-Identifier: Apache-2.0 */
/* Displays: the objects that the script shows by display(), by its last value and by libraries. Each is sent to
 * the host at once; the policy limits their number and bytes. */
#ifndef PX_GUEST_DISPLAY_DISPLAY_H
#define PX_GUEST_DISPLAY_DISPLAY_H

#include <stdbool.h>
#include <stddef.h>

#include "guest/script.h"
#include "guest/traceback/source.h"

/* Called in the zygote, before the preloads: adds builtins.display, and a finder that changes libraries when they
 * are imported. Returns 0, or -1 with a Python exception set. */
int px_display_prepare(void);

/* Called in the zygote: compiles the code that the first display needs. A failure only costs time. */
void px_display_prepare_ahead(void);

/* Called in the child: displays belong to this run from here on. NULL: displays belong to no run and are dropped.
 * The pointers must stay valid. */
void px_display_arm(const struct px_script *run, struct px_source *sources);

/* Shows the value of the last expression if it has a rich form; `text` is its repr. Returns 0, or -1 with an
 * exception that ends the run. */
int px_display_value(PyObject *value, PyObject *text);

/* The first is true if a library may hold figures that were not shown yet; the second shows them. It returns 0, or
 * -1 as above. */
bool px_display_has_figures(void);
int px_display_figures(void);

/* Appends the last value as JSON to *json when the run asks for it, or the reason why it has no JSON to *why.
 * Returns 0, or -1 as above. */
int px_display_value_json(const struct px_script *run, PyObject *value, struct px_buffer *json, struct px_buffer *why);

/* Sets the run's inputs as variables. Returns 0, or -1 with an exception set. */
int px_display_set_variables(const struct px_script *run, PyObject *names);

/* Returns how many displays of this run were dropped. */
uint64_t px_display_dropped(void);

/* Returns the C functions that the embedded Python code may call. */
PyMethodDef *px_display_functions(size_t *ret_count);

#endif
