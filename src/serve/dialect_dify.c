/* SPDX-License-Identifier: Apache-2.0 */
/* The API of dify-sandbox, as its Go server implements it and Dify's CodeExecutor calls it. A result is 200 with
 * {"code": 0, "message": "success", "data": …}; a refused request has a negative code. */
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "serve/dialect.h"
#include "serve/http.h"
#include "serve/run_request.h"
#include "serve/server.h"

static void refuse(struct px_http_request *request, int status, int code, const char *message)
{
    px_respond_json(request, status,
                    px_json_take_text(json_pack("{s:i, s:s, s:n}", "code", code, "message", message, "data")));
}

/* Takes ownership of `data`. */
static void answer(struct px_http_request *request, json_t *data)
{
    px_respond_json(request, MHD_HTTP_OK,
                    px_json_take_text(json_pack("{s:i, s:s, s:o}", "code", 0, "message", "success", "data", data)));
}

/* Dify asks for the network in every request, whether the code needs it or not. So the code gets it only if the
 * policy allows it: all of it, or the hosts of allowed_hosts. */
static int limit_network(pyexec_request *run, const json_t *body)
{
    if (json_is_true(json_object_get(body, "enable_network")))
        return 0;
    return pyexec_request_set_policy(run, "{\"disable_networking\": true, \"allowed_hosts\": []}");
}

/* `preload` is code that runs before the other code. */
static json_t *whole_code(const json_t *body)
{
    const json_t *code = json_object_get(body, "code"), *preload = json_object_get(body, "preload");
    px_auto_buffer struct px_buffer text = {0};
    if (json_string_length(preload)) {
        px_buffer_add(&text, json_string_value(preload), json_string_length(preload));
        px_buffer_add_byte(&text, '\n');
    }
    px_buffer_add(&text, json_string_value(code), json_string_length(code));
    return px_buffer_ok(&text) ? json_stringn(px_buffer_string(&text), text.length) : NULL;
}

/* `error` says why the run failed. It is empty for a run that did not fail, even when stderr has text. */
static json_t *data_of(const pyexec_result *result)
{
    px_auto_buffer struct px_buffer text = {0}, error = {0};
    size_t length;
    const char *output = pyexec_result_stdout(result, &length);
    int exit_code = pyexec_result_exit_code(result);
    px_dialect_add_stderr(&text, result);
    if (exit_code)
        px_buffer_printf(&error, "process exited with code %d\n%s", exit_code, px_buffer_shown(&text));
    return json_pack("{s:s%, s:s%, s:s, s:i}", "stdout", output, length, "stderr", px_buffer_string(&text), text.length,
                     "error", px_buffer_string(&error), "exit_code", exit_code);
}

static void fail(struct px_http_request *request, const pyexec_error *error)
{
    char message[sizeof error->message + sizeof error->hint + 2];
    if (px_dialect_failed(request, error))
        return;
    snprintf(message, sizeof message, "%s. %s", error->message, error->hint);
    refuse(request, MHD_HTTP_OK, -400, message);
}

static void run(struct px_http_request *request, const json_t *body)
{
    pyexec_error error;
    pyexec_result *result = NULL;
    px_auto_json json_t *code = whole_code(body);
    pyexec_request *wanted = code ? px_dialect_run(request, code, &error) : NULL;
    if (!code || (wanted && limit_network(wanted, body) < 0))
        px_error_oom(&error);
    else if (wanted && px_run_request(request, wanted, &result, &error) == 0)
        answer(request, data_of(result));
    if (!result)
        fail(request, &error);
    pyexec_result_free(result);
    pyexec_request_free(wanted);
}

/* Answers as dify-sandbox does when the language is missing or not supported. */
static bool is_python(struct px_http_request *request, const char *language)
{
    if (!language || !*language)
        refuse(request, MHD_HTTP_OK, -400, "language: required");
    else if (strcmp(language, "python3") != 0)
        refuse(request, MHD_HTTP_BAD_REQUEST, -400, "unsupported language");
    else
        return true;
    request->outcome = "invalid_request";
    return false;
}

void px_dify_run(struct px_http_request *request)
{
    pyexec_error error;
    const json_t *body = px_dialect_body(request, &error);
    if (!body) {
        fail(request, &error);
        return;
    }
    if (!is_python(request, json_string_value(json_object_get(body, "language"))))
        return;
    if (json_string_length(json_object_get(body, "code"))) {
        run(request, body);
        return;
    }
    request->outcome = "invalid_request";
    refuse(request, MHD_HTTP_OK, -400, "code: required");
}

/* The packages of the environment that the caller's runs have, each with name and version. Without one the list is empty. */
static json_t *list_packages(struct px_http_request *request)
{
    pyexec_error ignored;
    px_auto(px_policy_done) struct px_policy policy = {0};
    px_auto_json json_t *ceiling = px_principals_ceiling(&request->server->principals, request->principal);
    px_auto_json json_t *list = NULL;
    json_t *item, *packages;
    size_t i;
    if (px_run_request_policy(request, &policy, &ignored) == 0 && *policy.environment &&
        pyexec_environments_object(request->server->executor, ceiling, &list, &ignored) == 0)
        json_array_foreach(list, i, item)
            if (strcmp(json_string_value(json_object_get(item, "name")), policy.environment) == 0 &&
                (packages = json_object_get(item, "packages")))
                return json_incref(packages);
    return json_array();
}

void px_dify_dependencies(struct px_http_request *request)
{
    if (is_python(request, MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, "language")))
        answer(request, json_pack("{s:o}", "dependencies", list_packages(request)));
}

/* A request can't install anything. */
void px_dify_update(struct px_http_request *request)
{
    pyexec_error error;
    const json_t *body = px_dialect_body(request, &error);
    if (!body)
        fail(request, &error);
    else if (is_python(request, json_string_value(json_object_get(body, "language"))))
        answer(request, json_object());
}
