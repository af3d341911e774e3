/* SPDX-License-Identifier: Apache-2.0 */
/* The importable part of a folder that does not belong to the interpreter: a project folder that a .pth file
 * names, or the target of an editable install. Such a folder also holds files that no script may read: .env, .git,
 * keys, data. So scripts see only these entries of it:
 * - modules, and packages with everything that belongs to them;
 * - the modules and packages in namespace packages (folders without __init__), but not those folders themselves;
 * - metadata (*.dist-info, *.egg-info) and shared libraries (*.libs) of packages.
 *
 * These are never shown: names that begin with a dot, links that lead out of the folder, home folders and folders
 * of the system, and namespace packages directly in those. A package folder that contains a dot name is shown
 * entry by entry. The folder is read once, when the interpreter starts. */
#ifndef PX_GUEST_IMPORTABLE_H
#define PX_GUEST_IMPORTABLE_H

#include <stdbool.h>

/* Both functions get the absolute path of a file or folder. */
struct px_importable_sink {
    int (*add)(void *data, const char *path);   /* adds what scripts may read; -1 ends the search */
    void (*list)(void *data, const char *path); /* lists modules and packages, to show to people */
    void *data;
};

/* Adds what can be imported from a folder of sys.path. Returns 0, or -1 when add() failed. */
int px_importable_folder(const struct px_importable_sink *sink, const char *folder);

/* Adds one package folder or module, which an editable install names. The suffix may be missing in a module's
 * path. */
int px_importable_target(const struct px_importable_sink *sink, const char *path);

/* True for a folder of the system and for a home folder. Such a folder never belongs to one project. */
bool px_importable_is_shared(const char *folder);

/* True if the folder has files of a version control system or a dot-env file. */
bool px_importable_is_project(const char *folder);

#endif
