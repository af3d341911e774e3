/* SPDX-License-Identifier: Apache-2.0 */
/* Tools: functions of the caller that the script calls. A call goes to the host over the channel, and its
 * answer comes back over it while the run goes on; tools.py has what the script sees of it. */
#ifndef PX_GUEST_TOOLS_GUEST_TOOLS_H
#define PX_GUEST_TOOLS_GUEST_TOOLS_H

#include <stdbool.h>
#include <stddef.h>

#include "guest/script.h"

/* Child, before the script's code: what the run offers becomes functions among `names` and in the module `tools`.
 * Keeps the pointer. 0, or -1 with an exception. */
int px_tools_begin(const struct px_script *run, PyObject *names);

/* After the script, before its result is sent: calls that wait get an error, and the run's channel is no longer read. */
void px_tools_end(void);

/* Whether an import of this top-level name gives our module. */
bool px_tools_has_module(const char *name);

/* Whether a packet whose first field is of this kind is an answer. */
bool px_tools_is_answer(uint16_t kind);

/* What tools.py is given. */
PyMethodDef *px_tools_functions(size_t *ret_count);

#endif
