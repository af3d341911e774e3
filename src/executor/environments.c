/* SPDX-License-Identifier: Apache-2.0 */
/* What callers learn about environments: the list of those that they may choose, and which have a module that a script
 * missed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "executor/runtime.h"
#include "result/result.h"

#define MISSED_NAME_MAX 100u
#define HOLDERS_MAX 5u

/* The environment and allowed_environments of a ceiling: its own members, or else those of the executor. */
struct choice {
    const pyexec_executor *executor;
    const json_t *ceiling; /* NULL: the caller may choose any */
};

static bool may_choose(const struct choice *choice, const char *name)
{
    const struct px_policy *own = &choice->executor->policy;
    const json_t *list = json_object_get(choice->ceiling, "allowed_environments"), *item;
    const char *ceilings = json_string_value(json_object_get(choice->ceiling, "environment"));
    size_t i;
    if (!choice->ceiling || strcmp(ceilings ? ceilings : own->environment, name) == 0)
        return true;
    if (!list)
        return px_strings_has(&own->allowed_environments, name) ||
               px_strings_has(&own->allowed_environments, PX_ANY_ENVIRONMENT);
    json_array_foreach(list, i, item)
        if (strcmp(json_string_value(item), name) == 0 || strcmp(json_string_value(item), PX_ANY_ENVIRONMENT) == 0)
            return true;
    return false;
}

/* A caller with a ceiling learns nothing of the host's folders: the text of a problem may name them. */
static json_t *list_chosen(const struct choice *choice, pyexec_error *error)
{
    px_auto_json json_t *all = NULL;
    json_t *item, *list = json_array();
    size_t i;
    if (px_environments_list(choice->executor->environments, &all, error) < 0) {
        json_decref(list);
        return NULL;
    }
    json_array_foreach(all, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (!name || !may_choose(choice, name))
            continue;
        if (choice->ceiling && json_object_get(item, "error")) {
            px_json_set(item, "error", json_string("the environment can't be used"));
            px_json_set(item, "hint",
                        json_string("The server's operator sees the reason with `pyexec policy --environment NAME`."));
        }
        px_json_append(list, json_incref(item));
    }
    if (!list)
        px_error_oom(error);
    return list;
}

int pyexec_environments_object(pyexec_executor *executor, json_t *ceiling, json_t **ret, pyexec_error *error)
{
    const struct choice choice = {executor, ceiling};
    *ret = executor->environments ? list_chosen(&choice, error) : json_array();
    return *ret ? 0 : -1;
}

int pyexec_environments_json(pyexec_executor *executor, const char *ceiling_json, char **ret, pyexec_error *error)
{
    px_auto_json json_t *ceiling = NULL;
    json_t *list;
    if (px_runtime_load_json(ceiling_json, "ceiling", &ceiling, error) < 0 ||
        pyexec_environments_object(executor, ceiling, &list, error) < 0)
        return -1;
    *ret = px_json_take_text(list);
    return *ret ? 0 : px_error_oom(error);
}

/* ---- Modules that are missing ---- */

/* Reads the module's first name after `before`. The text is a claim of the script, so only a plain name is taken. */
static bool module_after(const char *message, const char *before, char ret[MISSED_NAME_MAX + 1])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    const char *at = message ? strstr(message, before) : NULL;
    size_t length = at ? strspn(at + strlen(before), letters) : 0;
    if (!length || length > MISSED_NAME_MAX)
        return false;
    snprintf(ret, MISSED_NAME_MAX + 1, "%.*s", (int)length, at + strlen(before));
    return true;
}

/* Packages whose name differs from that of their module. */
static const char *package_of(const char *module)
{
    static const char *const names[][2] = {
        {"PIL", "pillow"},
        {"bs4", "beautifulsoup4"},
        {"cv2", "opencv-python-headless"},
        {"dateutil", "python-dateutil"},
        {"docx", "python-docx"},
        {"dotenv", "python-dotenv"},
        {"fitz", "pymupdf"},
        {"pptx", "python-pptx"},
        {"skimage", "scikit-image"},
        {"sklearn", "scikit-learn"},
        {"yaml", "pyyaml"},
    };
    for (size_t i = 0; i < PX_COUNT(names); i++)
        if (strcmp(names[i][0], module) == 0)
            return names[i][1];
    return module;
}

static bool has_module(const json_t *environment, const char *module)
{
    const json_t *item;
    size_t i;
    json_array_foreach(json_object_get(environment, "imports"), i, item)
        if (strcmp(json_string_value(item), module) == 0)
            return true;
    return false;
}

/* Appends the names of the environments that have the module: "'data', 'ml'". Returns their number. */
static size_t add_holders(struct px_buffer *out, const json_t *list, const char *module)
{
    const json_t *item;
    size_t i, count = 0;
    json_array_foreach(list, i, item)
        if (has_module(item, module) && ++count <= HOLDERS_MAX)
            px_buffer_printf(out, "%s'%s'", count > 1 ? ", " : "", json_string_value(json_object_get(item, "name")));
    return count;
}

static void write_hint(struct px_buffer *out, const json_t *list, const struct px_policy *policy, const char *module,
                       bool missing)
{
    px_auto_buffer struct px_buffer names = {0};
    size_t count = add_holders(&names, list, module);
    if (count)
        px_buffer_printf(
            out,
            "%s is in the environment%s %s: set the policy's environment%s. A session keeps the one that it began with.",
            module, count > 1 ? "s" : "", px_buffer_shown(&names), count > 1 ? " to one of them" : "");
    else if (missing && px_environment_name_is_cached(policy->environment))
        px_buffer_printf(
            out,
            "%s is not among the packages that were asked for, and nothing can be installed from a script: ask "
            "for %s too (packages of the request, --with), or use another module.",
            module, package_of(module));
    else if (missing && policy->env)
        px_buffer_printf(
            out,
            "%s is not in the environment '%s', and nothing can be installed from a script: use another module. "
            "The operator can add it: `pyexec env update %s %s`.",
            module, policy->environment, policy->environment, package_of(module));
}

void px_environments_explain(pyexec_executor *executor, const pyexec_request *request, const struct px_policy *policy,
                             pyexec_result *result)
{
    char module[MISSED_NAME_MAX + 1];
    pyexec_error ignored;
    px_auto_json json_t *list = NULL;
    px_auto_buffer struct px_buffer hint = {0};
    if (result->status != PYEXEC_STATUS_ERROR || !result->error_message || !executor->environments)
        return;
    bool missing = module_after(result->error_message, "No module named '", module);
    if (!missing && !module_after(result->error_message, "import '", module))
        return;
    if (pyexec_environments_object(executor, request->ceiling, &list, &ignored) < 0)
        return;
    write_hint(&hint, list, policy, module, missing);
    char *text = hint.length ? px_buffer_take(&hint) : NULL;
    if (!text)
        return;
    free(result->error_hint);
    result->error_hint = text;
}
