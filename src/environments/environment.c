/* SPDX-License-Identifier: Apache-2.0 */
/* One environment: reading its description, environment.json, which `pyexec env` wrote. */
#include "environments/environment.h"

#include <ctype.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/paths.h"

#define LIST_ITEMS_MAX 10000 /* in one list */
#define LIST_TEXT_MAX 1000   /* bytes of one text */
#define FILE_NAME "environment.json"
#define MAKE_AGAIN "Make the environment again: `pyexec env update %s`."

const struct px_environment *px_environment_ref(const struct px_environment *environment)
{
    struct px_environment *counted = (struct px_environment *)(uintptr_t)environment;
    if (counted)
        __atomic_add_fetch(&counted->references, 1, __ATOMIC_RELAXED);
    return environment;
}

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

void px_environment_unref(const struct px_environment *environment)
{
    struct px_environment *counted = (struct px_environment *)(uintptr_t)environment;
    if (!counted || __atomic_sub_fetch(&counted->references, 1, __ATOMIC_ACQ_REL))
        return;
    free_texts(counted->imports, counted->import_count);
    free_texts(counted->preloads, counted->preload_count);
    free(counted->folder);
    free(counted->python);
    free(counted->python_version);
    json_decref(counted->document);
    free(counted);
}

static void drop(struct px_environment **environment)
{
    px_environment_unref(*environment);
}

bool px_environment_same(const struct px_environment *one, const struct px_environment *other)
{
    return one == other || (one->device == other->device && one->inode == other->inode &&
                            one->written_ns == other->written_ns && strcmp(one->folder, other->folder) == 0);
}

/* `what` says what is wrong, and never has bytes of the file. */
static int damaged(const struct px_environment *environment, const char *what, pyexec_error *error)
{
    px_error_set(error, PYEXEC_PYTHON_NOT_FOUND, "environment '%s': " FILE_NAME ": %s", environment->name, what);
    return px_error_hint(error, MAKE_AGAIN, environment->name);
}

static int damaged_member(const struct px_environment *environment, const char *member, const char *expected,
                          pyexec_error *error)
{
    px_error_set(error, PYEXEC_PYTHON_NOT_FOUND, "environment '%s': " FILE_NAME ": '%s' is not %s", environment->name,
                 member, expected);
    return px_error_hint(error, MAKE_AGAIN, environment->name);
}

/* ---- Values ---- */

static bool is_text(const json_t *value)
{
    size_t length = json_string_length(value);
    return json_is_string(value) && length > 0 && length <= LIST_TEXT_MAX && strlen(json_string_value(value)) == length;
}

/* True for the name of a module; with `dotted` also for one in a package. Python knows which letters a name may have; here it must
 * only be one word without signs. */
static bool is_module(const char *name, bool dotted)
{
    bool begins = true;
    for (; *name; name++) {
        unsigned char byte = (unsigned char)*name;
        if (byte == '.' && dotted && !begins) {
            begins = true;
            continue;
        }
        if (!(byte >= 0x80 || byte == '_' || isalpha(byte) || (isdigit(byte) && !begins)))
            return false;
        begins = false;
    }
    return !begins;
}

static int take_modules(const struct px_environment *environment, const char *member, bool dotted, char ***ret,
                        size_t *ret_count, pyexec_error *error)
{
    const json_t *list = json_object_get(environment->document, member);
    if (list && (!json_is_array(list) || json_array_size(list) > LIST_ITEMS_MAX))
        return damaged_member(environment, member, "a list of at most 10000 modules", error);
    size_t count = json_array_size(list);
    if (!(*ret = calloc(count + 1, sizeof **ret)))
        return px_error_oom(error);
    for (; *ret_count < count; ++*ret_count) {
        const json_t *item = json_array_get(list, *ret_count);
        if (!is_text(item) || !is_module(json_string_value(item), dotted))
            return damaged_member(environment, member, "a list of names of modules", error);
        if (!((*ret)[*ret_count] = strdup(json_string_value(item))))
            return px_error_oom(error);
    }
    return 0;
}

static int take_limit(const struct px_environment *environment, const char *name, int64_t maximum, int64_t *ret,
                      pyexec_error *error)
{
    const json_t *limits = json_object_get(environment->document, "limits"), *value = json_object_get(limits, name);
    *ret = PX_ENVIRONMENT_ABSENT;
    if (limits && !json_is_object(limits))
        return damaged_member(environment, "limits", "an object", error);
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > maximum)
        return damaged_member(environment, name, "a limit", error);
    *ret = json_integer_value(value);
    return 0;
}

static int take_limits(struct px_environment *environment, pyexec_error *error)
{
    const int64_t time_max = INT64_C(86400000);
    if (take_limit(environment, "address_space_bytes", INT64_C(1) << 46, &environment->address_space_bytes, error) <
            0 ||
        take_limit(environment, "max_threads", 4096, &environment->max_threads, error) < 0 ||
        take_limit(environment, "cpu_time_seconds", time_max / 1000, &environment->cpu_time_seconds, error) < 0 ||
        take_limit(environment, "timeout_ms", time_max, &environment->timeout_ms, error) < 0)
        return -1;
    return 0;
}

/* ---- Members that others show ---- */

static int check_packages(const struct px_environment *environment, pyexec_error *error)
{
    const json_t *packages = json_object_get(environment->document, "packages");
    if (!json_is_array(packages) || json_array_size(packages) > LIST_ITEMS_MAX)
        return damaged_member(environment, "packages", "a list of at most 10000 packages", error);
    for (size_t i = 0; i < json_array_size(packages); i++) {
        const json_t *package = json_array_get(packages, i);
        if (!is_text(json_object_get(package, "name")) || !is_text(json_object_get(package, "version")))
            return damaged_member(environment, "packages", "a list of names and versions", error);
    }
    return 0;
}

static int check_requirements(const struct px_environment *environment, pyexec_error *error)
{
    const json_t *list = json_object_get(environment->document, "requirements");
    bool right = !list || (json_is_array(list) && json_array_size(list) <= LIST_ITEMS_MAX);
    for (size_t i = 0; right && i < json_array_size(list); i++)
        right = is_text(json_array_get(list, i));
    return right ? 0 : damaged_member(environment, "requirements", "a list of texts", error);
}

static int check_shown(const struct px_environment *environment, pyexec_error *error)
{
    static const char *const texts[] = {"name", "created", "tool"};
    for (size_t i = 0; i < PX_COUNT(texts); i++) {
        const json_t *value = json_object_get(environment->document, texts[i]);
        if (value && !is_text(value))
            return damaged_member(environment, texts[i], "a text", error);
    }
    if (check_packages(environment, error) < 0 || check_requirements(environment, error) < 0)
        return -1;
    return 0;
}

/* ---- The whole ---- */

static int check_format(const struct px_environment *environment, pyexec_error *error)
{
    const json_t *format = json_object_get(environment->document, "format");
    if (!json_is_integer(format))
        return damaged_member(environment, "format", "a number", error);
    if (json_integer_value(format) == PX_ENVIRONMENT_FORMAT)
        return 0;
    px_error_set(error, PYEXEC_PYTHON_NOT_FOUND,
                 "environment '%s': " FILE_NAME " has the format %lld, and this version of pyexec reads %d",
                 environment->name, (long long)json_integer_value(format), PX_ENVIRONMENT_FORMAT);
    return px_error_hint(error, "Another version of pyexec made it. " MAKE_AGAIN, environment->name);
}

static int take_python(struct px_environment *environment, pyexec_error *error)
{
    const json_t *python = json_object_get(environment->document, "python");
    const json_t *path = json_object_get(python, "path"), *version = json_object_get(python, "version");
    if (!is_text(path) || json_string_value(path)[0] == '/' ||
        px_path_has_parent(json_string_value(path), json_string_length(path)))
        return damaged_member(environment, "path", "a path inside of the environment's folder", error);
    if (!is_text(version))
        return damaged_member(environment, "version", "the interpreter's version", error);
    struct px_buffer full = {0};
    px_buffer_printf(&full, "%s/%s", environment->folder, json_string_value(path));
    environment->python = px_buffer_take(&full);
    environment->python_version = strdup(json_string_value(version));
    return environment->python && environment->python_version ? 0 : px_error_oom(error);
}

static int check_hash(const struct px_environment *environment, pyexec_error *error)
{
    const json_t *hash = json_object_get(environment->document, "hash");
    if (!json_is_string(hash) || strcmp(json_string_value(hash), environment->hash) != 0)
        return damaged_member(environment, "hash", "the name of its folder", error);
    return 0;
}

static int take_document(struct px_environment *environment, const char *bytes, size_t length, pyexec_error *error)
{
    json_error_t problem;
    if (length > PX_ENVIRONMENT_JSON_MAX)
        return damaged(environment, "it is larger than 1 MiB", error);
    environment->document = px_json_read(bytes, length, JSON_REJECT_DUPLICATES, &problem);
    if (!environment->document && px_json_no_memory(&problem))
        return px_error_oom(error);
    return json_is_object(environment->document) ? 0 : damaged(environment, "it is not a JSON object", error);
}

static int fill(struct px_environment *environment, const char *bytes, size_t length, pyexec_error *error)
{
    if (take_document(environment, bytes, length, error) < 0 || check_format(environment, error) < 0 ||
        check_hash(environment, error) < 0 || take_python(environment, error) < 0 ||
        check_shown(environment, error) < 0 || take_limits(environment, error) < 0)
        return -1;
    if (take_modules(environment, "imports", false, &environment->imports, &environment->import_count, error) < 0)
        return -1;
    return take_modules(environment, "preload", true, &environment->preloads, &environment->preload_count, error);
}

int px_environment_parse(const char *bytes, size_t length, const char *name, const char *folder,
                         const struct px_environment **ret, pyexec_error *error)
{
    px_auto(drop) struct px_environment *environment = calloc(1, sizeof *environment);
    if (!environment)
        return px_error_oom(error);
    environment->references = 1;
    const char *slash = strrchr(folder, '/');
    strncat(environment->name, name, sizeof environment->name - 1);
    strncat(environment->hash, slash ? slash + 1 : folder, sizeof environment->hash - 1);
    if (!(environment->folder = strdup(folder)))
        return px_error_oom(error);
    if (fill(environment, bytes, length, error) < 0)
        return -1;
    *ret = TAKE_PTR(environment);
    return 0;
}
