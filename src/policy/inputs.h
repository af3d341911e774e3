/* SPDX-License-Identifier: Apache-2.0 */
/* The request's `inputs`, which become variables of the script, and `value_json`. */
#ifndef PX_POLICY_INPUTS_H
#define PX_POLICY_INPUTS_H

#include "policy/request.h"

#define PX_INPUTS_MAX (10u << 20) /* of their JSON text, as of the code */

/* Members of a request object (policy/request.c). 0, or -1 with invalid_request. */
int px_inputs_take(pyexec_request *request, const char *key, json_t *value, pyexec_error *error);
int px_inputs_take_value_json(pyexec_request *request, const char *key, json_t *value, pyexec_error *error);

/* Whether all can be variables; makes inputs_text. 0, or -1 with invalid_request. */
int px_inputs_check(pyexec_request *request, pyexec_error *error);

#endif
