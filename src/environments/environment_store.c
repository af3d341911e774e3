/* SPDX-License-Identifier: Apache-2.0 */
/* The store: from a name to an environment, and all environments. Only reads; src/env_build/ has the functions that write. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/paths.h"
#include "base/retry.h"
#include "environments/environment.h"
#include "environments/environment_names.h"
#include "environments/environment_trust.h"

#define SYSTEM_ROOT "/var/lib/pyexec/env"
#define PATH_SIZE 4096
#define KEPT_MAX 256 /* environments in memory */

struct kept {
    const struct px_environment *environment;
    uint64_t used;
};

struct px_environments {
    char *root;
    pthread_mutex_t lock;
    uint64_t uses;
    size_t count;
    struct kept kept[KEPT_MAX];
};

int px_environments_default_root(char *path, size_t size, pyexec_error *error)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int length = -1;
    if (geteuid() == 0)
        length = snprintf(path, size, "%s", SYSTEM_ROOT);
    else if (data && data[0] == '/')
        length = snprintf(path, size, "%s/pyexec/env", data);
    else if (home && home[0] == '/')
        length = snprintf(path, size, "%s/.local/share/pyexec/env", home);
    if (length > 0 && (size_t)length < size)
        return 0;
    px_error_set(error, PYEXEC_INVALID_POLICY, "environment: there is no folder for the environments of this user");
    return px_error_hint(
        error, "Set the variable HOME, or root in the section [env] of the configuration (PYEXEC_ENV_ROOT=/FOLDER).");
}

int px_environments_new(const char *root, struct px_environments **ret, pyexec_error *error)
{
    char path[PATH_SIZE];
    if (!root && px_environments_default_root(path, sizeof path, error) < 0)
        return -1;
    struct px_environments *store = calloc(1, sizeof *store);
    if (!store || !(store->root = strdup(root ? root : path))) {
        free(store);
        return px_error_oom(error);
    }
    pthread_mutex_init(&store->lock, NULL);
    *ret = store;
    return 0;
}

void px_environments_free(struct px_environments *store)
{
    if (!store)
        return;
    for (size_t i = 0; i < store->count; i++)
        px_environment_unref(store->kept[i].environment);
    pthread_mutex_destroy(&store->lock);
    free(store->root);
    free(store);
}

/* Gets the folder that a name leads to. */
static int follow(const struct px_environments *store, const char *name, char *ret_folder, pyexec_error *error)
{
    char hash[PX_ENVIRONMENT_HASH_LENGTH + 1];
    if (px_environment_name_follow(store->root, name, hash, error) < 0)
        return px_error_wrap(error, "environment");
    if ((size_t)snprintf(ret_folder, PATH_SIZE, "%s/store/%s", store->root, hash) >= PATH_SIZE)
        return px_error_errno(error, PYEXEC_PYTHON_NOT_FOUND, ENAMETOOLONG, "environment: '%s'", store->root);
    return 0;
}

/* ---- One environment ---- */

static int gone(const char *name, const char *path, int sys_errno, pyexec_error *error)
{
    px_error_errno(error, PYEXEC_PYTHON_NOT_FOUND, sys_errno, "environment '%s': can't use '%s'", name, path);
    return px_error_hint(error,
                         "Somebody has changed the store by hand, or the interpreter was removed. Make the "
                         "environment again: `pyexec env update %s`.",
                         name);
}

/* Opens what is below the root, without links, and checks that only the operator can write there. */
static int open_trusted(int root, const char *root_path, const char *name, const char *below, int flags, int *ret,
                        pyexec_error *error)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", root_path, below);
    px_auto_fd int fd = px_open_beneath(root, below, flags, 0);
    if (fd < 0)
        return px_errno_exhausted(errno) ? px_error_exhausted(error, errno, "can't read the environment")
                                         : gone(name, path, errno, error);
    if (px_environment_trust(fd, path, error) < 0)
        return -1;
    if (ret)
        *ret = TAKE_FD(fd);
    return 0;
}

static int check_store(int root, const char *root_path, const char *name, const char *hash, pyexec_error *error)
{
    char folder[64], venv[64];
    snprintf(folder, sizeof folder, "store/%s", hash);
    snprintf(venv, sizeof venv, "store/%s/venv", hash);
    const char *const folders[] = {"names", "store", folder, venv};
    if (px_environment_trust(root, root_path, error) < 0 || px_environment_trust_above(root_path, error) < 0)
        return -1;
    for (size_t i = 0; i < PX_COUNT(folders); i++)
        if (open_trusted(root, root_path, name, folders[i], O_RDONLY | O_DIRECTORY, NULL, error) < 0)
            return -1;
    return 0;
}

static int read_file(int fd, const char *name, struct px_buffer *ret, struct stat *ret_status, pyexec_error *error)
{
    if (fstat(fd, ret_status) < 0 || !S_ISREG(ret_status->st_mode))
        return gone(name, "environment.json", EINVAL, error);
    if (px_read_all(fd, ret, PX_ENVIRONMENT_JSON_MAX) < 0)
        return errno == ENOMEM ? px_error_oom(error) : gone(name, "environment.json", errno, error);
    return 0;
}

static int load(const struct px_environments *store, const char *name, const char *folder,
                const struct px_environment **ret, pyexec_error *error)
{
    const char *hash = strrchr(folder, '/') + 1;
    char below[64];
    px_auto_fd int root = px_open(store->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), file = -1;
    if (root < 0)
        return gone(name, store->root, errno, error);
    snprintf(below, sizeof below, "store/%s/environment.json", hash);
    if (check_store(root, store->root, name, hash, error) < 0 ||
        open_trusted(root, store->root, name, below, O_RDONLY | O_NONBLOCK, &file, error) < 0)
        return -1;
    struct px_buffer px_auto_buffer text = {0};
    struct stat status;
    if (read_file(file, name, &text, &status, error) < 0 ||
        px_environment_parse(px_buffer_shown(&text), px_buffer_length(&text), name, folder, ret, error) < 0)
        return -1;
    struct px_environment *own = (struct px_environment *)(uintptr_t)*ret; /* nobody else has it yet */
    own->device = status.st_dev;
    own->inode = status.st_ino;
    own->written_ns = px_timespec_ns(status.st_mtim);
    if (access((*ret)->python, X_OK) == 0)
        return 0;
    gone(name, (*ret)->python, errno, error);
    px_environment_unref(*ret);
    return -1;
}

static bool is_same_file(const struct px_environment *environment, const struct stat *file)
{
    return environment->device == file->st_dev && environment->inode == file->st_ino &&
           environment->written_ns == px_timespec_ns(file->st_mtim);
}

/* Returns the place of a name, or else a free place, or else that of the environment that was not used for the longest time.
 * The caller holds the lock. */
static struct kept *find_kept(struct px_environments *store, const char *name)
{
    struct kept *oldest = &store->kept[0];
    for (size_t i = 0; i < store->count; i++) {
        if (strcmp(store->kept[i].environment->name, name) == 0)
            return &store->kept[i];
        if (store->kept[i].used < oldest->used)
            oldest = &store->kept[i];
    }
    return store->count < KEPT_MAX ? &store->kept[store->count] : oldest;
}

static const struct px_environment *recall(struct px_environments *store, const char *name, const char *folder,
                                           const struct stat *file)
{
    const struct px_environment *found = NULL;
    pthread_mutex_lock(&store->lock);
    struct kept *kept = find_kept(store, name);
    if (kept->environment && strcmp(kept->environment->name, name) == 0 &&
        strcmp(kept->environment->folder, folder) == 0 && is_same_file(kept->environment, file)) {
        kept->used = ++store->uses;
        found = px_environment_ref(kept->environment);
    }
    pthread_mutex_unlock(&store->lock);
    return found;
}

static void keep(struct px_environments *store, const struct px_environment *environment)
{
    pthread_mutex_lock(&store->lock);
    struct kept *kept = find_kept(store, environment->name);
    store->count += kept == &store->kept[store->count];
    px_environment_unref(kept->environment);
    *kept = (struct kept){px_environment_ref(environment), ++store->uses};
    pthread_mutex_unlock(&store->lock);
}

int px_environments_get(struct px_environments *store, const char *name, const struct px_environment **ret,
                        pyexec_error *error)
{
    char folder[PATH_SIZE], path[PATH_SIZE + 32];
    struct stat file;
    if (follow(store, name, folder, error) < 0)
        return -1;
    snprintf(path, sizeof path, "%s/environment.json", folder);
    if (lstat(path, &file) < 0)
        return gone(name, folder, errno, error);
    if ((*ret = recall(store, name, folder, &file)))
        return 0;
    if (load(store, name, folder, ret, error) < 0)
        return -1;
    keep(store, *ret);
    return 0;
}

bool px_environment_is_current(const struct px_environment *environment)
{
    char path[PATH_SIZE], hash[PX_ENVIRONMENT_HASH_LENGTH + 1];
    size_t length_below = strlen("/store/") + PX_ENVIRONMENT_HASH_LENGTH, all = strlen(environment->folder);
    snprintf(path, sizeof path, "%.*s", all > length_below ? (int)(all - length_below) : 0, environment->folder);
    if (px_environment_name_read(path, environment->name, hash) < 0 || strcmp(hash, environment->hash) != 0)
        return false;
    struct stat file;
    snprintf(path, sizeof path, "%s/environment.json", environment->folder);
    return lstat(path, &file) == 0 && is_same_file(environment, &file);
}

int px_environment_lock(const struct px_environment *environment, int *ret_fd, pyexec_error *error)
{
    char path[PATH_SIZE + 32];
    struct stat here, there;
    snprintf(path, sizeof path, "%s/lock", environment->folder);
    px_auto_fd int fd = px_open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0)
        return px_errno_exhausted(errno) ? px_error_exhausted(error, errno, "can't lock the environment")
                                         : gone(environment->name, path, errno, error);
    if (px_lock_file(fd, false) < 0) {
        px_error_set(error, PYEXEC_PYTHON_NOT_FOUND, "environment '%s': '%s' is being removed", environment->name,
                     environment->folder);
        return px_error_hint(error, "Another process removes it at this moment: try again.");
    }
    /* It may have been removed between the two calls. */
    if (fstat(fd, &here) < 0 || lstat(path, &there) < 0 || here.st_dev != there.st_dev || here.st_ino != there.st_ino)
        return gone(environment->name, environment->folder, ENOENT, error);
    /* `pyexec env prune` removes what was not used for a long time. A user who may only read the store does not count. */
    (void)!futimens(fd, NULL);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

void px_environment_touch(const struct px_environment *environment)
{
    char path[PATH_SIZE + 32];
    snprintf(path, sizeof path, "%s/lock", environment->folder);
    (void)!utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
}

/* ---- All of them ---- */

static json_t *describe(const struct px_environment *environment)
{
    static const char *const members[] = {"created", "requirements", "packages", "imports", "limits", "preload"};
    json_t *object = json_pack("{s:s, s:s, s:s}", "name", environment->name, "hash", environment->hash, "python",
                               environment->python_version);
    for (size_t i = 0; object && i < PX_COUNT(members); i++) {
        json_t *value = json_object_get(environment->document, members[i]);
        if (value)
            px_json_set(object, members[i], json_incref(value));
    }
    return object;
}

int px_environments_list(struct px_environments *store, json_t **ret, pyexec_error *error)
{
    px_auto(px_texts_done) struct px_texts names = {0};
    if (px_environment_names_given(store->root, &names, NULL, error) < 0)
        return px_error_wrap(error, "environment");
    json_t *list = json_array();
    for (size_t i = 0; list && i < names.count; i++) {
        const struct px_environment *environment;
        pyexec_error problem;
        if (px_environments_get(store, names.items[i], &environment, &problem) == 0) {
            px_json_append(list, describe(environment));
            px_environment_unref(environment);
        } else {
            px_json_append(list, json_pack("{s:s, s:s, s:s}", "name", names.items[i], "error", problem.message, "hint",
                                           problem.hint));
        }
    }
    if (!list)
        return px_error_oom(error);
    *ret = list;
    return 0;
}
