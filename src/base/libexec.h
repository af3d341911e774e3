/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that only pyexec starts. */
#ifndef PX_BASE_LIBEXEC_H
#define PX_BASE_LIBEXEC_H

/* Returns the path of such a program, for free(). NULL: it is not there, or there is no memory. After a build it is in the folder of
 * pyexec; after installation it is in libexec of the same prefix. PYEXEC_LIBEXECDIR names another folder. */
char *px_libexec_find(const char *name);

#endif
