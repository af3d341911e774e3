/* SPDX-License-Identifier: Apache-2.0 */
/* The minimal read-only file tree of a zygote and its children.
 *
 *     struct px_root root = {0};
 *     px_root_add(&root, "/usr/lib/python3.11", error);      // before entering: host paths
 *     px_root_enter(&root, error);                           // irreversible for the process
 *     px_root_done(&root);
 *
 * Each path keeps its name inside: folders above it are made empty, symbolic links on the way
 * are made again. Needs a mount namespace of one's own and CAP_SYS_ADMIN over it. */
#ifndef PX_SANDBOX_ROOT_H
#define PX_SANDBOX_ROOT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct px_root_entry {
    char *path; /* absolute, no part of it a symbolic link */
    char *link; /* the target, if it is a symbolic link */
    int mount;  /* a mount that is not attached yet, or -1 for an empty folder */
    bool is_file;
};

struct px_root {
    struct px_root_entry *entries;
    size_t count, capacity;
};

/* Adds a file or folder of the host, with all below it, read-only. A path that does not exist is left out.
 * Returns 0 or -1. */
int px_root_add(struct px_root *root, const char *path, pyexec_error *error);

/* Adds an empty folder, an empty file or a symbolic link. The folders above it must have been added before. */
int px_root_add_folder(struct px_root *root, const char *path, pyexec_error *error);
int px_root_add_file(struct px_root *root, const char *path, pyexec_error *error);
int px_root_add_link(struct px_root *root, const char *path, const char *target, pyexec_error *error);

/* Builds the tree with a /dev of its own (null, full, random, urandom) and makes it the root of this process;
 * the host's tree is gone afterwards. The root is read-only: no run can leave anything in it for the next. */
int px_root_enter(struct px_root *root, pyexec_error *error);

/* Makes a mounted file system the root of this process and unmounts the old one. Makes system calls only.
 * Returns 0, or -1 with errno. */
int px_root_switch(int root_fd);

void px_root_done(struct px_root *root);

#endif
