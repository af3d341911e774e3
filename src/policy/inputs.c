/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/inputs.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/spelling.h"

#define INPUT_DEPTH_MAX 200 /* Python's own parser stops at its recursion limit */
#define INPUT_NAME_MAX 255

static const char *const tables[PX_VALUE_JSON_KINDS] = {
    [PX_VALUE_JSON_RECORDS] = "records",
    [PX_VALUE_JSON_SPLIT] = "split",
};

int pyexec_request_set_value_json(pyexec_request *request, const char *wanted)
{
    if (!wanted) {
        request->value_json = PX_VALUE_JSON_NONE;
        return 0;
    }
    for (int i = PX_VALUE_JSON_NONE + 1; i < PX_VALUE_JSON_KINDS; i++)
        if (strcmp(tables[i], wanted) == 0) {
            request->value_json = (enum px_value_json)i;
            return 0;
        }
    return -1;
}

int px_inputs_take_value_json(pyexec_request *request, const char *key, json_t *value, pyexec_error *error)
{
    bool valid = json_is_null(value) || json_is_string(value);
    if (valid && pyexec_request_set_value_json(request, json_string_value(value)) == 0)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: not null, \"records\" or \"split\"", key);
    return px_error_hint(error,
                         "Send \"records\" (a table is a list of objects) or \"split\" (its "
                         "columns, index and data apart), or leave %s out.",
                         key);
}

static json_t *own_inputs(pyexec_request *request)
{
    if (!request->inputs)
        request->inputs = json_object();
    return request->inputs;
}

int pyexec_request_set_input(pyexec_request *request, const char *name, const char *value_json)
{
    json_t *value = px_json_loads(value_json, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    return value ? json_object_set_new(own_inputs(request), name, value) : -1;
}

int px_inputs_take(pyexec_request *request, const char *key, json_t *value, pyexec_error *error)
{
    if (!json_is_object(value)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: not an object", key);
        return px_error_hint(error, "Send %s as an object of variable name: JSON value.", key);
    }
    return json_object_update(own_inputs(request), value) < 0 ? px_error_oom(error) : 0;
}

bool px_inputs_is_identifier(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    size_t length = strlen(name);
    return length && length <= INPUT_NAME_MAX && strspn(name, letters) == length && !(name[0] >= '0' && name[0] <= '9');
}

static int check_name(const char *name, pyexec_error *error)
{
    if (px_name_is_keyword(name)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "inputs: '%s' is a keyword of Python", name);
        return px_error_hint(error, "Choose another name for the variable.");
    }
    if (px_name_is_dunder(name)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "inputs: '%.200s' begins or ends with two underscores", name);
        return px_error_hint(error, "Names with leading and trailing double underscores are reserved. Choose another.");
    }
    if (px_inputs_is_identifier(name))
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "inputs: '%.200s' can't be a variable's name", name);
    return px_error_hint(error, "Use ASCII letters, digits and underscores, with no digit first.");
}

static bool too_deep(json_t *value, int depth)
{
    size_t i;
    const char *key;
    json_t *item;
    if (depth > INPUT_DEPTH_MAX)
        return true;
    json_array_foreach(value, i, item)
        if (too_deep(item, depth + 1))
            return true;
    json_object_foreach(value, key, item)
        if (too_deep(item, depth + 1))
            return true;
    return false;
}

int px_inputs_check(pyexec_request *request, pyexec_error *error)
{
    const char *name;
    json_t *value;
    if (!json_object_size(request->inputs))
        return 0;
    json_object_foreach(request->inputs, name, value) {
        if (check_name(name, error) < 0)
            return -1;
        if (too_deep(value, 1)) {
            px_error_set(error, PYEXEC_INVALID_REQUEST, "inputs: '%s' is nested more than %d deep", name,
                         INPUT_DEPTH_MAX);
            return px_error_hint(error, "Send flatter data, or a file.");
        }
    }
    free(request->inputs_text);
    /* With seventeen digits Python reads exactly the double that was sent. */
    request->inputs_text = px_json_dumps(request->inputs, JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (!request->inputs_text)
        return px_error_oom(error);
    request->inputs_length = strlen(request->inputs_text);
    if (request->inputs_length <= PX_INPUTS_MAX)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "inputs: %zu bytes of JSON are more than the %u allowed",
                 request->inputs_length, PX_INPUTS_MAX);
    return px_error_hint(error, "Send large data as files.");
}
