/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/env_print.h"

#include <stdio.h>
#include <string.h>

#include "cli/print.h"

#define BYTES_OF_MIB (1024.0 * 1024.0)

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

void cli_env_add_json(struct px_buffer *out, const json_t *json)
{
    px_auto_free char *text = px_json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9));
    px_buffer_add_string(out, text);
    px_buffer_add_byte(out, '\n');
}

static void add_texts(struct px_buffer *out, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        px_buffer_printf(out, "%s%s", i ? ", " : "", json_string_value(json_array_get(list, i)));
}

/* ---- show ---- */

static void add_measured(struct px_buffer *out, const json_t *measured)
{
    if (!json_array_size(measured))
        return;
    px_buffer_add_string(out, "\n  import                     time   address space    memory   threads\n");
    for (size_t i = 0; i < json_array_size(measured); i++) {
        const json_t *row = json_array_get(measured, i), *error = json_object_get(row, "error");
        if (json_is_string(error)) {
            px_buffer_printf(out, "  %-22s fails: %s\n", text_of(row, "import"), json_string_value(error));
            continue;
        }
        px_buffer_printf(out, "  %-22s %5.0f ms   %9.0f MiB %5.0f MiB   %7.0f\n", text_of(row, "import"),
                         number_of(row, "ms"), number_of(row, "address_space_bytes") / BYTES_OF_MIB,
                         number_of(row, "memory_bytes") / BYTES_OF_MIB, number_of(row, "threads"));
        if (json_object_get(row, "needs_files"))
            px_buffer_add_string(out, "                         only with --files full\n");
    }
}

static void add_limits(struct px_buffer *out, const json_t *limits)
{
    const char *key;
    json_t *value;
    bool any = false;
    px_buffer_add_string(out, "  limits         ");
    json_object_foreach((json_t *)(uintptr_t)limits, key, value) {
        double number = json_number_value(value);
        px_buffer_add_string(out, any ? ", " : "");
        if (strcmp(key, "address_space_bytes") == 0)
            px_buffer_printf(out, "%s %.0f MiB", key, number / BYTES_OF_MIB);
        else if (strcmp(key, "timeout_ms") == 0)
            px_buffer_printf(out, "timeout %.0f s", number / 1000);
        else
            px_buffer_printf(out, "%s %.0f", key, number);
        any = true;
    }
    px_buffer_add_string(out, any ? " (the other defaults are enough)\n" : "the defaults are enough\n");
}

static void add_preload(struct px_buffer *out, const json_t *document)
{
    const json_t *preload = json_object_get(document, "preload"), *cost = json_object_get(document, "preload_cost");
    if (!json_array_size(preload))
        return;
    px_buffer_add_string(out, "  preload        ");
    add_texts(out, preload);
    if (cost)
        px_buffer_printf(out, ": %.0f MiB in each warm parent (zygotes in [host] says how many), loaded in %.0f ms",
                         number_of(cost, "memory_bytes") / BYTES_OF_MIB, number_of(cost, "ms"));
    px_buffer_add_byte(out, '\n');
}

void cli_env_add_document(struct px_buffer *out, const char *name, const json_t *document)
{
    const json_t *python = json_object_get(document, "python"), *packages = json_object_get(document, "packages");
    const json_t *limits = json_object_get(document, "limits");
    px_buffer_printf(out, "%s\n  hash           %s\n  created        %s with %s\n", name, text_of(document, "hash"),
                     text_of(document, "created"), text_of(document, "tool"));
    px_buffer_printf(out, "  python         %s (%s)\n  requirements   ", text_of(python, "version"),
                     text_of(python, "base"));
    add_texts(out, json_object_get(document, "requirements"));
    px_buffer_add_string(out, "\n  packages       ");
    for (size_t i = 0; i < json_array_size(packages); i++) {
        const json_t *package = json_array_get(packages, i);
        px_buffer_printf(out, "%s%s %s", i ? ", " : "", text_of(package, "name"), text_of(package, "version"));
    }
    px_buffer_add_string(out, "\n  imports        ");
    add_texts(out, json_object_get(document, "imports"));
    px_buffer_add_byte(out, '\n');
    if (json_is_true(json_object_get(document, "built_from_source")))
        px_buffer_add_string(out,
                             "  source         packages without a wheel may have been built, outside of any sandbox\n");
    if (json_object_get(document, "not_measured"))
        px_buffer_add_string(out, "  limits         not measured, because no script could run: those of the policy\n");
    else
        add_limits(out, limits);
    add_preload(out, document);
    add_measured(out, json_object_get(document, "measured"));
}

void cli_env_add_freeze(struct px_buffer *out, const json_t *document)
{
    const json_t *packages = json_object_get(document, "packages");
    for (size_t i = 0; i < json_array_size(packages); i++) {
        const json_t *package = json_array_get(packages, i);
        px_buffer_printf(out, "%s==%s\n", text_of(package, "name"), text_of(package, "version"));
    }
}

/* ---- list ---- */

json_t *cli_env_entry(const char *name, const json_t *document)
{
    static const char *const keys[] = {"hash",     "created", "python", "requirements",
                                       "packages", "imports", "limits", "preload"};
    json_t *entry = json_pack("{s:s}", "name", name);
    for (size_t i = 0; i < PX_COUNT(keys); i++) {
        json_t *value = json_object_get(document, keys[i]);
        if (value)
            px_json_set(entry, keys[i], json_incref(value));
    }
    return entry;
}

void cli_env_add_list(struct px_buffer *out, const json_t *entries, size_t cached, const char *root)
{
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *entry = json_array_get(entries, i);
        px_buffer_printf(out, "%-20s Python %-8s %3zu packages  %s  ", text_of(entry, "name"),
                         text_of(json_object_get(entry, "python"), "version"),
                         json_array_size(json_object_get(entry, "packages")), text_of(entry, "created"));
        add_texts(out, json_object_get(entry, "requirements"));
        px_buffer_add_byte(out, '\n');
    }
    if (!json_array_size(entries))
        px_buffer_printf(out, "no environments in %s; `pyexec env create data pandas` makes one\n", root);
    if (cached)
        px_buffer_printf(out, "and %zu cached for `pyexec run --with` and for scripts with requirements\n", cached);
}

/* ---- Warnings ---- */

void cli_env_warn(const json_t *document)
{
    const json_t *measured = json_object_get(document, "measured"), *none = json_object_get(document, "not_measured");
    px_auto_buffer struct px_buffer line = {0};
    if (none) {
        px_buffer_printf(&line, "the imports were not measured, because no script can run here: %s",
                         text_of(none, "message"));
        cli_say(px_buffer_shown(&line), text_of(none, "hint"));
    }
    for (size_t i = 0; i < json_array_size(measured); i++) {
        const json_t *row = json_array_get(measured, i), *error = json_object_get(row, "error");
        const char *files = json_string_value(json_object_get(row, "needs_files"));
        if (!json_is_string(error) && !files)
            continue;
        px_auto_buffer struct px_buffer text = {0};
        if (files)
            px_buffer_printf(&text, "`import %s` needs file access (--files full); without it: %s",
                             text_of(row, "import"), files);
        else
            px_buffer_printf(&text, "`import %s` fails in a sandbox: %s", text_of(row, "import"),
                             json_string_value(error));
        cli_say(px_buffer_shown(&text), NULL);
    }
}
