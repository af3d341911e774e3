/* SPDX-License-Identifier: Apache-2.0 */
/* What `pyexec env` prints, from the content of environment.json. */
#ifndef PX_CLI_ENV_PRINT_H
#define PX_CLI_ENV_PRINT_H

#include "base/json.h"

/* As one line of JSON. */
void cli_env_add_json(struct px_buffer *out, const json_t *json);

void cli_env_add_document(struct px_buffer *out, const char *name, const json_t *document);
/* name==version, a line for each package. */
void cli_env_add_freeze(struct px_buffer *out, const json_t *document);

/* What `list` shows of an environment; NULL when there is no memory. */
json_t *cli_env_entry(const char *name, const json_t *document);
void cli_env_add_list(struct px_buffer *out, const json_t *entries, size_t cached, const char *root);

/* Says on standard error which packages can't be imported, and if nothing could be measured. */
void cli_env_warn(const json_t *document);

#endif
