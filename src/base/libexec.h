/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that only pyexec starts, and modules that it loads. */
#ifndef PX_BASE_LIBEXEC_H
#define PX_BASE_LIBEXEC_H

#include <stddef.h>
#include <sys/types.h>

/* Returns the path of such a file, for free(). `mode`, as in access(2): X_OK for a program, R_OK for a module. NULL: it is not there, or
 * there is no memory. After a build it is in the folder of pyexec; after installation it is in libexec of the same prefix.
 * PYEXEC_LIBEXECDIR names another folder. */
char *px_libexec_find(const char *name, int mode);

/* Starts a program with every signal at its default and none blocked. descriptors[i] becomes its descriptor i. Returns 0, or a
 * number of errno(3); then *ret is 0. */
int px_libexec_spawn(pid_t *ret, const char *program, char *const arguments[], char *const environment[],
                     const int descriptors[], size_t count);

/* For a program that knows secrets: it writes no core dump, other programs of the same user can't read its memory, and it gets no
 * new privileges. It ignores SIGPIPE. */
void px_libexec_hide(void);

#endif
