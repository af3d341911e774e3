/* SPDX-License-Identifier: Apache-2.0 */
/* Tools: functions of the caller that the script can call. A call goes to the host over the channel, and the
 * answer comes back over it during the run. tools.py has the functions that the script sees. */
#ifndef PX_GUEST_TOOLS_GUEST_TOOLS_H
#define PX_GUEST_TOOLS_GUEST_TOOLS_H

#include <stdbool.h>
#include <stddef.h>

#include "guest/script.h"

/* Called in the child, before the script's code: adds a function for each tool of the run to `names` and to the
 * module `tools`. The pointer must stay valid. Returns 0, or -1 with an exception set. */
int px_tools_begin(const struct px_script *run, PyObject *names);

/* Called after the script: the threads that still wait for an answer get none. */
void px_tools_end(void);

/* True if an import of this top-level name gives the module `tools`. */
bool px_tools_has_module(const char *name);

/* True if a packet whose first field has this kind is an answer. */
bool px_tools_is_answer(uint16_t kind);

/* Returns the C functions that tools.py may call. */
PyMethodDef *px_tools_functions(size_t *ret_count);

#endif
