/* SPDX-License-Identifier: Apache-2.0 */
/* The request of `pyexec run` as the JSON of POST /v1/execute. */
#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/utf8.h"
#include "cli/run_command.h"
#include "policy/request.h"

/* Flags are wishes, which the server refuses above its ceiling. The configuration file and the environment of this side
 * are defaults, which the server lowers. pyexec's own defaults are left to the server. */
static json_t *policy_of(const struct px_policy *policy, bool flags, bool packages)
{
    json_t *part = json_object();
    px_auto_json json_t *all = px_policy_to_json(policy);
    if (packages) /* they take the place of an environment of the file */
        json_object_del(all, "environment");
    for (enum px_policy_field field = 0; part && field < PX_FIELD_COUNT; field++) {
        const char *name = px_policy_field_info(field)->name;
        enum px_origin origin = policy->origin[field];
        if (origin != PX_ORIGIN_DEFAULT && (origin == PX_ORIGIN_FLAG) == flags && json_object_get(all, name))
            px_json_set(part, name, json_incref(json_object_get(all, name)));
    }
    return part;
}

static json_t *text_or_base64(const char *bytes, size_t length)
{
    if (px_utf8_valid(bytes, length, NULL))
        return json_stringn(bytes ? bytes : "", length);
    px_auto_buffer struct px_buffer encoded = {0};
    px_base64_encode(&encoded, bytes, length);
    return json_pack("{s:s}", "base64", px_buffer_string(&encoded));
}

static void add_environment(json_t *body, const pyexec_request *request)
{
    json_t *env = json_object();
    for (size_t i = 0; i < request->env.count; i++) {
        const char *item = request->env.items[i], *value = strchr(item, '=');
        px_auto_free char *name = strndup(item, (size_t)(value - item));
        px_json_set(env, name ? name : "", name ? json_string(value + 1) : NULL);
    }
    px_json_set(body, "env", env);
}

static void add_files(json_t *body, const pyexec_request *request)
{
    json_t *files = json_object();
    for (size_t i = 0; i < request->file_count; i++)
        px_json_set(files, request->files[i].path, text_or_base64(request->files[i].bytes, request->files[i].length));
    px_json_set(body, "files", files);
}

static void add_return_files(json_t *body, const pyexec_request *request)
{
    json_t *patterns = json_array();
    for (size_t i = 0; i < request->return_files.count; i++)
        px_json_append(patterns, json_string(request->return_files.items[i]));
    px_json_set(body, "return_files", patterns);
}

static int refuse_text(const char *what, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: not UTF-8 text", what);
    return px_error_hint(error, "Save the script as UTF-8. Binary data can be given with --file.");
}

static int check(const pyexec_request *request, pyexec_error *error)
{
    if (request->bad_env) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "env: '%.200s' can't be a name", request->bad_env);
        return px_error_hint(error, "A variable's name is not empty and has no '='.");
    }
    if (!px_utf8_valid(request->code, request->code_length, NULL))
        return refuse_text("code", error);
    for (size_t i = 0; i < request->env.count; i++)
        if (!px_utf8_valid(request->env.items[i], strlen(request->env.items[i]), NULL))
            return refuse_text("--env", error);
    for (size_t i = 0; i < request->file_count; i++)
        if (!px_utf8_valid(request->files[i].path, strlen(request->files[i].path), NULL))
            return refuse_text("--file: the name", error);
    return 0;
}

int run_body_make(const struct run_call *call, const struct px_policy *policy, const char *input, size_t input_length,
                  struct px_buffer *ret, pyexec_error *error)
{
    const pyexec_request *request = call->request;
    static const char *const values[] = {[PX_VALUE_JSON_RECORDS] = "records", [PX_VALUE_JSON_SPLIT] = "split"};
    if (check(request, error) < 0)
        return -1;
    px_auto_json json_t *packages = run_packages_to_json(call->options, call->script);
    bool some = json_array_size(packages);
    px_auto_json json_t *body = json_pack(
        "{s:o, s:b, s:o, s:o, s:O}", "code", json_stringn(request->code, request->code_length), "control", 1, "policy",
        policy_of(policy, true, some), "policy_defaults", policy_of(policy, false, some), "packages", packages);
    if (!some)
        json_object_del(body, "packages");
    if (input)
        px_json_set(body, "stdin", json_stringn(input, input_length));
    if (request->working_dir)
        px_json_set(body, "working_dir", json_string(request->working_dir));
    if (request->env.count)
        add_environment(body, request);
    if (request->file_count)
        add_files(body, request);
    if (request->return_files.count)
        add_return_files(body, request);
    if (request->inputs)
        px_json_set(body, "inputs", json_incref(request->inputs));
    if ((size_t)request->value_json < PX_COUNT(values) && values[request->value_json])
        px_json_set(body, "value_json", json_string(values[request->value_json]));
    px_auto_free char *text = body ? px_json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    if (!text)
        return px_error_oom(error);
    px_buffer_add_string(ret, text);
    if (!px_buffer_ok(ret))
        return px_error_oom(error);
    if (ret->length <= (size_t)RUN_SERVER_BYTES)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST,
                 "the script with its files and inputs has %zu bytes as JSON; a server takes "
                 "%zu",
                 ret->length, (size_t)RUN_SERVER_BYTES);
    return px_error_hint(error, "Send large data as standard input, or run without a server: --server none.");
}
