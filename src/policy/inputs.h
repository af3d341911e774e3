/* SPDX-License-Identifier: Apache-2.0 */
/* The request's `inputs`, which become variables of the script, and its `value_json`. */
#ifndef PX_POLICY_INPUTS_H
#define PX_POLICY_INPUTS_H

#include "policy/request.h"

#define PX_INPUTS_MAX (10u << 20) /* length of their JSON text; the same limit as for the code */

/* Read these members of a request object (policy/request.c). Return 0, or -1 with invalid_request. */
int px_inputs_take(pyexec_request *request, const char *key, json_t *value, pyexec_error *error);
int px_inputs_take_value_json(pyexec_request *request, const char *key, json_t *value, pyexec_error *error);

/* True for a name of a variable: ASCII letters, digits and underscores, and no digit first. */
bool px_inputs_is_identifier(const char *name);

/* Checks that each input can be a variable, and makes inputs_text. Returns 0, or -1 with invalid_request. */
int px_inputs_check(pyexec_request *request, pyexec_error *error);

#endif
