/* SPDX-License-Identifier: Apache-2.0 */
/* Environments: named sets of packages that `pyexec env` makes, read from their store (docs/environments.md).
 *
 *     const struct px_environment *environment;
 *     if (px_environments_get(store, "data", &environment, error) < 0)
 *         return -1;
 *     … environment->python …
 *     px_environment_unref(environment);
 *
 * The store's files are written by the operator. Nobody else may be able to write there, because code of an
 * environment runs in zygotes, before their last layers are closed. So owners and modes are checked, sizes are bounded, and
 * all paths stay inside of the environment's own folder. */
#ifndef PX_ENVIRONMENTS_ENVIRONMENT_H
#define PX_ENVIRONMENTS_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "environments/environment_names.h"

#define PX_ENVIRONMENT_FORMAT 1
/* The most bytes of environment.json. A large environment has 400 packages and needs 60 KB. */
#define PX_ENVIRONMENT_JSON_MAX (1u << 20)
/* A limit that the environment does not set. */
#define PX_ENVIRONMENT_ABSENT INT64_MIN

/* Counted, and never changed after it was read. */
struct px_environment {
    char name[PX_ENVIRONMENT_NAME_MAX + 1];
    char hash[PX_ENVIRONMENT_HASH_LENGTH + 1];
    char *folder; /* ROOT/store/HASH */
    char *python; /* the interpreter's absolute path, below `folder` */
    char *python_version;
    char **imports; /* top-level modules that scripts may import */
    size_t import_count;
    char **preloads; /* modules that the zygotes import */
    size_t preload_count;
    /* Limits with which its packages work, where the defaults are too low. */
    int64_t address_space_bytes, max_threads, cpu_time_seconds, timeout_ms;
    json_t *document; /* all of environment.json */
    /* The file that was read. If somebody deletes the folder and makes it again, this is another file. */
    uint64_t device, inode;
    int64_t written_ns;
    unsigned references;
};

const struct px_environment *px_environment_ref(const struct px_environment *environment);
/* Ignores NULL. */
void px_environment_unref(const struct px_environment *environment);

/* Reads the bytes of environment.json. `folder` is the path of the environment's folder, whose last part is its hash.
 * python_not_found names the member that is wrong. */
int px_environment_parse(const char *bytes, size_t length, const char *name, const char *folder,
                         const struct px_environment **ret, pyexec_error *error);

/* ---- The store ---- */

struct px_environments;

/* The store when [env] root is not set: /var/lib/pyexec/env for root, else pyexec/env in $XDG_DATA_HOME or ~/.local/share.
 * invalid_policy when there is no such folder for this user. */
int px_environments_default_root(char *path, size_t size, pyexec_error *error);

/* `root` NULL: the default. Reads nothing: the folder may be made later. */
int px_environments_new(const char *root, struct px_environments **ret, pyexec_error *error);
/* Environments that others hold stay. Ignores NULL. */
void px_environments_free(struct px_environments *store);

/* Finds an environment and takes a reference to it. It is kept in memory while its name leads to the same folder, so a
 * second call costs two system calls, and sees an update that another process made. Thread-safe.
 * invalid_policy when there is no environment of this name; the hint lists the names. python_not_found when its
 * folder is gone or damaged; sandbox_unavailable when other users could write there. */
int px_environments_get(struct px_environments *store, const char *name, const struct px_environment **ret,
                        pyexec_error *error);

/* All environments that somebody named, in the order of their names, as an array of objects: name, hash, created, python, requirements, packages,
 * imports, limits and preload. One that can't be used has name, error and hint. */
int px_environments_list(struct px_environments *store, json_t **ret, pyexec_error *error);

/* True if both have the same files, whatever their names are. */
bool px_environment_same(const struct px_environment *one, const struct px_environment *other);

/* True while the environment's name leads to its files. False after an update or a removal. */
bool px_environment_is_current(const struct px_environment *environment);

/* Keeps the environment's folder from being removed until the descriptor is closed: holds its lock shared (px_lock_file()).
 * Sets the lock's time of change, the time of the last use. python_not_found when the folder is gone, or is being removed. */
int px_environment_lock(const struct px_environment *environment, int *ret_fd, pyexec_error *error);
/* Sets only the time of the last use: zygotes keep the lock for as long as they live, which may be longer than `pyexec env prune` waits. */
void px_environment_touch(const struct px_environment *environment);

#endif
