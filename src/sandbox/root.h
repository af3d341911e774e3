/* SPDX-License-Identifier: Apache-2.0 */
/* The minimal read-only file tree of a zygote and its children.
 *
 *   struct px_root root = {0};
 *   px_root_add(&root, "/usr/lib/python3.11", error);   // before entering: host paths
 *   px_root_enter(&root, error);                        // can't be undone
 *   px_root_done(&root);
 *
 * Each path keeps its name inside: the folders above it are made empty, and symbolic links on the way are copied.
 * Needs its own mount namespace and CAP_SYS_ADMIN over it. */
#ifndef PX_SANDBOX_ROOT_H
#define PX_SANDBOX_ROOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct px_root_entry {
    char *path; /* absolute; no part of it is a symbolic link */
    char *link; /* the target, if it is a symbolic link */
    int mount;  /* a mount that is not attached yet, or -1 for an empty folder */
    bool is_file;
    int content; /* of a file: a descriptor of its bytes, which the caller owns; or -1 */
};

struct px_root {
    struct px_root_entry *entries;
    size_t count, capacity;
    uint64_t content_bytes; /* what the files that are written take in a tmpfs */
};

/* Adds a file or folder of the host with everything below it, read-only. A path that does not exist is ignored.
 * Returns 0, or -1 with `error`. */
int px_root_add(struct px_root *root, const char *path, pyexec_error *error);

/* Adds an empty folder, an empty file or a symbolic link. The folders above it must have been added before. */
int px_root_add_folder(struct px_root *root, const char *path, pyexec_error *error);
int px_root_add_file(struct px_root *root, const char *path, pyexec_error *error);
int px_root_add_link(struct px_root *root, const char *path, const char *target, pyexec_error *error);

/* Adds a file with the bytes of this descriptor, which is read by px_root_enter(), and the folders above it. */
int px_root_add_content(struct px_root *root, const char *path, int content, pyexec_error *error);

/* Builds the tree with its own /dev (null, full, random, urandom) and makes it the root of this process. The
 * host's tree is then out of reach. The root is read-only, so no run can leave a file in it for the next. */
int px_root_enter(struct px_root *root, pyexec_error *error);

/* Makes a mounted file system the root of this process and unmounts the old one. Makes only system calls. Returns
 * 0, or -1 with errno. */
int px_root_switch(int root_fd);

void px_root_done(struct px_root *root);

#endif
