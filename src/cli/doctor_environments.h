/* SPDX-License-Identifier: Apache-2.0 */
/* What `pyexec doctor` says about environments: the store, those that can't be used, and the memory of their preloads. */
#ifndef PX_CLI_DOCTOR_ENVIRONMENTS_H
#define PX_CLI_DOCTOR_ENVIRONMENTS_H

#include "base/buffer.h"
#include "base/json.h"
#include "cli/settings.h"

/* `doctor`: the findings of the library. Returns those about environments: root, count, cached, broken (name, error, hint), preload_bytes and
 * zygote_memory_bytes; error and hint if the store can't be used; installer_error and installer_hint if requests may ask for packages and nothing can install them; warning and warning_hint if the preloads need more memory than they may take. */
json_t *cli_doctor_environments(const struct cli_settings *settings, const json_t *doctor);

/* Appends them as a part of the page. */
void cli_doctor_add_environments(struct px_buffer *out, const json_t *found);

#endif
