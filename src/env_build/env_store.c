/* SPDX-License-Identifier: Apache-2.0 */
/* It trusts the folders below the root, which only the operator may write to, and no name from outside. */
#include "env_build/env_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "env_build/env_tree.h"

#define LOCK_POLL_NS 10000000
#define WRITER_WAIT_SECONDS 20

/* ---- Errors ---- */

static int store_error(const struct env_store *store, const char *what, pyexec_error *error)
{
    int failed = errno;
    px_error_errno(error, PYEXEC_INTERNAL, failed, "environments: can't %s in '%s'", what, store->root);
    if (failed == EACCES || failed == EPERM || failed == EROFS)
        return px_error_hint(error,
                             "Run it as a user who may write there, or choose another folder: root in the section "
                             "[env] of the configuration, or PYEXEC_ENV_ROOT=/FOLDER.");
    if (failed == ENOSPC || failed == EDQUOT)
        return px_error_hint(error, "The disk is full. `pyexec env remove` and `pyexec env prune` free space.");
    return px_error_hint(error, "The folder must be on a file system that has symbolic links and locks (fcntl(2)).");
}

/* ---- The root ---- */

/* Others may read it, whatever the caller's umask says: a server runs scripts with ids of their own. */
static int make_readable(int parent, const char *path)
{
    if (mkdirat(parent, path, 0755) < 0)
        return -1;
    return fchmodat(parent, path, 0755, 0);
}

static int make_folders(const char *path)
{
    px_auto_free char *copy = strdup(path);
    if (!copy)
        return -1;
    for (char *slash = copy; slash;) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = '\0';
        if (*copy && make_readable(AT_FDCWD, copy) < 0) {
            int failed = errno; /* access(2) would hide the reason */
            /* An existing folder may be in one that this user can't write to. */
            bool there = failed == EEXIST || access(copy, F_OK) == 0;
            errno = failed;
            if (!there)
                return -1;
        }
        if (slash)
            *slash = '/';
    }
    return 0;
}

static int make_parts(const struct env_store *store)
{
    static const char *const parts[] = {"names", "store", "build"};
    for (size_t i = 0; i < PX_COUNT(parts); i++)
        if (make_readable(store->fd, parts[i]) < 0 && errno != EEXIST)
            return -1;
    return 0;
}

static char *root_of(const struct px_env_config *config, pyexec_error *error)
{
    char path[PATH_MAX];
    if (!config->root && px_environments_default_root(path, sizeof path, error) < 0)
        return NULL;
    char *root = strdup(config->root ? config->root : path);
    if (!root)
        px_error_oom(error);
    return root;
}

int env_store_open(struct env_store *store, const struct px_env_config *config, bool make, pyexec_error *error)
{
    *store = (struct env_store){.fd = -1};
    if (!(store->root = root_of(config, error)))
        return -1;
    if (make && make_folders(store->root) < 0)
        return store_error(store, "make the folder", error);
    store->fd = px_open(store->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (store->fd < 0 && (make || errno != ENOENT))
        return store_error(store, "open the folder", error);
    return !make || make_parts(store) == 0 ? 0 : store_error(store, "make folders", error);
}

void env_store_done(struct env_store *store)
{
    if (store->root)
        px_close_fd(&store->fd);
    free(store->root);
    store->root = NULL;
}

/* ---- Names ---- */

int env_name_check(const char *name, pyexec_error *error)
{
    if (!px_environment_name_valid(name, strlen(name))) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "'%.100s' can't be the name of an environment", name);
        return px_error_hint(error,
                             "A name has at most %d of the characters a-z, 0-9, '.', '_' and '-', and begins with a "
                             "letter or digit.",
                             PX_ENVIRONMENT_NAME_MAX);
    }
    if (px_environment_name_is_cached(name)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "'%s' can't be the name of an environment", name);
        return px_error_hint(
            error, "Names that begin with " PX_ENVIRONMENT_CACHED " are those of environments that pyexec makes "
                   "for requirements: choose another name for your own. `pyexec env prune` removes those "
                   "that nobody has used for a time.");
    }
    return 0;
}

/* ---- Locks ---- */

static int writer_held(const struct env_store *store, pyexec_error *error)
{
    px_error_set(error, PYEXEC_OVERLOADED, "environments: another process has held '%s/writer.lock' for %d seconds",
                 store->root, WRITER_WAIT_SECONDS);
    px_error_hint(
        error,
        "A `pyexec env` that works holds it only for a moment. `lslocks` shows the process: end it if it is stuck, "
        "or try again.");
    return -1;
}

/* Waits for the lock of the writer: a short time, because nothing is built, copied or removed while it is held. Only the owner of the file
 * can open it, so nobody else can hold it. */
static int lock_writer(const struct env_store *store, pyexec_error *error)
{
    px_auto_fd int fd = px_openat(store->fd, "writer.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        store_error(store, "open writer.lock", error);
        return -1;
    }
    (void)!fchmod(fd, 0600); /* an earlier version made it readable */
    for (int64_t end = px_now_ns() + WRITER_WAIT_SECONDS * INT64_C(1000000000); px_lock_file(fd, true) < 0;) {
        if (errno != EWOULDBLOCK) {
            store_error(store, "lock writer.lock", error);
            return -1;
        }
        if (px_now_ns() >= end)
            return writer_held(store, error);
        px_sleep_ns(LOCK_POLL_NS);
    }
    return TAKE_FD(fd);
}

/* The lock of a folder, held alone. Returns a descriptor, or -1: EWOULDBLOCK if somebody holds it, ENOENT without such a file. */
static int lock_folder(const struct env_store *store, const char *part, const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s/lock", part, name);
    px_auto_fd int fd = px_openat(store->fd, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0 || px_lock_file(fd, true) < 0)
        return -1;
    return TAKE_FD(fd);
}

/* ---- Clean-up ---- */

/* Folders of build/ that are to be removed, with their locks (-1: without), after the writer's lock was given back. */
struct waste {
    struct waste_item {
        char name[300];
        int lock;
    } * items;
    size_t count;
};

static void waste_add(struct waste *waste, const char *name, int lock)
{
    struct waste_item *items = reallocarray(waste->items, waste->count + 1, sizeof *items);
    if (items) {
        waste->items = items;
        struct waste_item *item = &items[waste->count++];
        snprintf(item->name, sizeof item->name, "%s", name);
        item->lock = lock;
    } else {
        px_close_fd(&lock); /* a later clean-up finds it */
    }
}

/* Removes the content, then the lock with the folder. */
static void waste_done(const struct env_store *store, struct waste *waste)
{
    for (size_t i = 0; i < waste->count; i++) {
        char path[320];
        snprintf(path, sizeof path, "build/%s", waste->items[i].name);
        env_tree_remove(store->fd, path);
        px_close_fd(&waste->items[i].lock);
    }
    free(waste->items);
    *waste = (struct waste){0};
}

static void new_id(char id[32])
{
    uint64_t number = 0;
    if (px_random_bytes(&number, sizeof number) < 0)
        number = (uint64_t)time(NULL) << 22 ^ (uint64_t)getpid();
    snprintf(id, 32, "%016llx", (unsigned long long)number);
}

/* Folders whose maker has ended. A maker locks its folder before it gives the writer's lock back. */
static int collect_unfinished(const struct env_store *store, struct waste *waste)
{
    px_auto(px_texts_done) struct px_texts found = {0};
    if (px_environment_names_read(store->root, "build", &found) < 0)
        return -1;
    for (size_t i = 0; i < found.count; i++) {
        int lock = lock_folder(store, "build", found.items[i]);
        if (lock >= 0 || errno == ENOENT)
            waste_add(waste, found.items[i], lock);
    }
    return 0;
}

/* Also true if a name can't be read: it may lead there. */
static bool is_named(const struct env_store *store, const struct px_texts *names, const char *hash)
{
    char target[PX_ENVIRONMENT_HASH_LENGTH + 1];
    for (size_t i = 0; i < names->count; i++)
        if (px_environment_name_read(store->root, names->items[i], target) == 0 ? strcmp(target, hash) == 0
                                                                                : errno != EINVAL && errno != ENOENT)
            return true;
    return false;
}

/* Moves environments that have no name, and that nobody uses, to build/. */
static int collect_unnamed(const struct env_store *store, struct waste *waste, unsigned *removed)
{
    px_auto(px_texts_done) struct px_texts names = {0}, found = {0};
    /* Without all names nothing is known to be unused. */
    if (px_environment_names_read(store->root, "names", &names) < 0 ||
        px_environment_names_read(store->root, "store", &found) < 0)
        return -1;
    for (size_t i = 0; i < found.count; i++) {
        char from[300], to[64], id[32];
        const char *hash = found.items[i];
        px_auto_fd int lock = is_named(store, &names, hash) ? -1 : lock_folder(store, "store", hash);
        if (lock < 0)
            continue;
        new_id(id);
        snprintf(from, sizeof from, "store/%s", hash);
        snprintf(to, sizeof to, "build/%s", id);
        if (renameat(store->fd, from, store->fd, to) < 0)
            continue;
        waste_add(waste, id, TAKE_FD(lock));
        ++*removed;
    }
    return 0;
}

static int collect(const struct env_store *store, struct waste *waste, unsigned *removed, pyexec_error *error)
{
    if (collect_unfinished(store, waste) == 0 && collect_unnamed(store, waste, removed) == 0)
        return 0;
    return store_error(store, "clean up", error);
}

static void unlink_name(const struct env_store *store, const char *name)
{
    char path[PX_ENVIRONMENT_NAME_MAX + 8];
    snprintf(path, sizeof path, "names/%s", name);
    unlinkat(store->fd, path, 0);
}

/* Takes the names of cached environments that nobody has used for a time. */
static int forget_unused(const struct env_store *store, int64_t unused_seconds, pyexec_error *error)
{
    char hash[PX_ENVIRONMENT_HASH_LENGTH + 1];
    px_auto(px_texts_done) struct px_texts names = {0};
    if (px_environment_names_read(store->root, "names", &names) < 0)
        return store_error(store, "list the names", error);
    for (size_t i = 0; i < names.count; i++) {
        char path[64];
        struct stat status;
        if (!px_environment_name_is_cached(names.items[i]) ||
            px_environment_name_read(store->root, names.items[i], hash) < 0)
            continue;
        snprintf(path, sizeof path, "store/%s/lock", hash);
        if (fstatat(store->fd, path, &status, 0) < 0 || time(NULL) - status.st_mtime >= unused_seconds)
            unlink_name(store, names.items[i]);
    }
    return 0;
}

int env_store_clean(const struct env_store *store, int64_t unused_seconds, unsigned *ret_removed, pyexec_error *error)
{
    struct waste waste = {0};
    *ret_removed = 0;
    if (store->fd < 0)
        return 0;
    px_auto_fd int writer = lock_writer(store, error);
    if (writer < 0 || (unused_seconds >= 0 && forget_unused(store, unused_seconds, error) < 0))
        return -1;
    int status = collect(store, &waste, ret_removed, error);
    px_close_fd(&writer);
    waste_done(store, &waste);
    return status;
}

/* ---- Making ---- */

static int make_folder(const struct env_store *store, struct env_folder *ret, pyexec_error *error)
{
    char path[64];
    new_id(ret->id);
    snprintf(path, sizeof path, "build/%s", ret->id);
    if (make_readable(store->fd, path) < 0)
        return store_error(store, "make a folder", error);
    ret->store = store;
    ret->fd = px_openat(store->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    ret->lock = ret->fd < 0 ? -1 : px_openat(ret->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (ret->lock < 0 || px_lock_file(ret->lock, true) < 0)
        return store_error(store, "lock a folder", error);
    px_auto_buffer struct px_buffer whole = {0};
    px_buffer_printf(&whole, "%s/%s", store->root, path);
    ret->path = px_buffer_take(&whole);
    return ret->path ? 0 : px_error_oom(error);
}

int env_folder_begin(const struct env_store *store, struct env_folder *ret, pyexec_error *error)
{
    struct waste waste = {0};
    unsigned removed = 0;
    *ret = (struct env_folder){.fd = -1, .lock = -1};
    px_auto_fd int writer = lock_writer(store, error);
    if (writer < 0)
        return -1;
    int status = collect(store, &waste, &removed, error) < 0 || make_folder(store, ret, error) < 0 ? -1 : 0;
    px_close_fd(&writer);
    waste_done(store, &waste);
    return status;
}

void env_folder_done(struct env_folder *folder)
{
    char path[64];
    if (!folder->store)
        return;
    snprintf(path, sizeof path, "build/%s", folder->id);
    env_tree_remove(folder->store->fd, path);
    px_close_fd(&folder->fd);
    px_close_fd(&folder->lock);
    free(folder->path);
    *folder = (struct env_folder){.fd = -1, .lock = -1};
}

/* rename(2) of a folder that has entries to one that is there fails, so nothing is ever replaced in store/. */
static int place(struct env_folder *folder, const char *hash, pyexec_error *error)
{
    char path[64];
    const struct env_store *store = folder->store;
    snprintf(path, sizeof path, "store/%s", hash);
    if (renameat(folder->fd, "env", store->fd, path) == 0 || errno == EEXIST || errno == ENOTEMPTY)
        return 0;
    return store_error(store, "put an environment into store/", error);
}

static int refuse_existing(const char *name, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "there is an environment '%s' already", name);
    return px_error_hint(error, "Choose another name, or: `pyexec env update %s`, `pyexec env remove %s`.", name, name);
}

int env_store_publish(struct env_folder *folder, const char *name, const char *hash, bool replace, pyexec_error *error)
{
    char path[PX_ENVIRONMENT_NAME_MAX + 8], old[PX_ENVIRONMENT_HASH_LENGTH + 1];
    char target[sizeof PX_ENVIRONMENT_LINK + PX_ENVIRONMENT_HASH_LENGTH];
    const struct env_store *store = folder->store;
    /* After a loss of power, a name must not lead to files whose bytes were not written. */
    if (syncfs(folder->fd) < 0)
        return store_error(store, "write to the disk", error);
    px_auto_fd int writer = lock_writer(store, error);
    if (writer < 0)
        return -1;
    if (!replace && px_environment_name_read(store->root, name, old) == 0)
        return refuse_existing(name, error);
    if (place(folder, hash, error) < 0)
        return -1;
    snprintf(path, sizeof path, "names/%s", name);
    snprintf(target, sizeof target, PX_ENVIRONMENT_LINK "%s", hash);
    if (symlinkat(target, folder->fd, "link") < 0 || renameat(folder->fd, "link", store->fd, path) < 0)
        return store_error(store, "write a name", error);
    return 0;
}

int env_store_remove(const struct env_store *store, const char *name, bool *ret_used, pyexec_error *error)
{
    char path[300], hash[PX_ENVIRONMENT_HASH_LENGTH + 1];
    struct waste waste = {0};
    unsigned removed = 0;
    px_auto_fd int writer = store->fd < 0 ? -1 : lock_writer(store, error);
    if (store->fd >= 0 && writer < 0)
        return -1;
    if (px_environment_name_follow(store->root, name, hash, error) < 0)
        return -1;
    snprintf(path, sizeof path, "names/%s", name);
    if (unlinkat(store->fd, path, 0) < 0)
        return store_error(store, "remove a name", error);
    int status = collect(store, &waste, &removed, error);
    snprintf(path, sizeof path, "store/%s", hash);
    *ret_used = faccessat(store->fd, path, F_OK, 0) == 0;
    px_close_fd(&writer);
    waste_done(store, &waste);
    return status;
}

void env_store_touch(const struct env_store *store, const char *hash)
{
    char path[64];
    snprintf(path, sizeof path, "store/%s/lock", hash);
    utimensat(store->fd, path, NULL, 0); /* without the right to write the time stays as it is */
}
