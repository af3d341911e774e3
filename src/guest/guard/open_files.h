/* SPDX-License-Identifier: Apache-2.0 */
/* max_open_files, which RLIMIT_NOFILE keeps: imports open files of their own, and libraries keep files of
 * the interpreter's tree open, such as fonts. Neither counts as the script's. */
#ifndef PX_GUEST_GUARD_OPEN_FILES_H
#define PX_GUEST_GUARD_OPEN_FILES_H

#include "guest/script.h"

/* Zygote: whether there are packages beside the standard library, which may keep files open. */
void px_open_files_prepare(bool packages);

/* Descriptors beyond max_open_files, below the hard limit: the soft limit excludes them, and is raised for
 * imports and for what libraries hold. */
uint64_t px_open_files_reserve(void);

/* Child: from here on for this run. */
void px_open_files_arm(const struct px_script *run);

/* An import that loads something begins (1) or has ended (-1). */
void px_open_files_import(int step);

/* A library is about to read a file of the interpreter's tree. */
void px_open_files_library(const char *path);

/* The script is about to open a file: what libraries have closed since is not lent any more. */
void px_open_files_script(void);

#endif
