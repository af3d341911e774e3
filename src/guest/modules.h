/* SPDX-License-Identifier: Apache-2.0 */
/* Tells some modules about the script: linecache gets its lines, inspect the files of its classes, asyncio the
 * loop of the session, and sys.path the working directory. */
#ifndef PX_GUEST_MODULES_H
#define PX_GUEST_MODULES_H

#include "guest/script.h"
#include "guest/traceback/source.h"

/* Called in the zygote, after the preloads. Returns 0, or -1 with a Python exception set. */
int px_modules_prepare(void);

/* Called in the child, before the script's code. `sources` begins with the source of this run; the pointers must
 * stay valid. Returns 0, or -1 with a Python exception set. */
int px_modules_begin(const struct px_script *run, struct px_source *sources);

/* Called after an import that loaded a module. Never raises. */
void px_modules_note_import(void);

/* Called when the source of this file name is dropped. Never raises. */
void px_modules_forget(const char *filename);

/* True if an import of this top-level name loads a file of the workspace, which is part of the script. */
bool px_modules_are_own(const struct px_script *run, const char *name);

#endif
