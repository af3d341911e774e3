/* SPDX-License-Identifier: Apache-2.0 */
/* Displays: what the script shows by display(), by its last value and by libraries, sent to the
 * host as it comes, bounded in number and bytes. */
#ifndef PX_GUEST_DISPLAY_DISPLAY_H
#define PX_GUEST_DISPLAY_DISPLAY_H

#include <stdbool.h>
#include <stddef.h>

#include "guest/script.h"
#include "guest/traceback/source.h"

/* Zygote, before the preloads: builtins.display, and a finder that changes libraries as they are
 * imported. 0, or -1 with a Python exception set. */
int px_display_prepare(void);

/* Zygote: compiles what the first display would have to. A failure costs time only. */
void px_display_prepare_ahead(void);

/* Child: from here on displays are this run's; NULL: nobody's, and dropped. Keeps the pointers. */
void px_display_arm(const struct px_script *run, struct px_source *sources);

/* Shows the last expression's value when it has a rich form; `text` is its repr. 0, or -1 with
 * an exception that ends the run. */
int px_display_value(PyObject *value, PyObject *text);

/* Whether a library may hold figures that are not shown yet; shows them. 0, or -1 as above. */
bool px_display_has_figures(void);
int px_display_figures(void);

/* The last value as JSON, when the run asks for it: appended to *json, or else why not to *why. 0,
 * or -1 as above. */
int px_display_value_json(const struct px_script *run, PyObject *value, struct px_buffer *json, struct px_buffer *why);

/* Sets the run's inputs as variables. 0, or -1 with an exception. */
int px_display_set_variables(const struct px_script *run, PyObject *names);

/* How many displays of this run were dropped. */
uint64_t px_display_dropped(void);

/* What the helper is given. */
PyMethodDef *px_display_functions(size_t *ret_count);

#endif
