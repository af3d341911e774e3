/* SPDX-License-Identifier: Apache-2.0 */
/* A request as JSON: request.def has its keys. */
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "policy/inputs.h"
#include "policy/request.h"

#define JSON_FLAGS (JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL)

static int bad_type(const char *key, const char *wanted, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: not %s", key, wanted);
    return px_error_hint(error, "Send %s as %s.", key, wanted);
}

/* The policy object of the request. Makes it when there is none yet. */
static json_t *own_policy(pyexec_request *request)
{
    if (!request->policy)
        request->policy = json_object();
    return request->policy;
}

/* A value is checked even if another field makes it meaningless. */
static int check_hidden(const char *key, json_t *value, pyexec_error *error)
{
    px_auto(px_policy_done) struct px_policy ignored = {0};
    px_auto_json json_t *alone = value ? json_pack("{s:O}", key, value) : NULL;
    if (!value)
        return 0;
    if (!alone)
        return px_error_oom(error);
    return px_policy_init(&ignored, error) < 0 ? -1 : px_policy_merge_json(&ignored, alone, PX_ORIGIN_REQUEST, error);
}

static int take_short(pyexec_request *request, const char *key, json_t *value, pyexec_error *error)
{
    if (check_hidden(key, json_object_get(own_policy(request), key), error) < 0)
        return -1;
    return json_object_set_new(own_policy(request), key, json_incref(value)) < 0 ? px_error_oom(error) : 0;
}

static int take_policy(pyexec_request *request, const char *key, json_t *value, pyexec_error *error)
{
    if (!json_is_object(value))
        return bad_type(key, "an object", error);
    json_t *policy = own_policy(request), *hiding;
    const char *field;
    json_object_foreach(policy, field, hiding)
        if (check_hidden(field, json_object_get(value, field), error) < 0)
            return -1;
    return json_object_update_missing(policy, value) < 0 ? px_error_oom(error) : 0;
}

/* Checked here, because a call of a session that exists does not use them. */
static int take_other_policy(pyexec_request *request, const char *key, json_t *value, pyexec_error *error)
{
    px_auto(px_policy_done) struct px_policy ignored = {0};
    bool defaults = strcmp(key, "policy_defaults") == 0;
    json_t **policy = defaults ? &request->policy_defaults : &request->session_policy;
    if (!json_is_object(value))
        return bad_type(key, "an object", error);
    if (px_policy_init(&ignored, error) < 0 ||
        px_policy_merge_json(&ignored, value, defaults ? PX_ORIGIN_FLAG : PX_ORIGIN_REQUEST, error) < 0)
        return -1;
    json_decref(*policy);
    *policy = json_incref(value);
    return 0;
}

static int take_string(pyexec_request *request, const char *key, json_t *value, pyexec_error *error)
{
    if (!json_is_string(value))
        return bad_type(key, "a string", error);
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    if (strcmp(key, "code") == 0)
        return pyexec_request_set_code(request, text, length) < 0 ? px_error_oom(error) : 0;
    if (strcmp(key, "stdin") == 0)
        return pyexec_request_set_stdin(request, text, length) < 0 ? px_error_oom(error) : 0;
    if (strlen(text) != length) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: has a NUL character", key);
        return px_error_hint(error, "No path can have one; leave it out.");
    }
    int result = strcmp(key, "working_dir") == 0 ? pyexec_request_set_working_dir(request, text)
                                                 : pyexec_request_set_workspace(request, text);
    return result < 0 ? px_error_oom(error) : 0;
}

static int take_env(pyexec_request *request, const char *key, json_t *value, pyexec_error *error)
{
    const char *name;
    json_t *item;
    if (!json_is_object(value))
        return bad_type(key, "an object of strings", error);
    json_object_foreach(value, name, item) {
        if (!json_is_string(item) || strlen(json_string_value(item)) != json_string_length(item))
            return bad_type(key, "an object of strings without NUL characters", error);
        if (pyexec_request_set_env(request, name, json_string_value(item)) < 0)
            return px_error_oom(error);
    }
    return 0;
}

static int take_files(pyexec_request *request, const char *key, json_t *value, pyexec_error *error)
{
    const char *path, *form = "an object of path: text, or path: {\"base64\": …}";
    json_t *item;
    if (!json_is_object(value))
        return bad_type(key, form, error);
    json_object_foreach(value, path, item) {
        json_t *encoded = json_object_get(item, "base64");
        if (json_is_string(item)) {
            if (pyexec_request_add_file(request, path, json_string_value(item), json_string_length(item)) < 0)
                return px_error_oom(error);
            continue;
        }
        if (!json_is_string(encoded) || json_object_size(item) != 1)
            return bad_type(key, form, error);
        struct px_buffer px_auto_buffer bytes = {0};
        int decoded = px_base64_decode(&bytes, json_string_value(encoded), json_string_length(encoded));
        if (!px_buffer_ok(&bytes))
            return px_error_oom(error);
        if (decoded < 0) {
            px_error_set(error, PYEXEC_INVALID_REQUEST, "files: '%s' is not base64", path);
            return px_error_hint(error, "Use the standard alphabet (+ and /) with its padding, and "
                                        "nothing between; text can be sent as a plain string.");
        }
        if (pyexec_request_add_file(request, path, px_buffer_string(&bytes), bytes.length) < 0)
            return px_error_oom(error);
    }
    return 0;
}

static int take_return_files(pyexec_request *request, const char *key, json_t *value, pyexec_error *error)
{
    size_t i;
    json_t *item;
    if (!json_is_array(value))
        return bad_type(key, "a list of glob patterns", error);
    json_array_foreach(value, i, item) {
        if (!json_is_string(item) || strlen(json_string_value(item)) != json_string_length(item))
            return bad_type(key, "a list of glob patterns without NUL characters", error);
        if (pyexec_request_add_return_file(request, json_string_value(item)) < 0)
            return px_error_oom(error);
    }
    return 0;
}

static int take_checkpoint(pyexec_request *request, const char *key, json_t *value, pyexec_error *error)
{
    if (!json_is_boolean(value))
        return bad_type(key, "true or false", error);
    pyexec_request_set_checkpoint(request, json_is_true(value));
    return 0;
}

/* The two keys may come in any order, so pyexec_request_set_object() reads them together. */
static int take_trace(pyexec_request *request, const char *key, json_t *value, pyexec_error *error)
{
    (void)request;
    return json_is_string(value) || json_is_null(value) ? 0 : bad_type(key, "a string or null", error);
}

static const struct {
    const char *key;
    int (*take)(pyexec_request *, const char *, json_t *, pyexec_error *);
} keys[] = {
#define PX_REQUEST(key, take, type, callers, meaning) {#key, take},
#include "policy/request.def"
#undef PX_REQUEST
};

static int unknown_field(const char *key, pyexec_error *error)
{
    struct px_buffer px_auto_buffer known = {0};
    for (size_t i = 0; i < PX_COUNT(keys); i++)
        px_buffer_printf(&known, "%s%s", i ? ", " : "", keys[i].key);
    if (strcmp(key, "packages") == 0) {
        px_error_set(error, PYEXEC_INVALID_REQUEST,
                     "packages: only executions and sessions of `pyexec serve` take packages");
        return px_error_hint(
            error, "Send it to a server, or choose an environment with these packages: `environment` in the policy.");
    }
    px_error_set(error, PYEXEC_INVALID_REQUEST, "unknown field '%s'", key);
    return px_error_hint(error, "A request has %s; limits and permissions are keys of policy.",
                         px_buffer_shown(&known));
}

int pyexec_request_set_object(pyexec_request *request, json_t *object, pyexec_error *error)
{
    const char *key;
    json_t *value;
    if ((request->restricted & PYEXEC_NO_HOST_WORKSPACE) && json_object_get(object, "workspace")) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "workspace: not allowed for this caller");
        return px_error_hint(error, "Send files, or use a session's workspace.");
    }
    json_object_foreach(object, key, value) {
        size_t i = 0;
        while (i < PX_COUNT(keys) && strcmp(keys[i].key, key) != 0)
            i++;
        if (i == PX_COUNT(keys))
            return unknown_field(key, error);
        if (keys[i].take(request, key, value, error) < 0)
            return -1;
    }
    const char *traceparent = json_string_value(json_object_get(object, "traceparent"));
    if (traceparent)
        pyexec_request_set_traceparent(request, traceparent, json_string_value(json_object_get(object, "tracestate")));
    return 0;
}

int pyexec_request_set_json(pyexec_request *request, const char *json, size_t length, pyexec_error *error)
{
    json_error_t problem;
    json_t *object = px_json_read(json, length, JSON_FLAGS, &problem);
    if (!object && px_json_no_memory(&problem))
        return px_error_oom(error);
    if (!json_is_object(object)) {
        bool large = !object && strstr(problem.text, "too big integer");
        px_error_set(error, PYEXEC_INVALID_REQUEST, "not a JSON object%s%s", object ? "" : ": ",
                     object ? "" : problem.text);
        json_decref(object);
        if (large)
            return px_error_hint(error, "Integers have 64 bits here: send a larger one as a string, "
                                        "and let the code call int() on it.");
        return px_error_hint(error, "Send one object, such as {\"code\": \"6 * 7\"}.");
    }
    int result = pyexec_request_set_object(request, object, error);
    json_decref(object);
    return result;
}
