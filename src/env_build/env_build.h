/* SPDX-License-Identifier: Apache-2.0 */
/* Makes environments: `pyexec env create` and `update`, and those that scripts ask for.
 *
 *     struct env_options options = {.config = &settings.env, .packages = names, .package_count = 1};
 *     json_t *document;
 *     if (env_create(&options, "data", &document, error) < 0)
 *         return -1; */
#ifndef PX_ENV_BUILD_ENV_BUILD_H
#define PX_ENV_BUILD_ENV_BUILD_H

#include <stdbool.h>

#include "base/json.h"
#include "env_build/env_store.h"

struct env_options {
    const struct px_env_config *config;
    const json_t *host;         /* settings of the executor that measures, or NULL */
    const char *default_python; /* the policy's python_bin */
    const char *python;         /* --python, or NULL */
    const char *requires;       /* requires-python, or NULL */
    const char *const *packages;
    size_t package_count;
    const char *const *names; /* further packages, from somebody who is not trusted: only names and versions */
    size_t name_count;
    const char *const *files; /* requirements files */
    size_t file_count;
    const char *preload; /* modules, separated by commas; NULL: none, or for an update as before */
    bool build;          /* packages may be built from source, which runs their code outside of any sandbox */
    bool show;           /* the installer's output goes to standard error */
    void (*say)(void *closure, const char *line); /* progress; or NULL */
    void *closure;
};

/* `ret` gets the content of environment.json. */
int env_create(const struct env_options *options, const char *name, json_t **ret, pyexec_error *error);

/* Resolves the requirements again, or those of the options if there are any, and makes the name lead to the result.
 * *ret_changed: false if the same files came out. */
int env_update(const struct env_options *options, const char *name, json_t **ret, bool *ret_changed,
               pyexec_error *error);

/* Finds the environment for these packages, and makes it if it is not there. `ret` gets its name. */
int env_cached(const struct env_options *options, char ret[PX_ENVIRONMENT_NAME_MAX + 1], pyexec_error *error);

/* The content of environment.json. invalid_request if there is no such name. */
int env_document_read(const struct env_store *store, const char *name, json_t **ret, pyexec_error *error);

#endif
