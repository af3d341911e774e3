/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of making an environment. All of it happens in a folder of build/, which nobody sees. */
#include "env_build/env_build.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/sha256.h"
#include "env_build/env_document.h"
#include "env_build/env_install.h"
#include "env_build/env_measure.h"
#include "env_build/env_packages.h"
#include "env_build/env_startup.h"
#include "env_build/env_tree.h"
#include "environments/environment.h"

static void say(const struct env_options *options, const char *line)
{
    if (options->say)
        options->say(options->closure, line);
}

/* What is to be made. */
struct order {
    const struct env_options *options;
    const char *name;
    const char *python; /* as it was asked for, or NULL */
    bool build;
    bool cached; /* for a script or a request */
    struct env_requirements requirements;
    struct env_python found;
    json_t *preload; /* array */
};

static void order_done(struct order *order)
{
    env_requirements_done(&order->requirements);
    env_python_done(&order->found);
    json_decref(order->preload);
}

static int take_preload(struct order *order, const char *text, pyexec_error *error)
{
    px_auto_free char *copy = strdup(text);
    for (char *rest = copy, *name; rest && (name = strsep(&rest, ","));) {
        name += strspn(name, " ");
        for (char *end = name + strlen(name); end > name && end[-1] == ' ';)
            *--end = '\0';
        if (!*name)
            continue;
        for (const char *c = name; *c; c++)
            if (!((unsigned char)*c >= 0x80 || *c == '_' || *c == '.' || (*c >= 'a' && *c <= 'z') ||
                  (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9'))) {
                px_error_set(error, PYEXEC_INVALID_REQUEST, "--preload: '%.100s' is not the name of a module", name);
                return px_error_hint(error, "Write module names with commas between them: --preload pandas,numpy.");
            }
        px_json_append(order->preload, json_string(name));
    }
    return copy && json_is_array(order->preload) ? 0 : px_error_oom(error);
}

static int order_init(struct order *order, const struct env_options *options, const char *name, pyexec_error *error)
{
    *order = (struct order){.options = options, .name = name, .python = options->python, .build = options->build};
    env_requirements_init(&order->requirements, options->build);
    order->preload = json_array();
    return order->preload && order->requirements.shown ? 0 : px_error_oom(error);
}

static int take_requirements(struct order *order, pyexec_error *error)
{
    const struct env_options *options = order->options;
    for (size_t i = 0; i < options->file_count; i++)
        if (env_requirements_add_file(&order->requirements, options->files[i], error) < 0)
            return -1;
    for (size_t i = 0; i < options->package_count; i++)
        if (env_requirements_add(&order->requirements, options->packages[i], error) < 0)
            return -1;
    for (size_t i = 0; i < options->name_count; i++)
        if (env_requirements_add_name(&order->requirements, options->names[i], error) < 0)
            return -1;
    return json_is_array(order->requirements.shown) ? 0 : px_error_oom(error);
}

static int find_python(struct order *order, pyexec_error *error)
{
    const struct env_python_wish wish = {order->python, order->options->requires, order->options->default_python};
    return env_python_find(&wish, &order->found, error);
}

/* ---- The document ---- */

/* Two environments share their files only if they are the same in everything that a later update would use. */
static void hash_order(const struct order *order, struct px_sha256 *hash)
{
    px_sha256_add_string(hash, px_buffer_shown(&order->requirements.text));
    px_sha256_add_string(hash, px_buffer_shown(&order->requirements.constraints));
    px_sha256_add_string(hash, order->python ? order->python : "");
    px_sha256_add_string(hash, order->build ? "build" : "");
    px_sha256_add_string(hash, order->cached ? "cached" : "");
    for (size_t i = 0; i < json_array_size(order->preload); i++)
        px_sha256_add_string(hash, json_string_value(json_array_get(order->preload, i)));
}

static json_t *now_text(void)
{
    char text[32];
    struct tm parts;
    time_t now = time(NULL);
    if (!gmtime_r(&now, &parts) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts))
        return NULL;
    return json_string(text);
}

static json_t *make_document(const struct order *order, const char *hash, const char *tool,
                             const struct env_packages *packages)
{
    json_t *document = json_object();
    px_json_set(document, "format", json_integer(PX_ENVIRONMENT_FORMAT));
    px_json_set(document, "name", json_string(order->name));
    px_json_set(document, "hash", json_string(hash));
    px_json_set(document, "created", now_text());
    px_json_set(document, "tool", json_string(tool));
    px_json_set(document, "built_from_source", json_boolean(order->build));
    px_json_set(document, "requirements", json_incref(order->requirements.shown));
    px_json_set(document, "python",
                json_pack("{s:s, s:s, s:s, s:s?}", "path", "venv/bin/python", "version", order->found.version, "base",
                          order->found.path, "asked", order->python));
    px_json_set(document, "packages", json_incref(packages->packages));
    px_json_set(document, "imports", json_incref(packages->imports));
    px_json_set(document, "preload", json_incref(order->preload));
    return document;
}

/* An environment can be made where no script can run, as in the build of a container: then it has no figures. */
static int add_figures(const struct order *order, const struct env_folder *folder, json_t *document,
                       pyexec_error *error)
{
    px_auto_buffer struct px_buffer python = {0}, line = {0};
    json_t *measured = NULL, *limits = NULL;
    px_buffer_printf(&python, "%s/env/venv/bin/python", folder->path);
    const struct env_measure measure = {px_buffer_string(&python), json_object_get(document, "imports"),
                                        order->options->host, order->options->say, order->options->closure};
    if (!measure.python)
        return px_error_oom(error);
    size_t count = json_array_size(measure.imports);
    px_buffer_printf(&line, "measuring %zu import%s in sandboxes", count, count == 1 ? "" : "s");
    if (count)
        say(order->options, px_buffer_shown(&line));
    if (!count && !json_array_size(order->preload)) {
        measured = json_array();
        limits = json_object();
    } else if (env_measure_imports(&measure, &measured, &limits, error) < 0) {
        px_json_set(document, "not_measured", json_pack("{s:s, s:s}", "message", error->message, "hint", error->hint));
        measured = json_array();
        limits = json_object();
    } else if (json_array_size(order->preload)) {
        struct env_preload_cost cost;
        if (env_measure_preload(&measure, order->preload, &cost, error) < 0) {
            json_decref(measured);
            json_decref(limits);
            return px_error_wrap(error, "--preload");
        }
        px_json_set(document, "preload_cost",
                    json_pack("{s:I, s:f}", "memory_bytes", (json_int_t)cost.memory_bytes, "ms", cost.ms));
    }
    px_json_set(document, "measured", measured);
    px_json_set(document, "limits", limits);
    return json_is_object(document) ? 0 : px_error_oom(error);
}

/* ---- Making ---- */

static int read_packages(const struct order *order, const struct env_folder *folder, struct env_packages *ret,
                         char hex[PX_SHA256_HEX + 1], pyexec_error *error)
{
    px_auto_buffer struct px_buffer path = {0};
    px_auto(px_texts_done) struct px_texts standard = {0};
    struct px_sha256 hash;
    const char *minor_end = strrchr(order->found.version, '.');
    px_buffer_printf(&path, "%s/env/venv/lib/python%.*s/site-packages", folder->path,
                     (int)(minor_end - order->found.version), order->found.version);
    if (!px_buffer_ok(&path))
        return px_error_oom(error);
    if (env_python_modules(&order->found, &standard, error) < 0)
        return -1;
    px_sha256_init(&hash);
    px_sha256_add_string(&hash, "pyexec environment 1");
    px_sha256_add_string(&hash, order->found.version);
    px_sha256_add_string(&hash, order->found.path);
    if (env_packages_read(path.data, &standard, ret, &hash, error) < 0)
        return -1;
    hash_order(order, &hash);
    px_sha256_end(&hash, hex);
    hex[PX_ENVIRONMENT_HASH_LENGTH] = '\0';
    return 0;
}

static bool is_stored(const struct env_store *store, const char *hash)
{
    px_auto_buffer struct px_buffer text = {0};
    return env_document_file(store, hash, "environment.json", &text) == 0;
}

/* Installs, measures and finishes, all in the folder. */
static int fill(const struct order *order, struct env_folder *folder, char hash[PX_SHA256_HEX + 1], pyexec_error *error)
{
    char tool[ENV_TOOL_MAX] = "";
    px_auto(env_packages_done) struct env_packages packages = {0};
    const struct env_install install = {.folder = folder->path,
                                        .lock = folder->lock,
                                        .uv = order->options->config->uv,
                                        .python = &order->found,
                                        .requirements = &order->requirements,
                                        .show = order->options->show,
                                        .say = order->options->say,
                                        .closure = order->options->closure};
    if (env_install(&install, tool, error) < 0)
        return -1;
    env_tree_remove(folder->fd, "tmp");
    if (order->cached && env_startup_drop(folder->path, error) < 0)
        return -1;
    if (read_packages(order, folder, &packages, hash, error) < 0)
        return -1;
    if (is_stored(folder->store, hash))
        return 0;
    px_auto_json json_t *document = make_document(order, hash, tool, &packages);
    if (!json_is_object(document))
        return px_error_oom(error);
    if (add_figures(order, folder, document, error) < 0)
        return -1;
    return env_document_finish(folder, hash, document, error);
}

static int make(const struct order *order, const struct env_store *store, bool replace, char hash[PX_SHA256_HEX + 1],
                pyexec_error *error)
{
    px_auto(env_folder_done) struct env_folder folder = {.fd = -1, .lock = -1};
    if (env_folder_begin(store, &folder, error) < 0 || fill(order, &folder, hash, error) < 0)
        return -1;
    return env_store_publish(&folder, order->name, hash, replace, error);
}

int env_create(const struct env_options *options, const char *name, json_t **ret, pyexec_error *error)
{
    char hash[PX_SHA256_HEX + 1], old[PX_ENVIRONMENT_HASH_LENGTH + 1];
    px_auto(env_store_done) struct env_store store = {.fd = -1};
    px_auto(order_done) struct order order = {0};
    if (env_name_check(name, error) < 0 || order_init(&order, options, name, error) < 0 ||
        take_requirements(&order, error) < 0 ||
        take_preload(&order, options->preload ? options->preload : "", error) < 0 || find_python(&order, error) < 0 ||
        env_store_open(&store, options->config, true, error) < 0)
        return -1;
    if (px_environment_name_read(store.root, name, old) == 0) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "there is an environment '%s' already", name);
        return px_error_hint(error, "Choose another name, or: `pyexec env update %s`, `pyexec env remove %s`.", name,
                             name);
    }
    if (make(&order, &store, false, hash, error) < 0)
        return -1;
    return env_document_read(&store, name, ret, error);
}

/* ---- Updates ---- */

/* The lines of the environment as it is. */
static int take_old_requirements(struct order *order, const struct env_store *store, const char *hash,
                                 pyexec_error *error)
{
    px_auto_buffer struct px_buffer text = {0}, constraints = {0};
    if (env_document_file(store, hash, "requirements.txt", &text) < 0 ||
        env_document_file(store, hash, "constraints.txt", &constraints) < 0) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "the requirements of the environment '%s' can't be read",
                       order->name);
        return px_error_hint(
            error,
            "Run it as the user who made the environment, or name the packages again: `pyexec env update %s PACKAGE…`.",
            order->name);
    }
    if (env_requirements_add_lines(&order->requirements, px_buffer_string(&text), text.length, false, error) < 0)
        return -1;
    return env_requirements_add_lines(&order->requirements, px_buffer_string(&constraints), constraints.length, true,
                                      error);
}

static int take_old_order(struct order *order, const struct env_store *store, const char *hash, const json_t *document,
                          pyexec_error *error)
{
    const struct env_options *options = order->options;
    const json_t *preload = json_object_get(document, "preload");
    order->build |= json_is_true(json_object_get(document, "built_from_source"));
    order->requirements.build = order->build;
    if (!options->python)
        order->python = json_string_value(json_object_get(json_object_get(document, "python"), "asked"));
    if (!options->preload)
        for (size_t i = 0; i < json_array_size(preload); i++)
            px_json_append(order->preload, json_incref(json_array_get(preload, i)));
    else if (take_preload(order, options->preload, error) < 0)
        return -1;
    if (options->package_count || options->file_count)
        return take_requirements(order, error);
    return take_old_requirements(order, store, hash, error);
}

int env_update(const struct env_options *options, const char *name, json_t **ret, bool *ret_changed,
               pyexec_error *error)
{
    char hash[PX_SHA256_HEX + 1], old[PX_ENVIRONMENT_HASH_LENGTH + 1];
    unsigned removed;
    px_auto(env_store_done) struct env_store store = {.fd = -1};
    px_auto(order_done) struct order order = {0};
    px_auto_json json_t *document = NULL;
    if (env_name_check(name, error) < 0 || env_store_open(&store, options->config, false, error) < 0 ||
        px_environment_name_follow(store.root, name, old, error) < 0 ||
        env_document_read(&store, name, &document, error) < 0)
        return -1;
    if (order_init(&order, options, name, error) < 0 || take_old_order(&order, &store, old, document, error) < 0 ||
        find_python(&order, error) < 0 || make(&order, &store, true, hash, error) < 0)
        return -1;
    *ret_changed = strcmp(hash, old) != 0;
    if (*ret_changed && env_store_clean(&store, -1, &removed, error) < 0)
        return -1;
    return env_document_read(&store, name, ret, error);
}

/* ---- Environments for requirements ---- */

/* True if it is there, and its interpreter too. */
static bool is_usable(const struct env_store *store, const char *name)
{
    char hash[PX_ENVIRONMENT_HASH_LENGTH + 1], path[80];
    if (px_environment_name_read(store->root, name, hash) < 0)
        return false;
    snprintf(path, sizeof path, "store/%s/venv/bin/python", hash);
    if (faccessat(store->fd, path, X_OK, 0) < 0)
        return false;
    env_store_touch(store, hash);
    return true;
}

int env_cached(const struct env_options *options, char ret[PX_ENVIRONMENT_NAME_MAX + 1], pyexec_error *error)
{
    char hash[PX_SHA256_HEX + 1];
    px_auto(env_store_done) struct env_store store = {.fd = -1};
    px_auto(order_done) struct order order = {0};
    if (order_init(&order, options, ret, error) < 0 || take_requirements(&order, error) < 0)
        return -1;
    const struct px_environment_wish wish = {px_buffer_shown(&order.requirements.text), options->python,
                                             options->requires, options->default_python, options->build};
    if (px_environment_cached_name(&wish, ret, error) < 0)
        return -1;
    order.cached = true;
    if (env_store_open(&store, options->config, false, error) < 0)
        return -1;
    if (is_usable(&store, ret))
        return 0;
    env_store_done(&store);
    if (env_store_open(&store, options->config, true, error) < 0 || find_python(&order, error) < 0)
        return -1;
    return make(&order, &store, true, hash, error);
}
