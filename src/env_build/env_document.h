/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a finished environment: environment.json, the lock, the paths in its programs. */
#ifndef PX_ENV_BUILD_ENV_DOCUMENT_H
#define PX_ENV_BUILD_ENV_DOCUMENT_H

#include "base/json.h"
#include "env_build/env_store.h"

/* Reads a file of store/HASH. */
int env_document_file(const struct env_store *store, const char *hash, const char *file, struct px_buffer *ret);

/* Writes env/environment.json and env/lock, replaces the path of the folder by the later one in the programs of the virtual
 * environment, and makes all read-only. */
int env_document_finish(const struct env_folder *folder, const char *hash, const json_t *document, pyexec_error *error);

#endif
