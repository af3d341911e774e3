/* SPDX-License-Identifier: Apache-2.0 */
/* The store of environments, as its writer sees it. docs/environments.md has the layout:
 *
 *     ROOT/names/NAME      a symbolic link to ../store/HASH; rename(2) replaces it in one step
 *     ROOT/store/HASH/     never changed after it is there: venv/, environment.json, requirements.txt, constraints.txt, lock
 *     ROOT/build/ID/       what is being made, or removed; its file `lock` is held meanwhile
 *     ROOT/writer.lock     held by the one process that changes names/, store/ or the list of build/
 *
 * A process that is killed at any point leaves at most a folder in build/ whose lock nobody holds, or an environment in
 * store/ that no name leads to. The next process that makes or removes an environment removes them. */
#ifndef PX_ENV_BUILD_ENV_STORE_H
#define PX_ENV_BUILD_ENV_STORE_H

#include <stdbool.h>

#include "policy/config.h"

#define ENV_NAME_MAX 64
#define ENV_HASH_LENGTH 32
/* Environments that pyexec makes for requirements, and removes when nobody has used them for a time. */
#define ENV_CACHED_PREFIX "cached-"

struct env_store {
    char *root;
    int fd; /* of the root, or -1 if it is not there */
};

/* `make`: makes the folders that are missing. Otherwise a store that is not there is empty. */
int env_store_open(struct env_store *store, const struct px_env_config *config, bool make, pyexec_error *error);
void env_store_done(struct env_store *store);

bool env_name_valid(const char *name);
/* invalid_request for a name that is not valid, or that pyexec keeps for its own use. */
int env_name_check(const char *name, pyexec_error *error);

/* Reads where a name leads to. Returns 1, or 0 if there is no such name. */
int env_store_find(const struct env_store *store, const char *name, char hash[ENV_HASH_LENGTH + 1]);
/* The names in order, for free() each and the array. */
int env_store_names(const struct env_store *store, char ***ret, size_t *ret_count, pyexec_error *error);
void env_store_free_names(char **names, size_t count);
/* invalid_request: there is no such name; the hint lists those that are there. */
int env_store_unknown(const struct env_store *store, const char *name, pyexec_error *error);

/* A folder in build/. */
struct env_folder {
    const struct env_store *store;
    int fd, lock;
    char id[32];
    char *path; /* absolute */
};

/* Cleans up, and makes a folder. Whoever inherits `lock` keeps it from being removed. */
int env_folder_begin(const struct env_store *store, struct env_folder *ret, pyexec_error *error);
/* Removes the folder. Zeroed structs are ignored. */
void env_folder_done(struct env_folder *folder);

/* Moves `env` of the folder to store/HASH, if that is not there yet, and makes the name lead to it. `replace`: an environment
 * of this name may be there; otherwise invalid_request. */
int env_store_publish(struct env_folder *folder, const char *name, const char *hash, bool replace, pyexec_error *error);

/* Removes the name. *ret_used: somebody uses its files, which stay until a later clean-up. */
int env_store_remove(const struct env_store *store, const char *name, bool *ret_used, pyexec_error *error);

/* Removes what nobody needs. `unused_seconds` not negative: cached environments too that were not used for so long.
 * Counts what was removed. */
int env_store_clean(const struct env_store *store, int64_t unused_seconds, unsigned *ret_removed, pyexec_error *error);

/* Says that a cached environment was used now. */
void env_store_touch(const struct env_store *store, const char *hash);

#endif
