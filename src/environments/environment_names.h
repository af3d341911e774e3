/* SPDX-License-Identifier: Apache-2.0 */
/* The names of the store's environments, and where they lead. docs/environments.md has the layout of the store:
 *
 *     ROOT/names/NAME      a symbolic link to ../store/HASH; rename(2) replaces it in one step
 *     ROOT/store/HASH/     never changed after it got a name: venv/, environment.json, requirements.txt, constraints.txt, lock
 *     ROOT/build/ID/       what is being made, or removed; its file `lock` is held meanwhile
 *     ROOT/writer.lock     held by the one process that changes names/, store/ or the list of build/
 *
 * These functions only read. src/env_build/env_store.c writes. */
#ifndef PX_ENVIRONMENTS_ENVIRONMENT_NAMES_H
#define PX_ENVIRONMENTS_ENVIRONMENT_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/texts.h"

#define PX_ENVIRONMENT_NAME_MAX 64
#define PX_ENVIRONMENT_HASH_LENGTH 32
/* Names of environments that were made for the requirements of a script or request begin with this. They are removed when
 * nobody has used them for a time. */
#define PX_ENVIRONMENT_CACHED "cached-"
/* A link of names/ has this and a hash. */
#define PX_ENVIRONMENT_LINK "../store/"

/* True for [a-z0-9][a-z0-9._-]{0,63}. */
bool px_environment_name_valid(const char *name, size_t length);
bool px_environment_name_is_cached(const char *name);

/* Reads where a name leads to: one system call. Returns -1 with errno: ENOENT if there is no such name, or no store; EINVAL if
 * it is not a valid name, or not a link of an environment. */
int px_environment_name_read(const char *root, const char *name, char ret_hash[PX_ENVIRONMENT_HASH_LENGTH + 1]);

/* The same with an error: invalid_policy when there is no environment of this name; the hint lists those that are there.
 * python_not_found when the link is damaged, or can't be read. */
int px_environment_name_follow(const char *root, const char *name, char ret_hash[PX_ENVIRONMENT_HASH_LENGTH + 1],
                               pyexec_error *error);

/* What an environment without a name of its own was asked for. All but the first may be NULL. */
struct px_environment_wish {
    const char *requirements; /* each with its line end; their order does not matter */
    const char *python;       /* a version or path that was named */
    const char *requires;     /* requires-python */
    const char *default_python;
    bool build;
};
/* Makes the name of the environment for a wish. It says what was asked for, and not what came out: so the environment is found without
 * asking an index or an interpreter. Returns 0, or -1 without memory. */
int px_environment_cached_name(const struct px_environment_wish *wish, char ret[PX_ENVIRONMENT_NAME_MAX + 1],
                               pyexec_error *error);

/* The entries of a folder of the store ("names", "store" or "build"), in order, without those that begin with a dot. A folder
 * that is not there has none. Returns -1 with errno. */
int px_environment_names_read(const char *root, const char *folder, struct px_texts *ret);

/* The names that the operator gave, in order, and the number of cached ones (or NULL). python_not_found when the folder can't be
 * read. */
int px_environment_names_given(const char *root, struct px_texts *ret, size_t *ret_cached, pyexec_error *error);

#endif
