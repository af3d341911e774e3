/* SPDX-License-Identifier: Apache-2.0 */
/* Folders whose modes a script has set: opened and removed although it took its owner's permissions
 * from them. Works by descriptors and follows no link. */
#ifndef PX_RUNNER_FOLDER_H
#define PX_RUNNER_FOLDER_H

#include <sys/types.h>

#define PX_FOLDER_DEPTH_MAX 64 /* descriptors that a walk holds at once */

/* Gives the owner of an open folder (O_PATH suffices) its permissions again, when it lacks reading
 * or searching: `os.chmod(".", 0)`. */
void px_folder_grant(int folder);

/* Sets the mode of an open folder; without effect where it may not. */
void px_folder_set_mode(int folder, mode_t mode);

/* Opens a folder for reading, after granting it. *ret_changed is 1 when that changed the mode, which
 * was *ret_mode before. Returns the descriptor, or -1 with errno. */
int px_folder_open(int parent, const char *name, int *ret_changed, mode_t *ret_mode);

/* Removes a folder and all below it. What can't be removed stays. */
void px_folder_remove_tree(int parent, const char *name);

#endif
