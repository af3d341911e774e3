/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of the store of environments. src/environments/environment_names.h has the layout, and reads names.
 *
 * A process that is killed at any point leaves at most a folder in build/ whose lock nobody holds, or an environment in
 * store/ that no name leads to. The next process that makes or removes an environment removes them. */
#ifndef PX_ENV_BUILD_ENV_STORE_H
#define PX_ENV_BUILD_ENV_STORE_H

#include <stdbool.h>

#include "environments/environment_names.h"
#include "policy/config.h"

struct env_store {
    char *root;
    int fd; /* of the root, or -1 if it is not there */
};

/* `make`: makes the folders that are missing. Otherwise a store that is not there is empty. */
int env_store_open(struct env_store *store, const struct px_env_config *config, bool make, pyexec_error *error);
void env_store_done(struct env_store *store);

/* invalid_request for a name that is not valid, or that pyexec keeps for its own use. */
int env_name_check(const char *name, pyexec_error *error);

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
