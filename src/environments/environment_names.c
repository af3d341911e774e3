/* SPDX-License-Identifier: Apache-2.0 */
#include "environments/environment_names.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/sha256.h"
#include "base/spelling.h"

#define NAMES_SHOWN ((size_t)200) /* bytes of a hint */

/* ---- One name ---- */

bool px_environment_name_valid(const char *name, size_t length)
{
    if (!length || length > PX_ENVIRONMENT_NAME_MAX || name[0] == '.' || name[0] == '_' || name[0] == '-')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!name[i] || !strchr("abcdefghijklmnopqrstuvwxyz0123456789._-", name[i]))
            return false;
    return true;
}

bool px_environment_name_is_cached(const char *name)
{
    return strncmp(name, PX_ENVIRONMENT_CACHED, strlen(PX_ENVIRONMENT_CACHED)) == 0;
}

static int fail(int sys_errno)
{
    errno = sys_errno;
    return -1;
}

int px_environment_name_read(const char *root, const char *name, char ret_hash[PX_ENVIRONMENT_HASH_LENGTH + 1])
{
    char path[PATH_MAX], target[sizeof PX_ENVIRONMENT_LINK + PX_ENVIRONMENT_HASH_LENGTH + 1];
    const size_t start = strlen(PX_ENVIRONMENT_LINK), whole = start + PX_ENVIRONMENT_HASH_LENGTH;
    if (!px_environment_name_valid(name, strlen(name)))
        return fail(EINVAL);
    if ((size_t)snprintf(path, sizeof path, "%s/names/%s", root, name) >= sizeof path)
        return fail(ENAMETOOLONG);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0)
        return fail(errno == ENOTDIR ? ENOENT : errno);
    target[length] = '\0';
    if ((size_t)length != whole || strncmp(target, PX_ENVIRONMENT_LINK, start) != 0 ||
        strspn(target + start, "0123456789abcdef") != PX_ENVIRONMENT_HASH_LENGTH)
        return fail(EINVAL);
    memcpy(ret_hash, target + start, PX_ENVIRONMENT_HASH_LENGTH + 1);
    return 0;
}

static void hash_text(struct px_sha256 *hash, const char *text)
{
    px_sha256_add_string(hash, text ? text : "");
}

int px_environment_cached_name(const struct px_environment_wish *wish, char ret[PX_ENVIRONMENT_NAME_MAX + 1],
                               pyexec_error *error)
{
    char hex[PX_SHA256_HEX + 1];
    struct px_sha256 hash;
    px_auto(px_texts_done) struct px_texts lines = {0};
    px_auto_free char *copy = strdup(wish->requirements);
    for (char *rest = copy, *line; rest && (line = strsep(&rest, "\n"));)
        px_texts_add(&lines, line);
    if (!copy || lines.failed)
        return px_error_oom(error);
    px_texts_sort(&lines);
    px_sha256_init(&hash);
    hash_text(&hash, "pyexec requirements 1");
    hash_text(&hash, wish->python);
    hash_text(&hash, wish->requires);
    hash_text(&hash, wish->default_python);
    hash_text(&hash, wish->build ? "build" : "");
    for (size_t i = 0; i < lines.count; i++)
        hash_text(&hash, lines.items[i]);
    px_sha256_end(&hash, hex);
    snprintf(ret, PX_ENVIRONMENT_NAME_MAX + 1, PX_ENVIRONMENT_CACHED "%.*s", PX_ENVIRONMENT_HASH_LENGTH, hex);
    return 0;
}

/* ---- All names ---- */

int px_environment_names_read(const char *root, const char *folder, struct px_texts *ret)
{
    char path[PATH_MAX];
    px_auto(px_texts_done) struct px_texts names = {0};
    *ret = names;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", root, folder) >= sizeof path)
        return fail(ENAMETOOLONG);
    px_auto_folder DIR *entries = opendir(path);
    if (!entries)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    for (const struct dirent *entry; (entry = readdir(entries));) {
        if (entry->d_name[0] == '.')
            continue;
        px_texts_add(&names, entry->d_name);
    }
    if (names.failed)
        return fail(ENOMEM);
    px_texts_sort(&names);
    *ret = names;
    names = (struct px_texts){0};
    return 0;
}

int px_environment_names_given(const char *root, struct px_texts *ret, size_t *ret_cached, pyexec_error *error)
{
    size_t kept = 0, cached = 0;
    if (px_environment_names_read(root, "names", ret) < 0) {
        if (errno == ENOMEM)
            return px_error_oom(error);
        px_error_errno(error, PYEXEC_PYTHON_NOT_FOUND, errno, "can't read '%s/names'", root);
        return px_error_hint(error, "All users must be able to read the folder of the environments.");
    }
    for (size_t i = 0; i < ret->count; i++) {
        char *name = ret->items[i];
        bool valid = px_environment_name_valid(name, strlen(name)), is_cached = px_environment_name_is_cached(name);
        cached += valid && is_cached;
        if (valid && !is_cached)
            ret->items[kept++] = name;
        else
            free(name);
    }
    ret->count = kept;
    if (ret->items)
        ret->items[kept] = NULL;
    if (ret_cached)
        *ret_cached = cached;
    return 0;
}

/* ---- Errors ---- */

static int unknown(const char *root, const char *name, pyexec_error *error)
{
    px_auto(px_texts_done) struct px_texts names = {0};
    if (px_environment_names_given(root, &names, NULL, error) < 0)
        return -1;
    struct px_spelling nearest = {.wanted = name};
    px_auto_buffer struct px_buffer list = {0};
    for (size_t i = 0; i < names.count; i++) {
        px_spelling_offer(&nearest, names.items[i]);
        if (list.length < NAMES_SHOWN)
            px_buffer_printf(&list, "%s%s", i ? ", " : "", names.items[i]);
        else if (list.data[list.length - 1] != '.')
            px_buffer_add_string(&list, " ...");
    }
    px_error_set(error, PYEXEC_INVALID_POLICY, "there is no environment '%s' in '%s'", name, root);
    if (!names.count)
        return px_error_hint(error, "There are no environments yet. Make one: `pyexec env create %s PACKAGE...`.",
                             name);
    if (nearest.best)
        return px_error_hint(error, "Did you mean '%s'? There are: %s.", nearest.best, px_buffer_shown(&list));
    return px_error_hint(error, "There are: %s. To make it: `pyexec env create %s PACKAGE...`.", px_buffer_shown(&list),
                         name);
}

int px_environment_name_follow(const char *root, const char *name, char ret_hash[PX_ENVIRONMENT_HASH_LENGTH + 1],
                               pyexec_error *error)
{
    if (!px_environment_name_valid(name, strlen(name))) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "this is not a name of an environment");
        return px_error_hint(error, "A name has at most 64 small letters, digits and the signs . _ -, and begins "
                                    "with a letter or digit.");
    }
    if (px_environment_name_read(root, name, ret_hash) == 0)
        return 0;
    if (errno == ENOENT)
        return unknown(root, name, error);
    if (errno != EINVAL) {
        px_error_errno(error, PYEXEC_PYTHON_NOT_FOUND, errno, "can't read '%s/names/%s'", root, name);
        return px_error_hint(error, "All users must be able to read the folder of the environments.");
    }
    px_error_set(error, PYEXEC_PYTHON_NOT_FOUND, "'%s/names/%s' is not a link of an environment", root, name);
    return px_error_hint(error, "Remove it, and make the environment again: `pyexec env create %s PACKAGE...`.", name);
}
