/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of a tool call for the script: checks the JSON that the host's callback gave, and writes errors and refusals. */
#ifndef PX_RUNNER_TOOL_ANSWER_H
#define PX_RUNNER_TOOL_ANSWER_H

#include <stddef.h>

#include "pyexec.h"

/* Checks that the JSON can be passed to the script unchanged. Returns 0, or -1 with `error`. */
int px_tool_answer_check(const char *json, size_t length, pyexec_error *error);

/* The text of an error, and of a refusal. `data_json` is checked JSON or NULL. The caller frees it. NULL when there is no
 * memory. */
char *px_tool_answer_error(const char *message, const char *data_json);
char *px_tool_answer_denial(const char *reason, const char *hint);

#endif
