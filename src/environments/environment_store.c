/* SPDX-License-Identifier: Apache-2.0 */
/* The store: from a name to an environment, and all environments. Only reads; src/env_build/ has the functions that write.
 *
 *     ROOT/names/NAME            a symbolic link to ../store/HASH, replaced by rename(2)
 *     ROOT/store/HASH/           never changed after it got a name
 *         environment.json, venv/, lock */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/paths.h"
#include "base/retry.h"
#include "base/spelling.h"
#include "environments/environment.h"
#include "environments/environment_trust.h"

#define SYSTEM_ROOT "/var/lib/pyexec/env"
#define LINK_PREFIX "../store/"
#define PATH_SIZE 4096
#define KEPT_MAX 256    /* environments in memory */
#define LISTED_MAX 4096 /* names that are read */

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

/* ---- Names ---- */

struct names {
    char **items;
    size_t count;
};

static void free_names(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
}

static int compare_names(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

/* A store that is not there has no names. Those that were made for the requirements of one script are left out. */
static int read_names(const struct px_environments *store, struct names *ret, pyexec_error *error)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/names", store->root);
    px_auto_folder DIR *folder = opendir(path);
    if (!folder && errno != ENOENT)
        return px_error_errno(error, PYEXEC_PYTHON_NOT_FOUND, errno, "environment: can't read '%s'", path);
    if (!(ret->items = calloc(LISTED_MAX, sizeof *ret->items)))
        return px_error_oom(error);
    const struct dirent *item;
    while (folder && ret->count < LISTED_MAX && (item = readdir(folder))) {
        if (!px_environment_name_valid(item->d_name, strlen(item->d_name)) ||
            strncmp(item->d_name, PX_ENVIRONMENT_CACHED, strlen(PX_ENVIRONMENT_CACHED)) == 0)
            continue;
        if (!(ret->items[ret->count] = strdup(item->d_name)))
            return px_error_oom(error);
        ret->count++;
    }
    qsort(ret->items, ret->count, sizeof *ret->items, compare_names);
    return 0;
}

static int unknown(const struct px_environments *store, const char *name, pyexec_error *error)
{
    px_auto(free_names) struct names names = {0};
    if (read_names(store, &names, error) < 0)
        return -1;
    struct px_spelling nearest = {.wanted = name};
    struct px_buffer px_auto_buffer list = {0};
    for (size_t i = 0; i < names.count; i++) {
        px_spelling_offer(&nearest, names.items[i]);
        if (list.length < 200)
            px_buffer_printf(&list, "%s%s", i ? ", " : "", names.items[i]);
        else if (list.data[list.length - 1] != '.')
            px_buffer_add_string(&list, " ...");
    }
    px_error_set(error, PYEXEC_INVALID_POLICY, "environment: there is no environment '%s' in '%s'", name, store->root);
    if (!names.count)
        return px_error_hint(error, "There are no environments yet. Make one: `pyexec env create %s PACKAGE...`.",
                             name);
    if (nearest.best)
        return px_error_hint(error, "Did you mean '%s'? There are: %s.", nearest.best, px_buffer_shown(&list));
    return px_error_hint(error, "There are: %s. To make it: `pyexec env create %s PACKAGE...`.", px_buffer_shown(&list),
                         name);
}

static bool is_hash(const char *text)
{
    return strlen(text) == PX_ENVIRONMENT_HASH_LENGTH && strspn(text, "0123456789abcdef") == PX_ENVIRONMENT_HASH_LENGTH;
}

/* Gets the folder that a name leads to. */
static int follow(const struct px_environments *store, const char *name, char *ret_folder, pyexec_error *error)
{
    char path[PATH_SIZE], target[sizeof LINK_PREFIX + PX_ENVIRONMENT_HASH_LENGTH + 1];
    if (!px_environment_name_valid(name, strlen(name))) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "environment: this is not a name of an environment");
        return px_error_hint(error, "A name has at most 64 small letters, digits and the signs . _ -, and begins "
                                    "with a letter or digit.");
    }
    if ((size_t)snprintf(path, sizeof path, "%s/names/%s", store->root, name) >= sizeof path)
        return px_error_errno(error, PYEXEC_PYTHON_NOT_FOUND, ENAMETOOLONG, "environment: '%s'", store->root);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0 && (errno == ENOENT || errno == ENOTDIR))
        return unknown(store, name, error);
    if (length < 0 && errno != EINVAL)
        return px_error_errno(error, PYEXEC_PYTHON_NOT_FOUND, errno, "environment: can't read '%s'", path);
    target[length > 0 ? length : 0] = '\0';
    if (strncmp(target, LINK_PREFIX, strlen(LINK_PREFIX)) != 0 || !is_hash(target + strlen(LINK_PREFIX))) {
        px_error_set(error, PYEXEC_PYTHON_NOT_FOUND, "environment: '%s' is not a link of an environment", path);
        return px_error_hint(error, "Remove it, and make the environment again: `pyexec env create %s PACKAGE...`.",
                             name);
    }
    snprintf(ret_folder, PATH_SIZE, "%s/store/%s", store->root, target + strlen(LINK_PREFIX));
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
        px_environment_parse(px_buffer_shown(&text), text.length, name, folder, ret, error) < 0)
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
    char path[PATH_SIZE], target[sizeof LINK_PREFIX + PX_ENVIRONMENT_HASH_LENGTH + 1];
    size_t length_below = strlen("/store/") + PX_ENVIRONMENT_HASH_LENGTH, all = strlen(environment->folder);
    int root = all > length_below ? (int)(all - length_below) : 0;
    snprintf(path, sizeof path, "%.*s/names/%s", root, environment->folder, environment->name);
    ssize_t length = readlink(path, target, sizeof target - 1);
    target[length > 0 ? length : 0] = '\0';
    if (length < 0 || strncmp(target, LINK_PREFIX, strlen(LINK_PREFIX)) != 0 ||
        strcmp(target + strlen(LINK_PREFIX), environment->hash) != 0)
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
    if (flock(fd, LOCK_SH | LOCK_NB) < 0) {
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
    px_auto(free_names) struct names names = {0};
    if (read_names(store, &names, error) < 0)
        return -1;
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
