/* SPDX-License-Identifier: Apache-2.0 */
/* Whole folders: removing them, making them read-only, their size. Links in them are never followed. */
#ifndef PX_ENV_BUILD_ENV_TREE_H
#define PX_ENV_BUILD_ENV_TREE_H

#include <stdint.h>

/* Removes a file or a folder with its content, also what is read-only or what another process removes meanwhile. Returns 0, or -1
 * with errno of the first failure; the rest is removed anyway. */
int env_tree_remove(int parent, const char *name);

/* Takes the permission to write from everybody. Returns 0, or -1 with errno. */
int env_tree_make_read_only(int parent, const char *name);

#endif
