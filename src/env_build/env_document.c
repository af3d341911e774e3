/* SPDX-License-Identifier: Apache-2.0 */
#include "env_build/env_document.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "env_build/env_build.h"
#include "env_build/env_tree.h"
#include "environments/environment.h"

#define PROGRAM_LONGEST ((size_t)1 << 20)

int env_document_file(const struct env_store *store, const char *hash, const char *file, struct px_buffer *ret)
{
    char path[128];
    snprintf(path, sizeof path, "store/%s/%s", hash, file);
    px_auto_fd int fd = px_openat(store->fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    return fd < 0 ? -1 : px_read_all(fd, ret, PX_ENVIRONMENT_JSON_MAX);
}

int env_document_read(const struct env_store *store, const char *name, json_t **ret, pyexec_error *error)
{
    char hash[PX_ENVIRONMENT_HASH_LENGTH + 1];
    json_error_t problem;
    px_auto_buffer struct px_buffer text = {0};
    if (px_environment_name_follow(store->root, name, hash, error) < 0)
        return -1;
    if (env_document_file(store, hash, "environment.json", &text) == 0 &&
        (*ret = px_json_read(text.data ? text.data : "", text.length, JSON_REJECT_DUPLICATES, &problem))) {
        if (json_is_object(*ret)) {
            px_json_set(*ret, "name", json_string(name)); /* two names may lead to the same files */
            return 0;
        }
        json_decref(*ret);
    }
    px_error_set(error, PYEXEC_INTERNAL,
                 "the environment '%s' is damaged: '%s/store/%s/environment.json' can't be read", name, store->root,
                 hash);
    return px_error_hint(error, "`pyexec env remove %s`, and create it again.", name);
}

static int write_error(const char *what, pyexec_error *error)
{
    px_error_errno(error, PYEXEC_INTERNAL, errno, "can't write %s of the environment", what);
    return px_error_hint(error,
                         "The folder of environments must have space, and this user must be able to write there.");
}

static int write_file(int folder, const char *path, const char *bytes, size_t length, mode_t mode)
{
    px_auto_fd int fd = px_openat(folder, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    return fd < 0 || px_write_all(fd, bytes, length) < 0 || fchmod(fd, mode) < 0 ? -1 : 0;
}

/* Replaces a path in a text file, as in the first line of a program that pip wrote. Returns 0, or -1 with errno. */
static int replace_path(int folder, const char *name, const char *from, const char *to)
{
    struct stat status;
    px_auto_buffer struct px_buffer text = {0}, changed = {0};
    px_auto_fd int fd = px_openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || (size_t)status.st_size > PROGRAM_LONGEST)
        return 0; /* a link to the interpreter, a folder, or a large program */
    if (px_read_all(fd, &text, PROGRAM_LONGEST) < 0)
        return -1;
    const char *at = text.data ? text.data : "", *end = at + text.length, *found;
    if (memchr(at, 0, text.length) || !memmem(at, text.length, from, strlen(from)))
        return 0;
    while ((found = memmem(at, (size_t)(end - at), from, strlen(from)))) {
        px_buffer_add(&changed, at, (size_t)(found - at));
        px_buffer_add_string(&changed, to);
        at = found + strlen(from);
    }
    px_buffer_add(&changed, at, (size_t)(end - at));
    if (!px_buffer_ok(&changed))
        return -1;
    return write_file(folder, name, changed.data, changed.length, status.st_mode & 0777);
}

static int replace_paths(const struct env_folder *folder, const char *hash)
{
    px_auto_buffer struct px_buffer from = {0}, to = {0};
    px_buffer_printf(&from, "%s/env/venv", folder->path);
    px_buffer_printf(&to, "%s/store/%s/venv", folder->store->root, hash);
    if (!px_buffer_ok(&from) || !px_buffer_ok(&to) ||
        replace_path(folder->fd, "env/venv/pyvenv.cfg", from.data, to.data) < 0)
        return -1;
    int fd = px_openat(folder->fd, "env/venv/bin", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    px_auto_folder DIR *programs = fd < 0 ? NULL : fdopendir(fd);
    for (const struct dirent *entry; programs && (entry = readdir(programs));)
        if (entry->d_name[0] != '.' && replace_path(fd, entry->d_name, from.data, to.data) < 0)
            return -1;
    return 0;
}

int env_document_finish(const struct env_folder *folder, const char *hash, const json_t *document, pyexec_error *error)
{
    px_auto_free char *text = px_json_dumps(document, JSON_INDENT(1));
    if (!text)
        return px_error_oom(error);
    if (write_file(folder->fd, "env/environment.json", text, strlen(text), 0444) < 0)
        return write_error("environment.json", error);
    if (write_file(folder->fd, "env/lock", "", 0, 0644) < 0)
        return write_error("the lock", error);
    if (replace_paths(folder, hash) < 0)
        return write_error("the programs", error);
    if (env_tree_make_read_only(folder->fd, "env/venv") < 0)
        return write_error("the modes", error);
    return 0;
}
