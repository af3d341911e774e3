/* SPDX-License-Identifier: Apache-2.0 */
/* The import policy: C wrappers around builtins.__import__ and two functions of importlib. */
#ifndef PX_GUEST_GUARD_GUARD_IMPORTS_H
#define PX_GUEST_GUARD_GUARD_IMPORTS_H

#include "guest/script.h"

/* Called in the zygote: replaces builtins.__import__. Returns 0, or -1 with a Python exception set. */
int px_imports_install(void);

/* Called in the child: the import sets of this run are in force from here on. */
void px_imports_arm(const struct px_script *run);

/* True if the script may import this top-level name. */
bool px_imports_permit(const char *name);

/* True if this thread runs an import that the policy allowed or that the sandbox makes itself. */
bool px_imports_running(void);

/* True if the script may import this name, a str with or without dots. */
bool px_imports_permit_object(PyObject *name);

#endif
