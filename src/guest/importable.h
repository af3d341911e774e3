/* SPDX-License-Identifier: Apache-2.0 */
/* The importable part of a folder that is not the interpreter's own: a project folder that a .pth
 * file names, or the target of an editable install. Such a folder also holds what no script may
 * read: .env, .git, keys, data. So only this is given out, and nothing beside it:
 *
 *   modules, and packages with all that belongs to them;
 *   of namespace packages (folders without __init__) the same, not the folder itself;
 *   metadata (*.dist-info, *.egg-info) and shared libraries (*.libs) of packages.
 *
 * Left out everywhere: names that begin with a dot, links out of the folder, home folders and
 * folders of the system, and namespace packages directly in those. A package folder that has a dot
 * name in it is given out entry by entry. The folder is read once, when the interpreter starts. */
#ifndef PX_GUEST_IMPORTABLE_H
#define PX_GUEST_IMPORTABLE_H

#include <stdbool.h>

/* Both get the absolute path of a file or folder. */
struct px_importable_sink {
    int (*add)(void *data, const char *path);   /* what scripts may read; -1 ends the search */
    void (*list)(void *data, const char *path); /* modules and packages, for people */
    void *data;
};

/* All of a folder from which modules are imported by name. 0, or -1 when add() failed. */
int px_importable_folder(const struct px_importable_sink *sink, const char *folder);

/* One package folder or module, which an editable install names. A module's path may lack the suffix. */
int px_importable_target(const struct px_importable_sink *sink, const char *path);

/* Whether a folder belongs to the system or is somebody's home: never one project's. */
bool px_importable_is_shared(const char *folder);

/* Whether a folder has a version control system or a dot-env file in it. */
bool px_importable_is_project(const char *folder);

#endif
