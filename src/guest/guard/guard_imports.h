/* SPDX-License-Identifier: Apache-2.0 */
/* The import policy: builtins.__import__ and importlib's two functions, wrapped in C. */
#ifndef PX_GUEST_GUARD_GUARD_IMPORTS_H
#define PX_GUEST_GUARD_GUARD_IMPORTS_H

#include "guest/script.h"

/* Zygote: replaces builtins.__import__. 0, or -1 with a Python exception set. */
int px_imports_install(void);

/* Child: from here on the run's sets hold. */
void px_imports_arm(const struct px_script *run);

/* Whether the script may import this top-level name. */
bool px_imports_permit(const char *name);

/* Whether this thread is in an import that the policy let through, or that the sandbox makes. */
bool px_imports_running(void);

/* Whether the script may import this name, dotted or not, a str. */
bool px_imports_permit_object(PyObject *name);

#endif
