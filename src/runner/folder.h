/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and removing folders, even when a script has changed their modes so that their owner has no permission.
 * Works by descriptors and follows no link. */
#ifndef PX_RUNNER_FOLDER_H
#define PX_RUNNER_FOLDER_H

#include <sys/types.h>

#define PX_FOLDER_DEPTH_MAX 64 /* how many descriptors a walk uses at once */

/* Gives the owner of an open folder (O_PATH is enough) back the permission to read and search it, which a
 * script took away with `os.chmod(".", 0)`. */
void px_folder_grant(int folder);

/* Sets the mode of an open folder. Does nothing when it is not permitted. */
void px_folder_set_mode(int folder, mode_t mode);

/* Opens a folder for reading and changes its mode first if necessary. *ret_changed is 1 if the mode was
 * changed, and *ret_mode is the mode before. Returns the descriptor, or -1 with errno. */
int px_folder_open(int parent, const char *name, int *ret_changed, mode_t *ret_mode);

/* Removes a folder and everything below it. What can't be removed stays there. */
void px_folder_remove_tree(int parent, const char *name);

/* Removes everything below an open folder (O_PATH is enough). What can't be removed stays there. */
void px_folder_empty(int folder);

#endif
