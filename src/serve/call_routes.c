/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/calls/{call_id}: the answer to a script's tool call. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "serve/calls.h"
#include "serve/execution.h"
#include "serve/server.h"

#define VALUE_MAX (8u << 20) /* bytes of a result, or of an error's data */
#define NAMED_MAX 200        /* characters of an id that an error repeats */

static int refuse(const char *what, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s", what);
    return px_error_hint(error, "Send {\"result\": any JSON}, {\"error\": {\"message\": text, \"data\": any JSON}} or "
                                "{\"deny\": the reason}; for a call that waits for approval {\"allow\": true} or "
                                "{\"deny\": the reason}.");
}

static int refuse_large(pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "the answer of a tool call is larger than 8 MiB");
    px_error_hint(error, "Put larger data into a file of the session. The call still waits.");
    error->sys_errno = EMSGSIZE;
    return -1;
}

/* Returns the value as text for the library, which the caller frees; NULL with `error`. */
static char *write_value(const json_t *value, pyexec_error *error)
{
    char *text = px_json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (!text) {
        px_error_oom(error);
    } else if (strlen(text) > VALUE_MAX) {
        free(text);
        refuse_large(error);
        return NULL;
    }
    return text;
}

static int give_result(struct px_client_call *call, const json_t *value, pyexec_error *error)
{
    px_auto_free char *text = write_value(value, error);
    return text ? pyexec_tool_call_answer(call->handle, text, strlen(text), error) : -1;
}

static bool is_text(const json_t *value)
{
    return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

static bool has_only(const json_t *object, const char *first, const char *second)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
        if (strcmp(key, first) != 0 && strcmp(key, second) != 0)
            return false;
    return true;
}

static int give_error(struct px_client_call *call, const json_t *value, pyexec_error *error)
{
    const json_t *message = json_object_get(value, "message"), *data = json_object_get(value, "data");
    if (!is_text(message) || !has_only(value, "message", "data"))
        return refuse("error: must be {\"message\": text, \"data\": any JSON}; data may be left out", error);
    px_auto_free char *text = data ? write_value(data, error) : NULL;
    return data && !text ? -1 : pyexec_tool_call_fail(call->handle, json_string_value(message), text, error);
}

static int give_denial(struct px_client_call *call, const json_t *value, pyexec_error *error)
{
    return is_text(value) ? pyexec_tool_call_deny(call->handle, json_string_value(value), error)
                          : refuse("deny: must be a text without NUL characters", error);
}

/* After the approval the call comes again, to be answered, with the same id. So this entry must be removed first. */
static int allow(struct px_client_call *call, const json_t *value, pyexec_error *error)
{
    if (!json_is_true(value))
        return refuse("allow: must be true; to refuse the call send {\"deny\": the reason}", error);
    if (!call->held)
        return refuse("allow: this call needs no approval", error);
    px_call_unlist(call);
    return pyexec_tool_call_allow(call->handle, error);
}

static const struct {
    const char *key;
    enum px_call_answer answer;
    int (*give)(struct px_client_call *call, const json_t *value, pyexec_error *error);
} kinds[] = {
    {"result", PX_CALL_RESULT, give_result},
    {"error", PX_CALL_ERROR, give_error},
    {"deny", PX_CALL_DENIED, give_denial},
    {"allow", PX_CALL_ALLOWED, allow},
};

static int give(struct px_client_call *call, const json_t *answer, pyexec_error *error)
{
    for (size_t i = 0; i < PX_COUNT(kinds); i++) {
        const json_t *value = json_object_get(answer, kinds[i].key);
        if (!value || json_object_size(answer) != 1)
            continue;
        if (call->held && kinds[i].answer < PX_CALL_DENIED)
            return refuse("this call waits for approval: send {\"allow\": true} or {\"deny\": the reason}", error);
        if (kinds[i].give(call, value, error) < 0)
            return -1;
        px_call_settle(call, kinds[i].answer);
        return 0;
    }
    return refuse("the body must have exactly one of result, error, deny and allow", error);
}

static json_t *read_answer(struct px_http_request *request, pyexec_error *error)
{
    return px_http_request_object(request, "Send one answer, such as {\"result\": 42}.", error);
    return NULL;
}

static int no_such_call(struct px_http_request *request, pyexec_error *error)
{
    px_error_set(error, PYEXEC_CALL_NOT_FOUND, "no tool call '%.*s' waits for an answer", NAMED_MAX, request->named);
    return px_error_hint(error, "The call was already answered, its script no longer waits for it, or it belongs to "
                                "another caller.");
}

void px_call_route_answer(struct px_http_request *request)
{
    pyexec_error error;
    struct px_client_call *call = px_calls_find(request->server->calls, request->principal, request->named);
    int status = call ? 0 : no_such_call(request, &error);
    if (call) {
        px_auto_json json_t *answer = read_answer(request, &error);
        status = answer ? give(call, answer, &error) : -1;
        px_call_release(call);
    }
    if (status < 0)
        px_respond_error(request, &error);
    else
        px_respond_empty(request, MHD_HTTP_NO_CONTENT);
}
