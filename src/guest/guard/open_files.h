/* SPDX-License-Identifier: Apache-2.0 */
/* Enforces max_open_files with RLIMIT_NOFILE. Imports open files, and libraries keep files of the interpreter's
 * folders open, such as fonts. Neither counts for the script. */
#ifndef PX_GUEST_GUARD_OPEN_FILES_H
#define PX_GUEST_GUARD_OPEN_FILES_H

#include "guest/script.h"

/* Called in the zygote: says whether there are packages beside the standard library, which may keep files open. */
void px_open_files_prepare(bool packages);

/* Returns how many descriptors there are beyond max_open_files, between the soft and the hard limit. The soft
 * limit is raised by them during imports and for files that libraries keep open. */
uint64_t px_open_files_reserve(void);

/* Called in the child: the limit of this run is in force from here on. */
void px_open_files_arm(const struct px_script *run);

/* Counts the imports in progress that load a module: 1 when an import begins, -1 when it has ended. */
void px_open_files_import(int step);

/* A library is about to read a file of the interpreter's folders. */
void px_open_files_library(const char *path);

/* The script is about to open a file. Descriptors that libraries have closed by now are no longer lent. */
void px_open_files_script(void);

#endif
