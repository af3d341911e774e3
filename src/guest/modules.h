/* SPDX-License-Identifier: Apache-2.0 */
/* What modules are told so that they know the script: linecache its lines, inspect the files of its
 * classes, asyncio the loop of the session, and sys.path the working directory. */
#ifndef PX_GUEST_MODULES_H
#define PX_GUEST_MODULES_H

#include "guest/script.h"
#include "guest/traceback/source.h"

/* Zygote, after the preloads. 0, or -1 with a Python exception set. */
int px_modules_prepare(void);

/* Child, before the script's code: `sources` begin with this run's. Keeps the pointers. 0, or -1 with
 * a Python exception set. */
int px_modules_begin(const struct px_script *run, struct px_source *sources);

/* After an import that loaded something. Never raises. */
void px_modules_note_import(void);

/* The source of this file name is dropped. Never raises. */
void px_modules_forget(const char *filename);

/* Whether an import of this top-level name gives a file of the workspace, so a part of the script. */
bool px_modules_are_own(const struct px_script *run, const char *name);

#endif
