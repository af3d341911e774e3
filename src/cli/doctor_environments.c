/* SPDX-License-Identifier: Apache-2.0 */
/* The store is read as a server reads it, so what is found here is what a run would meet. */
#include "cli/doctor_environments.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/help.h"
#include "env_build/env_install.h"
#include "env_build/env_store.h"

#define DOCTOR_MIB ((uint64_t)1 << 20)

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void environments_problem(json_t *found, const pyexec_error *error)
{
    px_json_set(found, "error", json_string(error->message));
    px_json_set(found, "hint", json_string(error->hint));
}

/* What its preloads take in all of its warm parents, as `pyexec env create` has measured them. */
static uint64_t preload_bytes(const struct px_environment *environment, const struct px_host *host)
{
    json_int_t each =
        json_integer_value(json_object_get(json_object_get(environment->document, "preload_cost"), "memory_bytes"));
    return each > 0 ? (uint64_t)each * (uint64_t)host->zygotes : 0;
}

static void compare_memory(json_t *found, uint64_t needed, uint64_t largest, uint64_t most)
{
    px_auto_buffer struct px_buffer warning = {0}, hint = {0};
    if (needed <= most)
        return;
    if (largest > most)
        px_buffer_printf(&warning,
                         "the preloads of one environment alone take %" PRIu64 " MiB, and zygote_memory is %" PRIu64
                         " MiB",
                         largest / DOCTOR_MIB, most / DOCTOR_MIB);
    else
        px_buffer_printf(&warning,
                         "the preloads of all environments take %" PRIu64 " MiB, and zygote_memory is %" PRIu64
                         " MiB: so warm parents of an unused environment end when another one is used",
                         needed / DOCTOR_MIB, most / DOCTOR_MIB);
    px_buffer_printf(
        &hint, "Set zygote_memory in the section [host] to %" PRIu64 "M or more, preload less, or set zygotes lower.",
        needed / DOCTOR_MIB + 1);
    px_json_set(found, "warning", json_string(px_buffer_shown(&warning)));
    px_json_set(found, "warning_hint", json_string(px_buffer_shown(&hint)));
}

/* Looks at each environment that has a name of its own. */
static void look_at_all(json_t *found, struct px_environments *store, const struct px_host *host, uint64_t most,
                        const struct px_texts *names)
{
    json_t *broken = json_array();
    uint64_t needed = 0, largest = 0;
    for (size_t i = 0; i < names->count; i++) {
        pyexec_error error;
        const struct px_environment *environment;
        if (px_environments_get(store, names->items[i], &environment, &error) < 0) {
            px_json_append(broken, json_pack("{s:s, s:s, s:s}", "name", names->items[i], "error", error.message, "hint",
                                             error.hint));
            continue;
        }
        uint64_t bytes = preload_bytes(environment, host);
        needed += bytes;
        largest = bytes > largest ? bytes : largest;
        px_environment_unref(environment);
    }
    px_json_merge(found, json_pack("{s:I, s:o, s:I, s:I}", "count", (json_int_t)names->count, "broken", broken,
                                   "preload_bytes", (json_int_t)needed, "zygote_memory_bytes", (json_int_t)most));
    compare_memory(found, needed, largest, most);
}

/* Requests may ask for packages, which are then installed. Whether the package index can be reached is not tried: doctor uses no network. */
static void look_for_installer(json_t *found, const struct cli_settings *settings, const json_t *doctor)
{
    pyexec_error error;
    const char *python = text_of(json_object_get(doctor, "python"), "path");
    if (!settings->env.allow_requests.count || env_install_check(settings->env.uv, python, &error) == 0)
        return;
    px_json_set(found, "installer_error", json_string(error.message));
    px_json_set(found, "installer_hint", json_string(error.hint));
}

json_t *cli_doctor_environments(const struct cli_settings *settings, const json_t *doctor)
{
    const json_t *details = json_object_get(doctor, "details");
    uint64_t most = (uint64_t)json_integer_value(json_object_get(details, "zygote_memory_bytes"));
    pyexec_error error;
    size_t cached = 0;
    json_t *found = json_object();
    struct px_environments *store = NULL;
    px_auto(px_texts_done) struct px_texts names = {0};
    px_auto(env_store_done) struct env_store written = {.fd = -1};
    if (env_store_open(&written, &settings->env, false, &error) < 0 ||
        px_environment_names_given(written.root, &names, &cached, &error) < 0 ||
        px_environments_new(settings->env.root, &store, &error) < 0)
        environments_problem(found, &error);
    else
        look_at_all(found, store, &settings->host, most, &names);
    px_json_set(found, "cached", json_integer((json_int_t)cached));
    look_for_installer(found, settings, doctor);
    if (written.root)
        px_json_set(found, "root", json_string(written.root));
    px_environments_free(store);
    return found;
}

/* ---- The page ---- */

static void add_pair(struct px_buffer *out, const char *name, const char *text)
{
    if (!*text)
        return;
    px_buffer_printf(out, "  %-24s", name);
    cli_help_wrap(out, 26, text);
}

void cli_doctor_add_environments(struct px_buffer *out, const json_t *found)
{
    px_auto_buffer struct px_buffer counts = {0}, memory = {0};
    const json_t *broken, *list = json_object_get(found, "broken");
    size_t i;
    px_buffer_add_string(out, "\nenvironments\n");
    add_pair(out, "folder", text_of(found, "root"));
    add_pair(out, "why", text_of(found, "error"));
    add_pair(out, "remedy", text_of(found, "hint"));
    if (*text_of(found, "installer_error"))
        add_pair(out, "packages of requests", "can't be installed");
    add_pair(out, "  why", text_of(found, "installer_error"));
    add_pair(out, "  remedy", text_of(found, "installer_hint"));
    if (!list)
        return;
    px_buffer_printf(&counts, "%lld, and %lld cached", (long long)json_integer_value(json_object_get(found, "count")),
                     (long long)json_integer_value(json_object_get(found, "cached")));
    add_pair(out, "environments", px_buffer_shown(&counts));
    json_array_foreach((json_t *)(uintptr_t)list, i, broken) {
        add_pair(out, "can't be used", text_of(broken, "name"));
        add_pair(out, "  why", text_of(broken, "error"));
        add_pair(out, "  remedy", text_of(broken, "hint"));
    }
    px_buffer_printf(&memory, "%lld MiB of %lld MiB (zygote_memory)",
                     (long long)json_integer_value(json_object_get(found, "preload_bytes")) / (long long)DOCTOR_MIB,
                     (long long)json_integer_value(json_object_get(found, "zygote_memory_bytes")) /
                         (long long)DOCTOR_MIB);
    add_pair(out, "preloads", px_buffer_shown(&memory));
    add_pair(out, "  why", text_of(found, "warning"));
    add_pair(out, "  remedy", text_of(found, "warning_hint"));
}
