/* SPDX-License-Identifier: Apache-2.0 */
/* SandboxFusion's POST /run_code, only for Python: as its server implements it, and as `sandbox_fusion` and verl
 * call it. An invalid request gets 422 in the form of FastAPI; everything else gets 200 with a status. */
#include "serve/fusion.h"

#include <string.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "policy/policy.h"
#include "serve/dialect.h"
#include "serve/http.h"
#include "serve/run_request.h"

#define DEFAULT_SECONDS 10

/* ---- What it does not take ---- */

bool px_fusion_refuse(struct px_http_request *request, const char *member, const char *type, const char *message)
{
    px_auto_json json_t *where = json_pack("[s]", "body");
    for (const char *name = member; name && *name; name += strcspn(name, ".") + (strchr(name, '.') ? 1 : 0))
        px_json_append(where, json_stringn(name, strcspn(name, ".")));
    request->outcome = "invalid_request";
    px_respond_json(
        request, MHD_HTTP_UNPROCESSABLE_CONTENT,
        px_json_take_text(json_pack("{s:[{s:s, s:O, s:s}]}", "detail", "type", type, "loc", where, "msg", message)));
    return false;
}

/* A missing value and null both stand for the default. */
static bool is_text_or_none(const json_t *value)
{
    return !value || json_is_null(value) || json_is_string(value);
}

static bool are_texts(const json_t *list)
{
    const json_t *item;
    size_t i;
    if (list && !json_is_array(list))
        return false;
    json_array_foreach(list, i, item)
        if (!json_is_string(item))
            return false;
    return true;
}

static bool are_files(json_t *files)
{
    const char *path;
    json_t *value;
    if (files && !json_is_object(files))
        return false;
    json_object_foreach(files, path, value)
        if (!is_text_or_none(value))
            return false;
    return true;
}

static bool check(struct px_http_request *request, const json_t *body)
{
    static const char *const numbers[] = {"compile_timeout", "run_timeout", "memory_limit_MB"};
    const json_t *code = json_object_get(body, "code"), *language = json_object_get(body, "language");
    if (!code || !language)
        return px_fusion_refuse(request, code ? "language" : "code", "missing", "Field required");
    if (!json_is_string(code))
        return px_fusion_refuse(request, "code", "string_type", "Input should be a valid string");
    if (!json_is_string(language) || strcmp(json_string_value(language), "python") != 0)
        return px_fusion_refuse(request, "language", "literal_error", "Input should be 'python'");
    for (size_t i = 0; i < PX_COUNT(numbers); i++) {
        const json_t *number = json_object_get(body, numbers[i]);
        if (number && !json_is_number(number))
            return px_fusion_refuse(request, numbers[i], "float_type", "Input should be a valid number");
    }
    if (!is_text_or_none(json_object_get(body, "stdin")))
        return px_fusion_refuse(request, "stdin", "string_type", "Input should be a valid string");
    if (!are_files(json_object_get(body, "files")))
        return px_fusion_refuse(request, "files", "dict_type", "Input should be a valid dictionary of strings");
    if (!are_texts(json_object_get(body, "fetch_files")))
        return px_fusion_refuse(request, "fetch_files", "list_type", "Input should be a valid list of strings");
    return true;
}

/* ---- The run ---- */

static int64_t at_most(int64_t limit, double wanted)
{
    double most = limit == PX_NONE ? 1e15 : (double)limit;
    return (int64_t)(wanted < most ? wanted : most);
}

json_t *px_fusion_policy(struct px_http_request *request, double seconds, double megabytes)
{
    pyexec_error ignored;
    px_auto(px_policy_done) struct px_policy policy = {0};
    if (px_run_request_policy(request, &policy, &ignored) < 0)
        return NULL;
    json_t *own = json_pack("{s:b, s:I}", "print_last_expression", 0, "timeout_ms",
                            (json_int_t)at_most(policy.timeout_ms, seconds > 0.001 ? seconds * 1000 : 1));
    if (megabytes > 0)
        px_json_set(own, "address_space_bytes",
                    json_integer(at_most(policy.address_space_bytes, megabytes * (1 << 20))));
    return own;
}

static int add_files(pyexec_request *run, json_t *files, pyexec_error *error)
{
    const char *path;
    json_t *content;
    json_object_foreach(files, path, content) {
        px_auto_buffer struct px_buffer bytes = {0};
        if (!json_is_string(content))
            continue;
        if (px_base64_decode(&bytes, json_string_value(content), json_string_length(content)) < 0) {
            px_error_set(error, PYEXEC_INVALID_REQUEST, "files: '%.200s' is not base64", path);
            return px_error_hint(error, "Encode the bytes as base64 (RFC 4648).");
        }
        if (pyexec_request_add_file(run, path, px_buffer_string(&bytes), bytes.length) < 0)
            return px_error_oom(error);
    }
    return 0;
}

/* A path becomes a pattern that matches only this path. */
static int add_wanted(pyexec_request *run, const json_t *paths, pyexec_error *error)
{
    const json_t *path;
    size_t i;
    json_array_foreach(paths, i, path) {
        px_auto_buffer struct px_buffer pattern = {0};
        for (const char *at = json_string_value(path); *at; at++)
            px_buffer_printf(&pattern, strchr("[*?", *at) ? "[%c]" : *at == '\\' ? "\\%c" : "%c", *at);
        if (!px_buffer_ok(&pattern) || pyexec_request_add_return_file(run, px_buffer_string(&pattern)) < 0)
            return px_error_oom(error);
    }
    return 0;
}

static int prepare(struct px_http_request *request, pyexec_request *run, const json_t *body, pyexec_error *error)
{
    const json_t *stdin_text = json_object_get(body, "stdin");
    const json_t *timeout = json_object_get(body, "run_timeout");
    px_auto_json json_t *policy = px_fusion_policy(request, timeout ? json_number_value(timeout) : DEFAULT_SECONDS,
                                                   json_number_value(json_object_get(body, "memory_limit_MB")));
    if (pyexec_request_set_policy_object(run, policy) < 0 ||
        (json_is_string(stdin_text) &&
         pyexec_request_set_stdin(run, json_string_value(stdin_text), json_string_length(stdin_text)) < 0))
        return px_error_oom(error);
    if (add_files(run, json_object_get(body, "files"), error) < 0)
        return -1;
    return add_wanted(run, json_object_get(body, "fetch_files"), error);
}

/* ---- The answer ---- */

static json_t *run_result(const pyexec_result *result, bool late)
{
    px_auto_buffer struct px_buffer text = {0};
    size_t length;
    const char *output = pyexec_result_stdout(result, &length);
    px_dialect_add_stderr(&text, result);
    return json_pack("{s:s, s:f, s:f, s:o, s:s%, s:s%}", "status", late ? "TimeLimitExceeded" : "Finished",
                     "execution_time", pyexec_result_wall_ms(result) / 1000, "cpu_time",
                     pyexec_result_cpu_ms(result) / 1000, "return_code",
                     late ? json_null() : json_integer(pyexec_result_exit_code(result)), "stdout", output, length,
                     "stderr", px_buffer_string(&text), text.length);
}

static const pyexec_file *find_file(const pyexec_result *result, const char *path)
{
    for (size_t i = 0; i < pyexec_result_file_count(result); i++)
        if (strcmp(pyexec_file_path(pyexec_result_file(result, i)), path) == 0)
            return pyexec_result_file(result, i);
    return NULL;
}

/* Returns a new string, or NULL when the file has no content here. */
static json_t *content_of(const pyexec_file *file)
{
    px_auto_buffer struct px_buffer encoded = {0};
    size_t length;
    const char *content = pyexec_file_content(file, &length);
    if (!content)
        return NULL;
    px_base64_encode(&encoded, content, length);
    return json_string(px_buffer_string(&encoded));
}

/* Returns the files that were asked for: as the script left them, or else as the request sent them. */
static json_t *fetched(const json_t *body, const pyexec_result *result)
{
    json_t *files = json_object(), *path;
    size_t i;
    json_array_foreach(json_object_get(body, "fetch_files"), i, path) {
        const char *name = json_string_value(path);
        const pyexec_file *file = find_file(result, name);
        json_t *content = json_object_get(json_object_get(body, "files"), name);
        if (!file && json_is_string(content))
            px_json_set(files, name, json_incref(content));
        else if (file && pyexec_file_content(file, NULL))
            px_json_set(files, name, content_of(file));
    }
    return files;
}

/* Takes ownership of `run` (NULL: none) and `files`. */
static void answer(struct px_http_request *request, const char *status, const char *message, json_t *run, json_t *files)
{
    px_respond_json(
        request, MHD_HTTP_OK,
        px_json_take_text(json_pack("{s:s, s:s, s:n, s:o?, s:n, s:o}", "status", status, "message", message,
                                    "compile_result", "run_result", run, "executor_pod_name", "files", files)));
}

/* Names the fields that have no meaning here, such as "input" instead of "stdin", since they had no effect. */
static void add_unknown(struct px_buffer *message, json_t *body)
{
    static const char *const known[] = {"code",  "language", "compile_timeout", "run_timeout", "memory_limit_MB",
                                        "stdin", "files",    "fetch_files"};
    const char *key;
    json_t *value;
    json_object_foreach(body, key, value) {
        bool found = false;
        for (size_t i = 0; i < PX_COUNT(known); i++)
            found |= strcmp(key, known[i]) == 0;
        if (!found && message->length < 200)
            px_buffer_printf(message, "%s'%.40s'", message->length ? ", " : "unknown fields are ignored: ", key);
    }
    if (message->length && !json_object_get(body, "stdin"))
        px_buffer_add_string(message, "; standard input is the field 'stdin'");
}

static void answer_result(struct px_http_request *request, json_t *body, pyexec_result *result)
{
    px_auto_buffer struct px_buffer message = {0};
    add_unknown(&message, body);
    pyexec_status status = pyexec_result_status(result);
    bool late = status == PYEXEC_STATUS_TIMEOUT || status == PYEXEC_STATUS_CPU_LIMIT;
    bool good = !late && pyexec_result_exit_code(result) == 0;
    answer(request, good ? "Success" : "Failed", px_buffer_string(&message), run_result(result, late),
           fetched(body, result));
}

void px_fusion_run_code(struct px_http_request *request)
{
    pyexec_error error;
    pyexec_result *result = NULL;
    json_t *body = px_dialect_body(request, &error);
    if (!body) {
        if (!px_dialect_failed(request, &error))
            px_fusion_refuse(request, NULL, "json_invalid", error.message);
        return;
    }
    if (!check(request, body))
        return;
    pyexec_request *run = px_dialect_run(request, json_object_get(body, "code"), &error);
    if (run && prepare(request, run, body, &error) == 0 && px_run_request(request, run, &result, &error) == 0) {
        answer_result(request, body, result);
    } else if (!px_dialect_failed(request, &error)) {
        char message[sizeof error.message + sizeof error.hint + 2];
        snprintf(message, sizeof message, "%s. %s", error.message, error.hint);
        answer(request, "SandboxError", message, NULL, json_object());
    }
    pyexec_result_free(result);
    pyexec_request_free(run);
}

void px_fusion_ping(struct px_http_request *request)
{
    px_respond_text(request, MHD_HTTP_OK, "application/json", "\"pong\"", 6);
}
